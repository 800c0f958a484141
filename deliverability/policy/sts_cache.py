"""When an MTA-STS policy is fetched, and which one holds: RFC 8461 §3.3, §5.1, as a function of what is kept and seen.

    record of `_mta-sts`        kept policy          what holds
    same id                     fresh                the kept one
    another id, or none kept    any                  fetch; if that fails: the kept one while it is fresh
    none, or DNS fails          fresh                the kept one
    none                        none or expired      no policy

A policy that was seen once goes on holding for its max_age whatever an attacker does to DNS or to the web server;
that is the point of it. After a failed fetch the next one waits five minutes (§3.3).
"""

from __future__ import annotations

__all__ = ("Fetch", "KeptPolicy", "NoPolicy", "Use", "choose", "fetched", "mx_allowed")

from typing import TypeAlias

import msgspec

from deliverability.policy.mta_sts import Mode, StsPolicy, StsRecord, matches
from deliverability.policy.tags import Mistake

_RETRY_MS = 300_000


class KeptPolicy(msgspec.Struct, frozen=True):
    """What is known of a domain: its last good policy, if any, and when fetching failed last. Times in ms."""

    policy: StsPolicy | None = None
    policy_id: str = ""
    fetched: int = 0
    failed: int | None = None
    failed_id: str = ""
    failure: str = ""

    def fresh(self, now: int) -> bool:
        """Whether the policy still holds."""
        return self.policy is not None and now < self.fetched + self.policy.max_age_s * 1000


class Use(msgspec.Struct, frozen=True):
    """This policy holds; `failure` tells what kept a newer one away, for TLS-RPT."""

    policy: StsPolicy
    failure: str = ""


class NoPolicy(msgspec.Struct, frozen=True):
    """No policy holds."""

    why: str


class Fetch(msgspec.Struct, frozen=True):
    """The policy is to be fetched, and its answer given to `fetched` with this id; then ask again."""

    policy_id: str


Choice: TypeAlias = Use | Fetch | NoPolicy


def choose(kept: KeptPolicy, record: StsRecord | Mistake | None, now: int) -> Choice:
    """Decide what holds. `record` None: none is published, or DNS didn't answer."""
    why = "no MTA-STS record" if record is None else "the MTA-STS record can't be read"
    if isinstance(record, StsRecord):
        same = kept.policy_id == record.policy_id and kept.fresh(now)
        waits = (
            kept.failed is not None
            and kept.failed_id == record.policy_id
            and now < kept.failed + _RETRY_MS
        )
        if not same and not waits:
            return Fetch(record.policy_id)
        why = "" if same else kept.failure
    if kept.policy is not None and kept.fresh(now):
        return Use(kept.policy, why)
    return NoPolicy(why)


def fetched(kept: KeptPolicy, policy_id: str, answer: StsPolicy | Mistake, now: int) -> KeptPolicy:
    """Keep what a fetch gave; a failure leaves the policy that is kept alone."""
    if isinstance(answer, Mistake):
        return msgspec.structs.replace(kept, failed=now, failed_id=policy_id, failure=answer.why)
    return KeptPolicy(answer, policy_id, now)


def mx_allowed(choice: Use | NoPolicy, host: str) -> bool:
    """Tell whether mail may go to an MX host at all; only `enforce` forbids one (§5)."""
    if isinstance(choice, NoPolicy) or choice.policy.mode is not Mode.ENFORCE:
        return True
    return matches(choice.policy, host)
