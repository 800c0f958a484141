"""A twin: several providers behind one door, told apart by the domain of the forward-path.

The server calls one method for each thing that its client does and passes the answer on; time is
an argument of each call. A transaction with recipients of several providers is refused as a whole
by the first that refuses it.
"""

from __future__ import annotations

__all__ = ("Twin", "TwinCounts")

from collections import Counter
from typing import TypeAlias

import msgspec

from deliverability.smtp.reply import Reply
from deliverability.twin import dialects
from deliverability.twin.config import TwinConfig
from deliverability.twin.patterns import compile_patterns
from deliverability.twin.provider import Provider, release
from deliverability.twin.verdict import (
    OK_MAIL,
    Attempt,
    Connection,
    Phase,
    Taken,
    Verdict,
    attempt_key,
)

_DOMAINS_CACHED_MAX = 10_000

_NO_RECIPIENTS = Verdict(Reply(503, "5.5.1", ("No valid recipients",)), "no_recipients")

_Group: TypeAlias = tuple[Provider, list[Attempt]]


class TwinCounts(msgspec.Struct, frozen=True):
    """What a twin did so far: mails taken by provider, and refusals by (provider, phase, cause)."""

    taken: dict[str, int]
    refused: dict[tuple[str, str, str], int]
    given_in: int
    """Recipients that were accepted because the guarantee allowed no further refusal."""


class Twin:
    """The providers of a configuration, with all their history."""

    def __init__(self, config: TwinConfig) -> None:
        refusals_max = config.refusals_max if config.every_mail_in_the_end else None
        self.config = config
        self.providers = {
            provider.name: Provider(provider, config.seed, refusals_max)
            for provider in config.provider
        }
        self._patterns = [
            (compile_patterns(provider.domains), self.providers[provider.name])
            for provider in config.provider
        ]
        self._by_domain: dict[str, Provider | None] = {}
        self._greeting = Verdict(Reply(220, "", (f"{config.hostname} ESMTP Veredus twin",)))
        self._now = 0
        self._taken: Counter[str] = Counter()
        self._refused: Counter[tuple[str, str, str]] = Counter()
        self._given_in = 0

    def counts(self) -> TwinCounts:
        """Give the counts so far."""
        return TwinCounts(dict(self._taken), dict(self._refused), self._given_in)

    def provider_of(self, domain: str) -> Provider | None:
        """Find the provider that serves a domain: the first whose patterns match."""
        domain = domain.lower()
        if domain not in self._by_domain:
            if len(self._by_domain) >= _DOMAINS_CACHED_MAX:
                self._by_domain.clear()
            found = (provider for matches, provider in self._patterns if matches(domain))
            self._by_domain[domain] = next(found, None)
        return self._by_domain[domain]

    def opened(self, now: int, source: str, port_of: str = "") -> tuple[Connection, Verdict]:
        """Begin a connection, on a provider's own port or the shared one: greeting or refusal."""
        connection = Connection(source, port_of)
        provider = self.providers.get(port_of)
        if provider is None:
            return connection, self._greeting
        now = self._at(now)
        refusal = None if provider.patient else provider.enter(now, connection)
        verdict = refusal or provider.greeting(self.config.hostname)
        return connection, self._finish(provider, "connect", now, connection, verdict)

    def secured(self, connection: Connection) -> None:
        """Note that the connection is under TLS now; any transaction is forgotten. RFC 3207 §4.2."""
        self.reset(connection)
        connection.tls = True

    def mail(self, now: int, connection: Connection, reverse_path: str) -> Verdict:
        """Begin a transaction."""
        self.reset(connection)
        connection.reverse_path = reverse_path
        provider = self.providers.get(connection.port_of)
        if provider is None:
            return OK_MAIL
        now = self._at(now)
        attempt = Attempt(now, connection, "", attempt_key(reverse_path, ""), 0)
        refusal = None if provider.patient else provider.mail(attempt)
        verdict = refusal or OK_MAIL
        return self._finish(provider, "mail", now, connection, verdict, attempt.key)

    def rcpt(self, now: int, connection: Connection, forward_path: str) -> Verdict:
        """Add a recipient to the transaction, or refuse it."""
        now = self._at(now)
        provider = self.provider_of(forward_path.rpartition("@")[2])
        if provider is None or connection.port_of not in ("", provider.name):
            return self._no_relay(connection, forward_path)
        key = attempt_key(connection.reverse_path, forward_path)
        attempt = Attempt(now, connection, forward_path, key, provider.tries(now, key))
        verdict = provider.rcpt(attempt, whole=not connection.port_of or provider.patient)
        if not verdict.refuses:
            connection.attempts.append((provider, attempt))
            self._given_in += provider.given_in(attempt)
        return self._finish(provider, "rcpt", now, connection, verdict, key)

    def data(self, now: int, connection: Connection) -> Verdict:
        """Let the content come, or refuse the transaction, which ends it."""
        now = self._at(now)
        groups = _by_provider(connection, now)
        if not groups:
            return _NO_RECIPIENTS
        may_refuse = _may_refuse(groups)
        for provider, attempts in groups:
            verdict = provider.data(attempts, may_refuse=may_refuse)
            if verdict.refuses:
                return self._refuse(groups, provider, "data", verdict)
        first, attempts = groups[0]
        return self._finish(first, "data", now, connection, verdict, attempts[0].key)

    def dot(
        self, now: int, connection: Connection, *, signed: bool
    ) -> tuple[Verdict, tuple[Taken, ...]]:
        """Take the mail for all recipients, or refuse it for all; ends the transaction.

        Whatever comes back as taken must be put on record, also where the verdict lets no reply
        out.
        """
        now = self._at(now)
        groups = _by_provider(connection, now)
        if not groups:
            return _NO_RECIPIENTS, ()
        may_refuse = _may_refuse(groups)
        verdicts: list[Verdict] = []
        for provider, attempts in groups:
            verdict = provider.dot(attempts, signed=signed, may_refuse=may_refuse)
            if not verdict.taken:
                return self._refuse(groups, provider, "dot", verdict), ()
            verdicts.append(verdict)
        # One reply for all: if it is lost for one provider's recipients, it is lost for all.
        verdict = next((one for one in verdicts if one.refuses), verdicts[0])
        taken = self._take(groups, heard=not verdict.refuses)
        first, attempts = groups[0]
        finished = self._finish(first, "dot", now, connection, verdict, attempts[0].key)
        self.reset(connection)
        return finished, taken

    def reset(self, connection: Connection) -> None:
        """Forget the transaction, if there is one. RFC 5321 §4.1.1.5."""
        for _, attempt in connection.attempts:
            release(attempt)
        connection.attempts.clear()
        connection.reverse_path = ""

    def closed(self, connection: Connection) -> None:
        """End a connection, however it ended. A second call does nothing."""
        self.reset(connection)
        for provider in connection.entered:
            self.providers[provider].leave(connection)
        connection.entered.clear()

    # ---- inside

    def _at(self, now: int) -> int:
        """Keep time from going back: a replay's driver and the wall clock may both step."""
        self._now = now = max(now, self._now)
        return now

    def _no_relay(self, connection: Connection, forward_path: str) -> Verdict:
        values = {"recipient": forward_path}
        reply = dialects.reply("plain", "relay_denied", values)
        connection.refused += 1
        self._refused["", "rcpt", "relay_denied"] += 1
        return Verdict(reply, "relay_denied")

    def _refuse(
        self, groups: list[_Group], provider: Provider, phase: Phase, verdict: Verdict
    ) -> Verdict:
        for one, attempts in groups:
            one.turned_away(attempts)
        first = groups[0][1][0]
        finished = self._finish(provider, phase, first.now, first.connection, verdict, first.key)
        self.reset(first.connection)
        return finished

    def _take(self, groups: list[_Group], *, heard: bool) -> tuple[Taken, ...]:
        taken: list[Taken] = []
        for provider, attempts in groups:
            self._taken[provider.name] += len(attempts)
            provider.carried(attempts[0].connection)
            for attempt in attempts:
                provider.take(attempt, heard=heard)
                reverse_path = attempt.connection.reverse_path
                taken.append(Taken(reverse_path, attempt.forward_path, provider.name))
        return tuple(taken)

    def _finish(
        self,
        provider: Provider,
        phase: Phase,
        now: int,
        connection: Connection,
        verdict: Verdict,
        key: bytes = b"",
    ) -> Verdict:
        if verdict.refuses:
            connection.refused += 1
            self._refused[provider.name, phase, verdict.cause] += 1
        delay_ms = provider.delay_ms(phase, now, connection, key)
        return msgspec.structs.replace(verdict, delay_ms=delay_ms) if delay_ms else verdict


def _may_refuse(groups: list[_Group]) -> bool:
    """Tell whether the guarantee, if there is one, lets the whole transaction be turned away."""
    if not any(provider.fails_late for provider, _ in groups):
        return True  # nobody will want to
    return all(provider.may_turn_away(attempts) for provider, attempts in groups)


def _by_provider(connection: Connection, now: int) -> list[_Group]:
    """Group the recipients of a transaction by provider, and bring them up to date."""
    if len(connection.attempts) == 1:
        provider, attempt = connection.attempts[0]
        attempt.now = now
        return [(provider, [attempt])]
    groups: dict[str, _Group] = {}
    for provider, attempt in connection.attempts:
        attempt.now = now
        groups.setdefault(provider.name, (provider, []))[1].append(attempt)
    return list(groups.values())
