"""The twin as a whole, driven without sockets."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from deliverability.twin.config import TwinConfig
from deliverability.twin.connections import Connections
from deliverability.twin.faults import DotWithoutReply, Faults
from deliverability.twin.greylist import Greylist
from deliverability.twin.mailboxes import Mailboxes
from deliverability.twin.presets import PRESETS, mixed, twin_of
from deliverability.twin.provider import ProviderConfig, Require
from deliverability.twin.quota import Quota
from deliverability.twin.reputation import Blocklist, Growth, Reputation
from deliverability.twin.twin import Twin
from deliverability.twin.verdict import Connection, Verdict

MINUTE = 60_000
DAY = 86_400_000


class Client:
    """Sends mails to a twin the way a server session would, and keeps what it heard."""

    def __init__(self, twin: Twin, source: str = "192.0.2.1") -> None:
        self.twin = twin
        self.source = source
        self.connection: Connection | None = None
        self.arrived: Counter[tuple[str, str]] = Counter()

    def send(
        self, now: int, reverse_path: str, forward_path: str, *, signed: bool = True
    ) -> Verdict:
        """Try to send one mail once; the verdict that ended the attempt."""
        if self.connection is None:
            self.connection, verdict = self.twin.opened(now, self.source)
            if verdict.refuses:
                return self._after(verdict)
        twin, connection = self.twin, self.connection
        verdict = twin.mail(now, connection, reverse_path)
        if not verdict.refuses:
            verdict = twin.rcpt(now, connection, forward_path)
        if not verdict.refuses:
            verdict = twin.data(now, connection)
        if verdict.refuses:
            return self._after(verdict)
        verdict, taken = twin.dot(now, connection, signed=signed)
        assert verdict.taken == bool(taken)
        for one in taken:
            self.arrived[one.reverse_path, one.forward_path] += 1
        return self._after(verdict)

    def _after(self, verdict: Verdict) -> Verdict:
        if verdict.closes and self.connection is not None:
            self.twin.closed(self.connection)
            self.connection = None
        return verdict


EVERYTHING = ProviderConfig(
    name="everything",
    require=Require(dkim=True, tls=True),
    blocklist=Blocklist(sources=("192.0.2.0/24",)),
    connections=Connections(open_max=1, per_minute_max=1, mails_max=2),
    reputation=Reputation(unknown_share_max=0.01, recipients_min=1, permanent=True),
    mailboxes=Mailboxes(unknown_share=0.2, disabled_share=0.2, full_share=0.5),
    greylist=Greylist(delay_s=300),
    growth=Growth(first_day=1),
    quotas=(Quota(limit=1, window_s=3600), Quota(limit=1, window_s=60, per="recipient")),
    faults=Faults(
        temporary_rate=0.3,
        closing_rate=0.2,
        hang_up_rate=0.2,
        phases=("mail", "rcpt", "data", "dot"),
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    refusals_max=st.integers(0, 4),
    names=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    gap_ms=st.integers(0, 10 * MINUTE),
)
def test_every_mail_in_the_end_bounds_refusals(
    seed: int, refusals_max: int, names: list[int], gap_ms: int
) -> None:
    """However the models are set, no message is turned away more often than `refusals_max`, each arrives once."""
    config = TwinConfig(
        provider=(EVERYTHING,), seed=seed, every_mail_in_the_end=True, refusals_max=refusals_max
    )
    client = Client(Twin(config))
    waiting = [(f"b+{number}@s.example", f"u{name}@p.example") for number, name in enumerate(names)]
    sent = Counter(waiting)
    refusals: Counter[tuple[str, str]] = Counter()
    now = 1_000_000
    while waiting:
        again = []
        for paths in waiting:
            now += gap_ms
            verdict = client.send(now, *paths, signed=False)
            if verdict.refuses:
                assert not verdict.permanent
                assert not verdict.taken
                refusals[paths] += 1
                again.append(paths)
        waiting = again
        assert not refusals or max(refusals.values()) <= refusals_max
    assert client.arrived == sent


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mails=st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=12),
)
def test_every_mail_in_the_end_with_many_recipients(seed: int, mails: list[set[int]]) -> None:
    """Mails to several recipients of two providers: each gets each once, after bounded refusals."""
    lossless = replace(EVERYTHING, mailboxes=None)
    config = TwinConfig(
        provider=(
            replace(lossless, name="a", domains=("a.test",)),
            replace(lossless, name="b", domains=("b.test",)),
        ),
        seed=seed,
        every_mail_in_the_end=True,
    )
    twin = Twin(config)
    missing = {
        f"m{number}@s.example": {f"u{name}@{'ab'[name % 2]}.test" for name in names}
        for number, names in enumerate(mails)
    }
    sent = {(path, one): 1 for path, names in missing.items() for one in names}
    refusals: Counter[tuple[str, str]] = Counter()
    arrived: Counter[tuple[str, str]] = Counter()
    now = 0
    while any(missing.values()):
        for reverse_path, wanted in missing.items():
            now += MINUTE
            connection, _ = twin.opened(now, "192.0.2.1")
            refused, taken = transact(twin, now, connection, reverse_path, sorted(wanted))
            twin.closed(connection)
            wanted -= taken
            refusals.update((reverse_path, one) for one in refused)
            arrived.update((reverse_path, one) for one in taken)
        assert not refusals or max(refusals.values()) <= 3
    assert arrived == sent


def transact(
    twin: Twin, now: int, connection: Connection, reverse_path: str, wanted: list[str]
) -> tuple[set[str], set[str]]:
    """Try one mail to several recipients once; who was turned away, and who got it."""
    twin.mail(now, connection, reverse_path)
    refused: set[str] = set()
    accepted: set[str] = set()
    for one in wanted:
        verdict = twin.rcpt(now, connection, one)
        (refused if verdict.refuses else accepted).add(one)
        if verdict.closes:
            return refused, set()
    if not accepted:
        return refused, set()
    if twin.data(now, connection).refuses:
        return refused | accepted, set()
    verdict, taken = twin.dot(now, connection, signed=False)
    if verdict.refuses:
        assert not taken
        return refused | accepted, set()
    return refused, {one.forward_path for one in taken}


def test_all_presets_take_every_mail_in_the_end() -> None:
    """The mixed twin under the guarantee refuses some, none for good, and takes all, each once."""
    twin = Twin(mixed(seed=1, every_mail_in_the_end=True))
    client = Client(twin)
    domains = ["gmail.test", "outlook.test", "yahoo.test", "wp.test", "onet.test", "grey.test",
               "flaky.test", "slow.test", "strict.test", "plain.test"]  # fmt: skip
    waiting = [(f"b+{n}@s.example", f"unknown+{n}@{domains[n % 10]}") for n in range(600)]
    sent = Counter(waiting)
    now = 0
    for _ in range(5):
        waiting = [paths for paths in waiting if client.send(now, *paths).refuses]
        now += 20 * MINUTE
    assert waiting == []
    assert client.arrived == sent
    assert sum(twin.counts().refused.values()) > 300


def test_same_history_same_verdicts() -> None:
    """Two twins of one configuration answer the same history alike; another seed answers otherwise."""

    def run(seed: int) -> list[Verdict]:
        client = Client(Twin(twin_of("flaky", seed=seed)))
        return [client.send(n * 1000, f"b+{n}@s.example", "u@p.example") for n in range(200)]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_chance_does_not_depend_on_what_other_messages_do() -> None:
    """A message meets the same fault at the same time, whether or not others go between."""
    twin_of_faults = twin_of("flaky", seed=9)
    alone, busy = Client(Twin(twin_of_faults)), Client(Twin(twin_of_faults))
    for n in range(100):
        if n % 2:
            busy.send(n * 1000, f"b+{n}@s.example", "u@p.example")
    again = [n for n in range(100) if not n % 2]
    for n in again:
        now = 200_000 + n
        one = alone.send(now, f"b+{n}@s.example", "u@p.example")
        other = busy.send(now, f"b+{n}@s.example", "u@p.example")
        assert one == other


def test_time_never_goes_back() -> None:
    """A clock that steps back doesn't let a quota forget."""
    provider = ProviderConfig(name="p", quotas=(Quota(limit=1, window_s=60),))
    client = Client(Twin(TwinConfig(provider=(provider,))))
    assert not client.send(100 * MINUTE, "a@s.example", "u@p.example").refuses
    assert client.send(0, "b@s.example", "u@p.example").cause == "quota"


def test_dot_without_reply_is_taken_and_comes_again() -> None:
    """Such a mail is on record though the client hears nothing, and its second attempt isn't fated alike."""
    provider = ProviderConfig(name="p", dot_without_reply=DotWithoutReply(rate=0.5))
    client = Client(Twin(TwinConfig(provider=(provider,), seed=1)))
    lost = 0
    for n in range(200):
        paths = (f"b+{n}@s.example", "u@p.example")
        verdict = client.send(0, *paths)
        tries = 1
        while verdict.refuses:
            assert (verdict.cause, verdict.taken, verdict.reply) == (
                "dot_without_reply",
                True,
                None,
            )
            lost += 1
            tries += 1
            verdict = client.send(0, *paths)
        assert client.arrived[paths] == tries
    assert 100 < lost < 320


def test_dot_without_reply_is_bounded_by_the_guarantee() -> None:
    """Under the guarantee even a rate of 1 lets a message be heard after `refusals_max` lost replies."""
    provider = ProviderConfig(name="p", dot_without_reply=DotWithoutReply(rate=1.0))
    client = Client(Twin(TwinConfig(provider=(provider,), every_mail_in_the_end=True)))
    causes = [client.send(n, "b@s.example", "u@p.example").cause for n in range(4)]
    assert causes == ["dot_without_reply"] * 3 + [""]


def test_domains_choose_the_provider() -> None:
    """The first provider whose pattern matches serves a recipient; without any it is no relay."""
    twin = Twin(
        TwinConfig(
            provider=(
                ProviderConfig(name="a", domains=("a.example", "*.a.example")),
                ProviderConfig(name="b", domains=("mail.*",)),
            )
        )
    )
    names = ["A.Example", "x.a.example", "aa.example", "mail.test", "b.test"]
    found = [twin.provider_of(name) for name in names]
    assert [one.name if one else None for one in found] == ["a", "a", None, "b", None]
    assert Client(twin).send(0, "s@s.example", "u@b.test").cause == "relay_denied"


def test_a_transaction_over_several_providers_is_taken_or_refused_as_a_whole() -> None:
    """One provider's refusal at the dot refuses it for all, and nobody's quota counts it."""
    twin = Twin(
        TwinConfig(
            provider=(
                ProviderConfig(
                    name="a", domains=("a.test",), quotas=(Quota(limit=1, window_s=60),)
                ),
                ProviderConfig(name="b", domains=("b.test",), require=Require(dkim=True)),
            )
        )
    )
    connection, _ = twin.opened(0, "192.0.2.1")

    def transact(now: int, *, signed: bool) -> tuple[Verdict, int]:
        twin.mail(now, connection, "s@s.example")
        assert not twin.rcpt(now, connection, "u@a.test").refuses
        assert not twin.rcpt(now, connection, "u@b.test").refuses
        assert not twin.data(now, connection).refuses
        verdict, taken = twin.dot(now, connection, signed=signed)
        return verdict, len(taken)

    refused, none = transact(0, signed=False)
    assert (refused.cause, none) == ("unauthenticated", 0)
    taken, both = transact(0, signed=True)
    assert (taken.cause, both) == ("", 2)
    assert twin.counts().taken == {"a": 1, "b": 1}


def test_a_reservation_is_given_back() -> None:
    """What RCPT reserved of a quota is free again after RSET, a new MAIL, or a lost connection."""
    provider = ProviderConfig(name="p", quotas=(Quota(limit=1, window_s=60),))
    twin = Twin(TwinConfig(provider=(provider,)))
    first, _ = twin.opened(0, "192.0.2.1")
    second, _ = twin.opened(0, "192.0.2.1")

    def ask(connection: Connection) -> bool:
        twin.mail(0, connection, "s@s.example")
        return not twin.rcpt(0, connection, "u@p.example").refuses

    assert ask(first)
    assert not ask(second)
    twin.reset(first)
    assert ask(second)
    assert ask(second)
    assert not ask(first)
    twin.closed(second)
    twin.closed(second)
    assert ask(first)


def test_own_port_refuses_at_the_greeting() -> None:
    """On a provider's own port too many connections and listed sources are refused before a word is said."""
    provider = ProviderConfig(
        name="p",
        connections=Connections(open_max=1),
        blocklist=Blocklist(sources=("198.51.100.0/24",)),
    )
    twin = Twin(TwinConfig(provider=(provider,)))
    first, greeting = twin.opened(0, "192.0.2.1", "p")
    assert greeting.reply is not None
    assert greeting.reply.code == 220
    second, refusal = twin.opened(0, "192.0.2.1", "p")
    assert (refusal.cause, refusal.closes) == ("too_many_connections", True)
    _, listed = twin.opened(0, "198.51.100.7", "p")
    assert listed.cause == "blocklisted"
    assert listed.permanent
    for connection in (first, second):
        twin.closed(connection)
    _, again = twin.opened(0, "192.0.2.1", "p")
    assert not again.refuses


def test_mails_per_connection() -> None:
    """After so many mails a connection is closed, by 421 or without a word; a new one works."""
    for then, replies in (("421", True), ("hang_up", False)):
        rule = Connections(mails_max=2, then="421" if then == "421" else "hang_up")
        client = Client(Twin(TwinConfig(provider=(ProviderConfig(name="p", connections=rule),))))
        verdicts = [client.send(0, f"b+{n}@s.example", "u@p.example") for n in range(5)]
        assert [verdict.refuses for verdict in verdicts] == [False, False, True, False, False]
        assert verdicts[2].closes
        assert (verdicts[2].reply is not None) is replies


def test_requirements() -> None:
    """A strict provider wants STARTTLS and a signature."""
    provider = ProviderConfig(name="p", require=Require(tls=True, dkim=True))
    twin = Twin(TwinConfig(provider=(provider,)))
    client = Client(twin)
    assert client.send(0, "b@s.example", "u@p.example").cause == "tls_required"
    assert client.connection is not None
    twin.secured(client.connection)
    assert client.send(0, "b@s.example", "u@p.example", signed=False).cause == "unauthenticated"
    assert client.send(0, "b@s.example", "u@p.example").cause == ""


def test_data_or_dot_without_recipients_is_out_of_sequence() -> None:
    """After a transaction was refused as a whole, DATA again gets 503 and nothing breaks."""
    twin = Twin(TwinConfig())
    connection, _ = twin.opened(0, "192.0.2.1")
    twin.mail(0, connection, "s@s.example")
    verdict = twin.data(0, connection)
    assert verdict.reply is not None
    assert verdict.reply.code == 503
    assert twin.dot(0, connection, signed=True)[1] == ()


def test_every_preset_works_for_ordinary_mail() -> None:
    """Each preset lets most of a few signed mails in when they are retried for some hours."""
    for name, preset in PRESETS.items():
        twin = Twin(TwinConfig(provider=(replace(preset, require=Require()),), seed=3))
        client = Client(twin)
        waiting = [(f"b+{n}@s.example", f"u{n}@p.example") for n in range(40)]
        for attempt in range(60):
            waiting = [
                paths for paths in waiting if client.send(attempt * 5 * MINUTE, *paths).refuses
            ]
        assert len(waiting) <= 4, name
