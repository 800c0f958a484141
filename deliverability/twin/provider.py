"""One provider: its models in the order in which they are asked, and when it has to give in.

    connect  blocklist · too many connections
    mail     TLS required · too many mails over this connection · reputation · fault
    rcpt     mailbox unknown, disabled or full · greylist · fault · growth · quotas
    data     fault
    dot      signature required · fault · taken · a reply that never comes

Once a provider is *patient* (`every_mail_in_the_end`), it refuses nothing for good, and turns away
one message for one recipient at most `refusals_max` times, limits included. Only what is known to
belong to a message may then go wrong: whatever concerns the connection or MAIL is decided at RCPT,
as it is on a port that providers share, where nobody knows which one is meant any sooner. A closed
connection then always means that the mail was not taken, but for the model `dot_without_reply`.
"""

from __future__ import annotations

__all__ = ("Provider", "ProviderConfig", "Require")

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from deliverability.smtp.reply import Reply
from deliverability.twin import dialects
from deliverability.twin.chance import draw
from deliverability.twin.connections import Connections, ConnectionsModel
from deliverability.twin.dialects import Cause, DialectName
from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.faults import DotWithoutReply, Faults, FaultsModel
from deliverability.twin.greylist import Greylist, GreylistModel
from deliverability.twin.mailboxes import Mailboxes, MailboxesModel
from deliverability.twin.pace import Pace, PaceModel, Tarpit
from deliverability.twin.quota import Quota, QuotaModel
from deliverability.twin.reputation import (
    Blocklist,
    BlocklistModel,
    Growth,
    GrowthModel,
    Reputation,
    ReputationModel,
)
from deliverability.twin.verdict import (
    GO_AHEAD,
    OK_RCPT,
    OK_TAKEN,
    Attempt,
    Connection,
    Phase,
    Rule,
    Verdict,
)

TRIES_REMEMBERED_MS = 30 * 86_400_000
"""How long a message that was turned away is remembered, in the twin's time."""

_TRIES_KEPT_MAX = 300_000
_HANG_UP = Verdict(None, "hang_up", closes=True)


class Require(Rule, frozen=True, kw_only=True):
    """What mail must bring with it."""

    tls: Annotated[bool, Meta(description="MAIL only after STARTTLS")] = False
    dkim: Annotated[bool, Meta(description="a DKIM-Signature field; it isn't verified here")] = (
        False
    )


class ProviderConfig(Rule, frozen=True, kw_only=True):
    """One provider: its domains, its dialect, its models. What is left out doesn't happen."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
    domains: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...],
        Meta(min_length=1, max_length=10_000, description="of forward-paths; `*` matches anything"),
    ] = ("*",)
    dialect: Annotated[DialectName, Meta(description="the wording and codes of its replies")] = (
        "plain"
    )
    require: Require = Require()
    blocklist: Blocklist | None = None
    connections: Connections | None = None
    reputation: Reputation | None = None
    mailboxes: Mailboxes | None = None
    greylist: Greylist | None = None
    growth: Growth | None = None
    quotas: Annotated[tuple[Quota, ...], Meta(max_length=20)] = ()
    faults: Faults | None = None
    dot_without_reply: DotWithoutReply | None = None
    pace: Pace | None = None
    tarpit: Tarpit | None = None


class Provider:
    """A provider with its history. All methods take time as it is, which never goes back."""

    def __init__(self, config: ProviderConfig, seed: int, refusals_max: int | None) -> None:
        self.config = config
        self.name = config.name
        self.refusals_max = refusals_max
        """Of one message for one recipient; None is without guarantee."""
        self._seed = seed
        self._dialect = dialects.DIALECTS[config.dialect]
        plain = config.dialect == "plain"
        self._recipient_ok = OK_RCPT if plain else Verdict(self._dialect.recipient_ok)
        self._taken = OK_TAKEN if plain else Verdict(self._dialect.taken, taken=True)
        self._tries: ExpiringTable[int] = ExpiringTable(_TRIES_KEPT_MAX)
        rule = config
        self._blocklist = BlocklistModel(rule.blocklist) if rule.blocklist else None
        self._connections = ConnectionsModel(rule.connections) if rule.connections else None
        self._reputation = ReputationModel(rule.reputation) if rule.reputation else None
        self._mailboxes = (
            MailboxesModel(rule.mailboxes, seed, rule.name) if rule.mailboxes else None
        )
        self._greylist = GreylistModel(rule.greylist) if rule.greylist else None
        self._growth = GrowthModel(rule.growth) if rule.growth else None
        self._quotas = [QuotaModel(quota) for quota in rule.quotas]
        self._faults = FaultsModel(rule.faults, seed, rule.name) if rule.faults else None
        self.fails_late = bool(rule.faults or rule.dot_without_reply or rule.require.dkim)
        """Whether DATA or the dot can go wrong."""
        self._pace = PaceModel(rule.pace, rule.tarpit, seed)

    def greeting(self, hostname: str) -> Verdict:
        """Greet a client on this provider's own port. RFC 5321 §4.2."""
        return Verdict(Reply(220, "", (f"{hostname} {self._dialect.greeting}",)))

    @property
    def patient(self) -> bool:
        """Whether every mail gets in, in the end."""
        return self.refusals_max is not None

    def tries(self, now: int, key: bytes) -> int:
        """Count how often a message was turned away so far."""
        return self._tries.get(now, key) or 0

    # ---- the phases

    def enter(self, now: int, connection: Connection) -> Verdict | None:
        """Count a connection, once; refuse it if it is one too many or its source is listed."""
        if self.name in connection.entered:
            return None
        connection.entered.add(self.name)
        too_many = self._connections is not None and self._connections.opened(now, connection)
        if self._blocklist is not None and self._blocklist.lists(now, connection.source):
            return self._say("blocklisted", connection, closes=True)
        if too_many:
            return self._say("too_many_connections", connection, closes=True)
        return None

    def leave(self, connection: Connection) -> None:
        """Count a connection no more."""
        if self._connections is not None:
            self._connections.closed(connection)

    def mail(self, attempt: Attempt) -> Verdict | None:
        """Decide MAIL: None goes ahead."""
        return next(self._at_mail(attempt), None)

    def rcpt(self, attempt: Attempt, *, whole: bool) -> Verdict:
        """Decide RCPT; with `whole`, also what is otherwise decided at the greeting and at MAIL."""
        may_refuse = self.may_turn_away([attempt])
        for verdict in self._at_rcpt(attempt, whole=whole):
            if may_refuse and not (self.patient and verdict.permanent):
                self.turned_away([attempt])
                return verdict
        return self._recipient_ok

    def data(self, attempts: list[Attempt], *, may_refuse: bool) -> Verdict:
        """Decide DATA for the recipients of a transaction that belong to this provider."""
        if not may_refuse or not self.fails_late:
            return GO_AHEAD
        return self._first_fault("data", attempts) or GO_AHEAD

    def dot(self, attempts: list[Attempt], *, signed: bool, may_refuse: bool) -> Verdict:
        """Decide the dot: a refusal, or taken. Nothing is counted yet."""
        if self.config.require.dkim and not signed and not self.patient:
            return self._say("unauthenticated", attempts[0].connection)
        if not may_refuse or not self.fails_late:
            return self._taken
        return self._first_fault("dot", attempts) or self._lost_reply(attempts[0]) or self._taken

    def take(self, attempt: Attempt, *, heard: bool) -> None:
        """Count a mail that was taken. Unless its client `heard` of it, it will come again."""
        for quota in self._quotas:
            quota.take(attempt)
        if self._growth is not None:
            self._growth.take(attempt)
        release(attempt)
        if heard:
            self._tries.pop(attempt.key)
        else:
            self.turned_away([attempt])

    def carried(self, connection: Connection) -> None:
        """Count a mail that was taken, for however many recipients, over a connection."""
        taken = connection.taken
        taken[self.name] = taken.get(self.name, 0) + 1

    def may_turn_away(self, attempts: list[Attempt]) -> bool:
        """Tell whether the guarantee, if there is one, lets these be turned away once more."""
        if self.refusals_max is None:
            return True
        # A history that can't be kept is none to rely on: without room nothing new is refused.
        return all(
            self.tries(one.now, one.key) < self.refusals_max
            and self._tries.has_room(one.now, one.key)
            for one in attempts
        )

    def given_in(self, attempt: Attempt) -> bool:
        """Tell whether only the guarantee may have let an attempt in."""
        return self.refusals_max is not None and attempt.tries >= self.refusals_max

    def turned_away(self, attempts: list[Attempt]) -> None:
        """Remember that these were refused once more, and give back the places they reserved."""
        for attempt in attempts:
            release(attempt)
            tries = self.tries(attempt.now, attempt.key) + 1
            self._tries.put(attempt.now, attempt.key, tries, attempt.now + TRIES_REMEMBERED_MS)

    def delay_ms(self, phase: Phase, now: int, connection: Connection, key: bytes) -> int:
        """Tell how long to hold the next reply back, in real time."""
        return self._pace.delay_ms(phase, now, connection, key)

    # ---- what the models say

    def _at_mail(self, attempt: Attempt) -> Iterator[Verdict]:
        connection = attempt.connection
        if self.config.require.tls and not connection.tls:
            yield self._say("tls_required", connection)
        taken = connection.taken.get(self.name, 0)
        if self._connections is not None and self._connections.used_up(taken):
            hang_up = self._connections.rule.then == "hang_up"
            yield _HANG_UP if hang_up else self._say("too_many_mails", connection, closes=True)
        if self._reputation is not None and self._reputation.blocked(
            attempt.now, connection.source
        ):
            lost = self._reputation.rule.permanent
            yield self._say("reputation_lost" if lost else "reputation", connection)
        yield from self._fault("mail", attempt)

    def _at_rcpt(self, attempt: Attempt, *, whole: bool) -> Iterator[Verdict]:
        now, connection = attempt.now, attempt.connection
        if whole:
            entered = self.enter(now, connection)
            if entered is not None:
                yield entered
            yield from self._at_mail(attempt)
        yield from self._at_mailbox(attempt)
        if self._greylist is not None:
            wait_ms = self._greylist.wait_ms(attempt)
            if wait_ms:
                yield self._say("greylisted", connection, attempt, wait_s=-(-wait_ms // 1000))
        yield from self._fault("rcpt", attempt)
        if self._growth is not None and self._growth.allowed(attempt) <= 0:
            yield self._say("growth", connection, attempt)
        for quota in self._quotas:
            if quota.full(attempt):
                yield self._say("quota", connection, attempt)

    def _at_mailbox(self, attempt: Attempt) -> Iterator[Verdict]:
        if self._mailboxes is None:
            return
        state = self._mailboxes.state(attempt.now, attempt.forward_path)
        if self._reputation is not None:
            source = attempt.connection.source
            self._reputation.recipient(attempt.now, source, unknown=state == "unknown")
        if state != "ok":
            yield self._say(state, attempt.connection, attempt)

    def _fault(self, phase: Phase, attempt: Attempt) -> Iterator[Verdict]:
        fault = self._faults.fault(phase, attempt) if self._faults is not None else ""
        match fault:
            case "temporary":
                yield self._say("temporary", attempt.connection, attempt)
            case "closing":
                yield self._say("closing", attempt.connection, attempt, closes=True)
            case "hang_up":
                yield _HANG_UP

    def _first_fault(self, phase: Phase, attempts: list[Attempt]) -> Verdict | None:
        for attempt in attempts:
            for verdict in self._fault(phase, attempt):
                return verdict
        return None

    def _lost_reply(self, attempt: Attempt) -> Verdict | None:
        rule = self.config.dot_without_reply
        if rule is None:
            return None
        number = draw(self._seed, "lost_reply", self.name, attempt.key, attempt.tries, attempt.now)
        if number >= rule.rate:
            return None
        return Verdict(None, "dot_without_reply", closes=rule.then == "hang_up", taken=True)

    def _say(
        self,
        cause: Cause,
        connection: Connection,
        attempt: Attempt | None = None,
        *,
        closes: bool = False,
        wait_s: int = 0,
    ) -> Verdict:
        recipient = attempt.forward_path if attempt else ""
        values = {
            "source": connection.source,
            "recipient": recipient,
            "domain": recipient.rpartition("@")[2],
            "wait_s": str(wait_s),
            "zone": self.config.blocklist.zone if self.config.blocklist else "",
        }
        reply = dialects.reply(self.config.dialect, cause, values)
        return Verdict(reply, cause, closes=closes or reply.code == 421)


def release(attempt: Attempt) -> None:
    """Give back the places in quotas that an attempt reserved."""
    for window in attempt.held:
        window.held -= 1
    attempt.held.clear()
