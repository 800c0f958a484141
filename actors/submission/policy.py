"""What the submission listener answers, phase by phase. One policy a connection; all share a `Desk`. RFC 6409.

Who may submit: with AUTH over TLS the owner of an API key (the key is the password; the user name is the tenant's, or
`apikey`), else, on loopback alone, the operator of this machine. As whom: From, and a reverse-path that is to be kept,
must be of the tenant's domains. To whom: as `delivery.allow` says.
"""

# ruff: noqa: ARG002 -- all phases are asked alike

from __future__ import annotations

__all__ = ("Desk", "Login", "SubmissionPolicy")

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Metric

from actors.backend import SendResult
from actors.gateway.keys import Keys, Principal, Unknown
from actors.submission.content import Injector, from_refusal
from actors.submission.demands import demands_of, mail_refusal, rcpt_refusal
from actors.submission.gathering import Gatherer, Transaction, digest_of_transaction
from actors.submission.options import Options, take_options, with_received
from deliverability.compose.addresses import parse_mailbox
from deliverability.guard import Guard
from deliverability.smtp.policy import ACCEPT, PENDING, Decision, Envelope, Peer, reject
from deliverability.smtp.reply import Reply
from deliverability.transport.smtp_server import Decide
from engine.config import Config
from engine.errors import CapacityError, InputError, VeredusError
from scenarios.sending import domain_of

_log = structlog.get_logger("veredus.submission")

LOGIN_FAILURES_MAX = 3
LOGIN_DELAY_MS = 1_000
RECEIVED_MAX = 100  # RFC 5321 §6.3
_TEXT_MAX = 300

Login = Callable[[str, str], Principal | Unknown]


class Desk:
    """What all connections share: limits, logins, counters, and the way to the engine.

    Args:
        config: whose listener this is.
        keys: who owns which key.
        injector: checks content.
        gatherer: takes transactions.
        guards: to whom each tenant may write.
        registry: where metrics go.
    """

    def __init__(
        self,
        config: Config,
        keys: Keys,
        injector: Injector,
        gatherer: Gatherer,
        guards: Mapping[str, Guard],
        registry: CollectorRegistry,
    ) -> None:
        self.config = config
        self.keys = keys
        self.injector = injector
        self.gatherer = gatherer
        self.guards = guards
        self.draining = False
        self.connections = 0
        self.by_address: Counter[str] = Counter()
        self._mails = Metric(
            "veredus_submission_transactions_total",
            "Mail transactions of the submission listener, by what became of them.",
            ("status",),
            registry=registry,
        )
        self._logins = Metric(
            "veredus_submission_logins_total",
            "AUTH commands, by whether they were accepted.",
            ("status",),
            registry=registry,
        )

    def count(self, status: str) -> None:
        """Count what became of a transaction."""
        self._mails.labels(status).inc()

    def login(self, username: str, password: str) -> Principal | Unknown:
        """Find whose credentials these are, in constant time for keys that begin alike."""
        found = self.keys.by_credentials(username, password)
        self._logins.labels("refused" if isinstance(found, Unknown) else "accepted").inc()
        return found


class SubmissionPolicy:
    """Decides for one connection."""

    def __init__(self, desk: Desk, peer: Peer, decide: Decide) -> None:
        self._desk = desk
        self._decide = decide
        self._address = peer.address
        self._dsn = desk.config.submission.dsn
        self._principal: Principal | None = desk.keys.of_this_machine(peer.address)
        self._failures = 0
        self._counted = False
        self._closed = False

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        """Greet, unless there are too many."""
        desk, limits = self._desk, self._desk.config.submission
        if desk.draining:
            return reject(421, "4.3.2", "Going down, try again", disconnect="after")
        crowded = desk.by_address[peer.address] >= limits.connections_per_address_max
        if crowded or desk.connections >= limits.connections_max:
            return reject(421, "4.7.0", "Too many connections", disconnect="after")
        desk.connections += 1
        desk.by_address[peer.address] += 1
        self._counted = True
        return ACCEPT

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        """Take any name."""
        return ACCEPT

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        """Look whose key it is; a wrong one is answered late. RFC 4954 §6."""
        found = self._desk.login(username, password)
        if isinstance(found, Principal):
            self._principal = found
            return ACCEPT
        self._failures += 1
        _log.warning("login_refused", failures=self._failures)
        last = self._failures >= LOGIN_FAILURES_MAX
        reply = Reply(535, "5.7.8", ("Authentication credentials invalid",))
        return Decision(reply, LOGIN_DELAY_MS, disconnect="after" if last else "no")

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Ask for AUTH where it is needed; check a reverse-path that is to be kept."""
        principal = self._principal
        if self._desk.draining:
            return reject(421, "4.3.2", "Going down, try again", disconnect="after")
        if principal is None:
            return reject(530, "5.7.0", "Authentication required")
        refusal = mail_refusal(envelope.mail_parameters, tls=peer.tls, dsn=self._dsn)
        if refusal:
            return reject(*refusal)
        path = _text(envelope.reverse_path)
        if path is None or (path and not domain_of(path)):
            return reject(553, "5.1.7", "The reverse-path is no mailbox")
        if self._desk.config.submission.reverse_path == "caller" and path:
            tenant = self._desk.config.tenant_named(principal.tenant)
            assert tenant is not None, "keys are of tenants"
            if from_refusal(tenant, self._desk.config, [domain_of(path)]):
                return reject(550, "5.7.1", "The reverse-path's domain is not yours to use")
        return ACCEPT

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        """Check that it is a mailbox, and one that may be written to."""
        assert self._principal is not None, "MAIL was taken"
        path = _text(forward_path)
        try:
            mailbox = parse_mailbox(path or "")
        except InputError as error:
            return reject(553, "5.1.3", _line(error.message))
        wrong = rcpt_refusal(envelope.pending, dsn=self._dsn)
        if wrong:
            return reject(*wrong)
        refusal = self._desk.guards[self._principal.tenant].recipient_refusal(str(mailbox))
        return reject(550, "5.7.1", _line(refusal)) if refusal else ACCEPT

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Let content come, unless too much of it waits."""
        if self._desk.gatherer.octets >= self._desk.config.submission.held_bytes_max:
            self._desk.count("overloaded")
            return reject(452, "4.3.1", "Too much waits to be taken, try again")
        return ACCEPT

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        """Check the content; the answer comes when it is durable. RFC 5321 §4.2.5."""
        assert self._principal is not None, "MAIL was taken"
        try:
            transaction = self._transaction(self._principal.tenant, peer, envelope, content, now_ms)
        except InputError as error:
            self._desk.count("refused")
            return reject(*_refusal_of(error), _line(str(error)))
        future = self._desk.gatherer.take(transaction)
        future.add_done_callback(self._answered)
        return PENDING

    def closed(self, reason: str) -> None:
        """Count the connection out; an answer that is under way is told to nobody."""
        self._closed = True
        if self._counted:
            self._counted = False
            self._desk.connections -= 1
            self._desk.by_address[self._address] -= 1
            if not self._desk.by_address[self._address]:
                del self._desk.by_address[self._address]

    # ---- inside

    def _transaction(
        self, tenant: str, peer: Peer, envelope: Envelope, content: bytes, now_ms: int
    ) -> Transaction:
        """Read what was sent. Raises: InputError: it can't be sent."""
        desk, limits = self._desk, self._desk.config.submission
        told: dict[str, dict[str, str]] = {}
        for path, given in zip(envelope.forward_paths, envelope.rcpt_parameters, strict=True):
            told.setdefault(str(parse_mailbox(_text(path) or "")), given)
        recipients = tuple(told)
        reverse_path = _text(envelope.reverse_path) or ""
        require_tls, dsn = demands_of(envelope.mail_parameters, list(told.values()))
        demands = repr((require_tls, dsn)) if require_tls or dsn else ""
        digest = digest_of_transaction(tenant, reverse_path, recipients, content, demands)
        rest, options = take_options(content, Options(limits.stream, limits.pool))
        if desk.config.stream(options.stream) is None:
            raise InputError(f"there is no stream {options.stream!r}")
        message = desk.injector.read_raw(tenant, rest)
        if message.headers.lower().count(b"\nreceived:") > RECEIVED_MAX:
            raise InputError("more than 100 Received fields: a routing loop")
        by = desk.config.delivery.ehlo_name
        message = with_received(message, peer, by, digest.hex()[:16], now_ms)
        return Transaction(
            tenant,
            reverse_path,
            recipients,
            message,
            digest,
            options.stream,
            options.campaign,
            options.pool,
            limits.reverse_path == "caller",
            require_tls,
            dsn,
        )

    def _answered(self, future: asyncio.Future[SendResult]) -> None:
        """Give the answer that the client waits for."""
        if future.cancelled():
            decision, status = _UNDECIDED, "undecided"
        elif (error := future.exception()) is not None:
            decision, status = _failure(error)
        else:
            decision, status = _verdict(future.result())
        self._desk.count(status)
        if not self._closed:
            self._decide(decision)


_UNDECIDED = reject(451, "4.3.0", "It isn't known whether it was taken; send it again")


def _failure(error: BaseException) -> tuple[Decision, str]:
    if isinstance(error, CapacityError):
        return reject(452, "4.3.1", "Nothing was taken, try again"), "overloaded"
    if not isinstance(error, (VeredusError, TimeoutError)):
        _log.error("submission_failed", exc_info=error)
    return _UNDECIDED, "undecided"


def _verdict(result: SendResult) -> tuple[Decision, str]:
    if result.status not in ("accepted", "repeated"):
        return reject(554, "5.3.0", _line(result.reason)), "refused"
    more = f" and {len(result.message_ids) - 1} more" if len(result.message_ids) > 1 else ""
    text = f"Ok: queued as {result.message_id.hex()}{more}"
    return Decision(Reply(250, "2.0.0", (text,))), result.status


def _refusal_of(error: InputError) -> tuple[int, str]:
    """Give codes: of who may not use a From, else of content that is none. RFC 3463 §3.7, §3.8."""
    return (550, "5.7.1") if error.place.path == "raw.From" else (554, "5.6.0")


def _text(path: bytes) -> str | None:
    try:
        return path.decode()
    except UnicodeDecodeError:
        return None


def _line(text: str) -> str:
    """Make one line of a reply: ASCII, and nothing in it that could end the line."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:_TEXT_MAX] or "Refused"
