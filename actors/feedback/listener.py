"""The SMTP listener for what comes back: bounces, feedback loops, DMARC and TLS reports, unsubscribe mail.

It takes mail for three kinds of addresses and refuses all others at RCPT, so that it is no relay and no mailbox:
signed reverse-paths (a forged or expired one gets 550 and is counted), the unsubscribe address of each tenant, and the
report addresses of the configuration. The positive reply to the content comes when what it says is durable
(RFC 5321 §4.2.5); when that can't be done it is a 451, and the other side tries again.
"""

from __future__ import annotations

__all__ = ("InboundPolicy", "ListenerParts", "listen")

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine

import msgspec
import structlog

from actors.feedback.reception import Reception, unsubscribe_addresses
from deliverability.feedback.attribution import Proof, TenantKeys, is_ours, read_path
from deliverability.smtp.policy import ACCEPT, PENDING, Decision, Envelope, Peer, reject
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_server import SmtpListener
from engine.config import Config, Inbound
from engine.errors import ConfigError, Place, VeredusError

log = structlog.get_logger()

RECIPIENTS_MAX = 10
TAKEN_AT_A_TIME = 50  # mails of all connections that are read at one time; more get 451

_NO_SUCH = reject(550, "5.1.1", "There is no such mailbox here")
_FULL = Decision(
    reject(421, "4.3.2", "Too many connections, come back later").reply, disconnect="after"
)
_BUSY = reject(451, "4.3.2", "Too much at once, come back later")
_LATER = reject(451, "4.3.0", "It could not be taken, come back later")


class ListenerParts(msgspec.Struct, frozen=True):
    """What all connections share."""

    inbound: Inbound
    tenants: dict[str, TenantKeys]
    unsubscribes: frozenset[str]
    reports: frozenset[str]
    reception: Reception
    now: Callable[[], int]
    counts: Counter[str]


class InboundPolicy:
    """Decides for one connection."""

    def __init__(
        self, parts: ListenerParts, shared: _Shared, decide: Callable[[Decision], None]
    ) -> None:
        self._parts = parts
        self._shared = shared
        self._decide = decide
        self._counted = False

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        """Refuse when there are too many."""
        del peer, now_ms
        if self._shared.connections >= self._parts.inbound.connections_max:
            self._parts.counts["refused connection"] += 1
            return _FULL
        self._shared.connections += 1
        self._counted = True
        return ACCEPT

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        """Whoever it is."""
        del peer, now_ms
        return ACCEPT

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        """Not offered."""
        del peer, username, password, now_ms
        return reject(502, "5.5.1", "Not offered")

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Bounces come from the null reverse-path, reports from anybody."""
        del peer, envelope, now_ms
        return ACCEPT

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        """Take only addresses that stand for something."""
        del peer
        if len(envelope.forward_paths) >= RECIPIENTS_MAX:
            return reject(452, "4.5.3", "Too many recipients")
        parts = self._parts
        address = forward_path.decode("utf-8", "replace").lower()
        local, _, domain = address.rpartition("@")
        if is_ours(local):
            found = read_path(local, parts.tenants.values(), now_ms)
            if isinstance(found, Proof):
                return ACCEPT
            parts.counts[f"refused path {found}"] += 1
            return _NO_SUCH
        known = (address, f"@{domain}", f"{local.partition('+')[0]}@{domain}")
        if any(name in parts.reports or name in parts.unsubscribes for name in known):
            return ACCEPT
        parts.counts["refused address"] += 1
        return _NO_SUCH

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Let the content come."""
        del peer, envelope, now_ms
        return ACCEPT

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        """Answer when it is durable."""
        del peer, now_ms
        if self._shared.taking >= TAKEN_AT_A_TIME:
            return _BUSY
        self._shared.taking += 1
        self._shared.spawn(self._take(envelope, content))
        return PENDING

    def closed(self, reason: str) -> None:
        """Count it out."""
        del reason
        if self._counted:
            self._shared.connections -= 1
            self._counted = False

    async def _take(self, envelope: Envelope, content: bytes) -> None:
        decision = _LATER
        try:
            to = [path.decode("utf-8", "replace") for path in envelope.forward_paths]
            receipt = await self._parts.reception.take(content, to, "smtp")
            decision = ACCEPT
            if (
                receipt.result == "refused"
            ):  # a bounce of a bounce would only make noise: taken, counted, dropped
                self._parts.counts[f"refused mail {receipt.reason}"] += 1
        except (VeredusError, TimeoutError) as error:
            log.warning("inbound_not_taken", error=str(error))
        finally:
            self._shared.taking -= 1
        self._decide(decision)


class _Shared:
    """What the connections of a listener count together."""

    def __init__(self) -> None:
        self.connections = 0
        self.taking = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that outlives the call; the listener's end waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until nothing is being taken."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)


class Listener:
    """The listener, started."""

    def __init__(self, smtp: SmtpListener, shared: _Shared) -> None:
        self._smtp = smtp
        self._shared = shared

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._smtp.port

    async def close(self) -> None:
        """Finish what is being taken, then close."""
        await self._shared.settle()
        await self._smtp.stop()


async def listen(
    config: Config,
    tenants: dict[str, TenantKeys],
    reception: Reception,
    now: Callable[[], int],
    counts: Counter[str],
) -> Listener:
    """Start the listener of a configuration. Raises: ConfigError: address or certificate can't be used."""
    inbound = config.inbound
    parts = ListenerParts(
        inbound,
        tenants,
        unsubscribe_addresses(config),
        frozenset(address.lower() for address in inbound.report_addresses),
        reception,
        now,
        counts,
    )
    shared = _Shared()
    context = _tls(inbound)
    smtp = SmtpListener(
        ServerConfig(
            host_name=inbound.host_name,
            size_octets_max=inbound.size_bytes_max,
            recipients_max=RECIPIENTS_MAX,
            starttls=context is not None,
        ),
        lambda _peer, decide: InboundPolicy(parts, shared, decide),
        now,
        context=context,
    )
    try:
        await smtp.start(inbound.host, inbound.port)
    except OSError as error:
        place = Place(path="inbound")
        raise ConfigError(
            f"can't listen on {inbound.host}:{inbound.port}: {error.strerror}", place
        ) from None
    return Listener(smtp, shared)


def _tls(inbound: Inbound) -> ssl.SSLContext | None:
    if not inbound.tls_cert_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(inbound.tls_cert_file, inbound.tls_key_file)
    except OSError as error:
        place = Place(file=inbound.tls_cert_file, path="inbound.tls_cert_file")
        raise ConfigError(
            f"certificate or key can't be used: {error.strerror or error}", place
        ) from None
    return context
