"""Before mail leaves this machine: that its senders are who they say is checked, and what goes out is said. DESIGN §4.

In mode `live` a From domain is verified when DNS shows, under that domain or a parent, a key that signs its mail here:
only who holds the domain can publish it, and without it receivers would refuse the mail anyway. All keys are checked,
the platform's too: one wrong signature beside a good one costs trust.
"""

from __future__ import annotations

__all__ = ("announced", "verify_senders")

from collections.abc import Awaitable, Callable, Iterable, Mapping

from actors.worker.rendering import Letterhead
from deliverability.dkim.keys import SigningKey, dns_name
from deliverability.dns.asking import Asking
from deliverability.policy.dkim_record import Published, compare, find_key
from engine.config import Config
from engine.errors import Place, RefusedError
from engine.tally import Counts

Ask = Callable[[Asking[Published]], Awaitable[Published]]


async def verify_senders(config: Config, heads: Mapping[str, Letterhead], ask: Ask) -> None:
    """Check that DNS shows the keys of all tenants' From domains.

    Raises: RefusedError: a key isn't published as it signs, or a From domain has none.
    """
    keys = {dns_name(key): key for head in heads.values() for key in head.keys}
    for key in keys.values():
        why_not = compare(await ask(find_key(key.selector, key.domain)), key)
        if why_not:
            raise RefusedError(
                f"mode `live`: a key that signs isn't in DNS: {why_not}",
                Place(path="tenant.dkim"),
                "publish what `veredus dkim dns` prints; `veredus dkim check` tells when it is seen",
            )
    for number, tenant in enumerate(config.tenant):
        for domain in tenant.from_domains:
            if not any(_aligns(domain, key) for key in heads[tenant.name].keys):
                raise RefusedError(
                    f"mode `live`: no key signs for the From domain {domain}",
                    Place(path=f"tenant[{number}].dkim"),
                    f"`veredus dkim keygen {domain}` makes one",
                )


def _aligns(domain: str, key: SigningKey) -> bool:
    """Whether a signature's d= is the From domain, or a parent of it: relaxed alignment, RFC 7489 §3.1.1."""
    return domain == key.domain or domain.endswith(f".{key.domain}")


def announced(config: Config, law: Iterable[Counts]) -> str:
    """Say to whom mail goes from now on, and how much waits for it."""
    delivery = config.delivery
    where = "MX hosts" if delivery.mode == "live" else f"the relay {delivery.relay.host}"
    whom = (
        "anybody"
        if delivery.allow == "any"
        else f"{len(delivery.allow)} mailboxes and domains of delivery.allow"
    )
    queued = sum(counts.get("queued", 0) for counts in law)
    return f"mail leaves this machine, by {where}, to {whom}; {queued:,} messages are queued for it"
