"""The single models: quota, greylist, connections, mailboxes, reputation, faults, pace, and their tables."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.twin import quota as quota_module
from deliverability.twin.chance import draw
from deliverability.twin.connections import Connections, ConnectionsModel
from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.faults import Faults, FaultsModel
from deliverability.twin.greylist import Greylist, GreylistModel
from deliverability.twin.mailboxes import Mailboxes, MailboxesModel
from deliverability.twin.pace import Pace, PaceModel, Tarpit
from deliverability.twin.patterns import compile_patterns
from deliverability.twin.quota import Quota, QuotaModel
from deliverability.twin.reputation import (
    Blocklist,
    BlocklistModel,
    Growth,
    GrowthModel,
    Reputation,
    ReputationModel,
)
from deliverability.twin.verdict import Attempt, Connection, attempt_key

SECOND = 1000
HOUR = 3_600_000
DAY = 24 * HOUR


def attempt(
    now: int,
    name: str = "u@p.example",
    source: str = "192.0.2.1",
    reverse_path: str = "b@s.example",
    tries: int = 0,
) -> Attempt:
    connection = Connection(source, "")
    connection.reverse_path = reverse_path
    return Attempt(now, connection, name, attempt_key(reverse_path, name), tries)


# ---- tables and chance


@given(
    entries_max=st.integers(1, 20),
    steps=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 50), st.integers(0, 5)), max_size=200
    ),
)
def test_expiring_table_is_a_bounded_map(
    entries_max: int, steps: list[tuple[int, int, int]]
) -> None:
    """Never more entries than allowed; what is found is what was put last, and alive."""
    table: ExpiringTable[int] = ExpiringTable(entries_max)
    put: dict[str, tuple[int, int]] = {}
    now = 0
    for number, (name, lifetime, wait) in enumerate(steps):
        now += wait
        key = f"k{name}"
        found = table.get(now, key)
        if found is not None:
            assert put[key][1] == found
            assert now < put[key][0]
        had_room = table.has_room(now, key)
        alive = {one for one in put if table.get(now, one) is not None}
        table.put(now, key, number, now + lifetime)
        put[key] = (now + lifetime, number)
        assert table.get(now, key) == number
        assert len(table) <= entries_max
        if had_room:
            assert all(table.get(now, one) is not None for one in alive)


def test_expired_entries_are_dropped() -> None:
    """A table doesn't grow with what has expired, however long it lives."""
    table: ExpiringTable[int] = ExpiringTable(1_000_000)
    for now in range(50_000):
        table.put(now, str(now), now, now + 100)
    assert len(table) <= 512


def test_draw_is_even_and_independent() -> None:
    """Numbers are spread evenly; streams, seeds and the borders between parts all matter."""
    numbers = [draw(1, "s", n) for n in range(4000)]
    tenths = Counter(int(number * 10) for number in numbers)
    assert all(300 < tenths[tenth] < 500 for tenth in range(10))
    assert len({draw(1, "s", "ab", "c"), draw(1, "s", "a", "bc"), draw(2, "s", "ab", "c")}) == 3


def test_patterns() -> None:
    """Stars match any stretch, also none; a local part alone matches in any domain; no case."""
    matches = compile_patterns(("full", "Full+*", "*@closed.example", "a*z@p.example"))
    yes = ["full@x", "full+1@x", "full+@x", "any@closed.example", "az@p.example", "a.b.z@p.example"]
    no = ["fuller@x", "full@x@y", "full", "u@open.example", "a@p.example"]
    assert [name for name in yes if not matches(name)] == []
    assert [name for name in no if matches(name)] == ["full"]
    assert not compile_patterns(())("anything@x")
    with pytest.raises(ValueError, match="stars"):
        compile_patterns(("*a*b*c*d",))


# ---- quotas


@settings(max_examples=150)
@given(
    limit=st.integers(1, 6),
    window_s=st.integers(1, 20),
    kind=st.sampled_from(["rolling", "fixed"]),
    steps=st.lists(
        st.tuples(st.integers(0, 9000), st.sampled_from(["a", "b"]), st.sampled_from("trd")),
        max_size=120,
    ),
)
def test_a_quota_is_never_exceeded(
    limit: int, window_s: int, kind: str, steps: list[tuple[int, str, str]]
) -> None:
    """Whatever comes when, taken, reserved and dropped: no window of any source holds more than the limit."""
    rule = Quota(limit=limit, window_s=window_s, window="fixed" if kind == "fixed" else "rolling")
    model = QuotaModel(rule)
    taken: dict[str, list[int]] = {"a": [], "b": []}
    open_attempts: list[Attempt] = []
    now = 0
    for wait, source, action in steps:
        now += wait
        one = attempt(now, source=source)
        if model.full(one):
            assert not one.held
            continue
        open_attempts.append(one)
        if action == "r":
            continue
        done = open_attempts.pop(0)
        if action == "t":
            done.now = now
            model.take(done)
            taken[done.connection.source].append(now)
        else:
            for window in done.held:
                window.held -= 1
    window_ms = window_s * 1000
    for times in taken.values():
        for start in times:
            if kind == "rolling":
                inside = [time for time in times if start <= time < start + window_ms]
            else:
                inside = [time for time in times if time // window_ms == start // window_ms]
            assert len(inside) <= limit


def test_a_rolling_quota_frees_place_by_place() -> None:
    """Room comes back exactly one window after each mail."""
    model = QuotaModel(Quota(limit=2, window_s=60))
    free = []
    for now in (0, 30 * SECOND, 59_999, 60_000, 89_999, 90_000):
        one = attempt(now)
        free.append(not model.full(one))
        if free[-1]:
            model.take(one)
    assert free == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ("source", {"name": "x@p"}, {"source": "192.0.2.9"}),
        ("sender_domain", {"reverse_path": "c@S.Example"}, {"reverse_path": "b@t.example"}),
        ("recipient", {"name": "U@p.example"}, {"name": "v@p.example"}),
        ("provider", {"source": "192.0.2.9", "name": "x@p"}, None),
    ],
)
def test_what_a_quota_counts_apart(
    per: str, same: dict[str, str], other: dict[str, str] | None
) -> None:
    """A quota is per source, sender's domain, recipient, or for all together."""
    rules = {one: Quota(limit=1, window_s=60, per=one) for one in ("source", "provider")}
    rules["sender_domain"] = Quota(limit=1, window_s=60, per="sender_domain")
    rules["recipient"] = Quota(limit=1, window_s=60, per="recipient")
    model = QuotaModel(rules[per])
    assert not model.full(attempt(0))
    assert model.full(attempt(0, **same))  # type: ignore[arg-type]  # keys are parameters of type str
    if other is not None:
        assert not model.full(attempt(0, **other))  # type: ignore[arg-type]  # likewise


def test_a_quota_forgets_keys_and_stays_right_beyond_its_memory() -> None:
    """Keys that are over are dropped; with too many at once the rest share one count, which never lets more in."""
    model = QuotaModel(Quota(limit=1, window_s=1))
    for now in range(3):
        for n in range(quota_module.KEYS_MAX):
            assert not model.full(attempt(now * 3 * DAY, source=f"{now}.{n}"))
    assert len(model) <= quota_module.KEYS_MAX
    late = [not model.full(attempt(6 * DAY, source=f"more.{n}")) for n in range(5)]
    assert late == [True, False, False, False, False]


# ---- greylist


@given(
    delay_s=st.integers(1, 600),
    waits=st.lists(st.integers(0, 700 * SECOND), min_size=1, max_size=20),
)
def test_greylist_semantics(delay_s: int, waits: list[int]) -> None:
    """Refused until `delay_s` after first seen, whatever comes between; then it passes for good."""
    model = GreylistModel(Greylist(delay_s=delay_s, retry_window_s=DAY // 1000))
    now, first = 5, None
    for wait in waits:
        now += wait
        left = model.wait_ms(attempt(now))
        first = now if first is None else first
        assert left == max(0, first + delay_s * 1000 - now)


def test_greylist_forgets() -> None:
    """Who comes back after the retry window is unknown again; who is known is until `remember_s` of silence."""
    rule = Greylist(delay_s=300, retry_window_s=3600, remember_s=7200)
    model = GreylistModel(rule)
    assert model.wait_ms(attempt(0)) == 300 * SECOND
    assert model.wait_ms(attempt(HOUR + 1)) == 300 * SECOND
    assert model.wait_ms(attempt(2 * HOUR)) == 0
    assert model.wait_ms(attempt(4 * HOUR - 1)) == 0
    assert model.wait_ms(attempt(6 * HOUR - 1)) == 300 * SECOND


def test_what_a_greylist_knows() -> None:
    """Triplet, sender's domain with source, or the source alone."""

    def passes(model: GreylistModel, **other: str) -> bool:
        model.wait_ms(attempt(0))
        assert model.wait_ms(attempt(400 * SECOND)) == 0
        return model.wait_ms(attempt(400 * SECOND, **other)) == 0  # type: ignore[arg-type]  # all str

    triplet, domain, source = (
        [GreylistModel(Greylist(by=by)) for _ in range(3)]
        for by in ("triplet", "sender_domain", "source")
    )
    others = [{"reverse_path": "b2@s.example"}, {"name": "v@p.example"}, {"source": "192.0.2.9"}]
    expected = [
        (triplet, [False] * 3),
        (domain, [True, True, False]),
        (source, [True, True, False]),
    ]
    for models, results in expected:
        found = [passes(model, **other) for model, other in zip(models, others, strict=True)]
        assert found == results


def test_greylist_memory_is_bounded() -> None:
    """Beyond its bound the oldest entries give way."""
    model = GreylistModel(Greylist(entries_max=100))
    for n in range(1000):
        model.wait_ms(attempt(0, name=f"u{n}@p"))
    assert len(model) <= 100
    assert model.wait_ms(attempt(300 * SECOND, name="u999@p")) == 0
    assert model.wait_ms(attempt(300 * SECOND, name="u0@p")) > 0


# ---- connections


@given(open_max=st.integers(1, 4), steps=st.lists(st.booleans(), max_size=60))
def test_open_connections_are_counted(open_max: int, steps: list[bool]) -> None:
    """One more than `open_max` of a source is refused, whatever opened and closed before."""
    model = ConnectionsModel(Connections(open_max=open_max))
    held: list[Connection] = []
    for opens in steps:
        if opens:
            one = Connection("192.0.2.1", "")
            refused = model.opened(0, one)
            assert refused == (len(held) >= open_max)
            if refused:
                model.closed(one)
            else:
                held.append(one)
        elif held:
            model.closed(held.pop())
        assert model.open_of("192.0.2.1") == len(held)
    assert not model.opened(0, Connection("192.0.2.2", ""))


def test_connections_per_minute() -> None:
    """The limit is for each minute of the clock."""
    model = ConnectionsModel(Connections(per_minute_max=2))
    times = (0, 1, 2, 59_999, 60_000, 60_001, 60_002)
    refused = [model.opened(now, Connection("192.0.2.1", "")) for now in times]
    assert refused == [False, False, True, True, False, False, True]


# ---- mailboxes


def test_shares_of_recipients_are_traits() -> None:
    """About the share that was asked for is unknown, and a recipient's fate never changes."""
    rule = Mailboxes(unknown_share=0.2, disabled_share=0.1)
    model = MailboxesModel(rule, 7, "p")
    names = [f"u{n}@p.example" for n in range(3000)]
    states = Counter(model.state(0, name) for name in names)
    assert 500 < states["unknown"] < 700
    assert 220 < states["disabled"] < 380
    assert states["full"] == 0
    assert [model.state(99 * DAY, name.upper()) for name in names[:200]] == [
        model.state(0, name) for name in names[:200]
    ]


def test_full_mailboxes_are_emptied() -> None:
    """At any time about the share is full, for as long as the period says, each at times of its own."""
    model = MailboxesModel(Mailboxes(full_share=0.3, full_period_s=86_400), 7, "p")
    changes: Counter[int] = Counter()
    for n in range(200):
        states = [model.state(hour * HOUR, f"u{n}@p") for hour in range(24 * 10)]
        assert 0 <= states.count("full") <= 24 * 10
        turns = [hour for hour, (one, two) in enumerate(pairwise(states)) if one != two]
        assert all((later - earlier) % 24 == 0 for earlier, later in pairwise(turns))
        changes.update(turn % 24 for turn in turns)
    assert len(changes) > 12
    full = sum(model.state(DAY, f"u{n}@p") == "full" for n in range(2000))
    assert 500 < full < 700


def test_named_mailboxes() -> None:
    """Names come first: whoever is called so is unknown, disabled or full."""
    rule = Mailboxes(
        unknown=("nobody", "x-*@p.example"), disabled=("gone@p.example",), full=("full",)
    )
    model = MailboxesModel(rule, 0, "p")
    names = ["nobody@any", "x-1@p.example", "x-1@q.example", "GONE@p.example", "gone@q", "full@q"]
    assert [model.state(0, name) for name in names] == [
        "unknown",
        "unknown",
        "ok",
        "disabled",
        "ok",
        "full",
    ]


# ---- reputation


def test_blocklist() -> None:
    """Addresses and networks of both kinds are listed, in their time; nonsense never is."""
    rule = Blocklist(sources=("192.0.2.0/25", "2001:db8::/32"), from_ms=100, until_ms=200)
    model = BlocklistModel(rule)
    assert [model.lists(now, "192.0.2.5") for now in (99, 100, 199, 200)] == [
        False,
        True,
        True,
        False,
    ]
    assert model.lists(150, "2001:db8::1")
    assert not any(model.lists(150, source) for source in ("192.0.2.200", "", "unix", "::1"))


def test_reputation_is_lost_and_comes_back() -> None:
    """Too many unknown recipients in an hour block a source, and it alone, for a while."""
    model = ReputationModel(Reputation(unknown_share_max=0.2, recipients_min=10, block_s=3600))
    for n in range(9):
        model.recipient(0, "bad", unknown=n < 5)
        assert not model.blocked(0, "bad")
    model.recipient(0, "bad", unknown=False)
    assert model.blocked(0, "bad")
    assert model.blocked(HOUR - 1, "bad")
    assert not model.blocked(HOUR, "bad")
    assert not model.blocked(0, "good")
    for n in range(100):
        model.recipient(n * HOUR, "slow", unknown=True)
        assert not model.blocked(n * HOUR, "slow")


def test_growth() -> None:
    """Day by day a source may send twice its best day, from `first_day` on; silence loses it all."""
    model = GrowthModel(Growth(first_day=10, factor=2.0, memory_days=5))

    def day(number: int, wanted: int) -> int:
        taken = 0
        for _ in range(wanted):
            one = attempt(number * DAY)
            if model.allowed(one) <= 0:
                break
            model.take(one)
            taken += 1
        return taken

    assert [day(number, 100) for number in range(4)] == [10, 20, 40, 80]
    assert day(4, 3) == 3
    assert day(5, 500) == 160
    assert day(11, 500) == 10


# ---- faults and pace


def test_rates_of_faults() -> None:
    """Each kind happens at about its rate, in the phases named, at most once an attempt."""
    rule = Faults(temporary_rate=0.1, closing_rate=0.05, hang_up_rate=0.2, phases=("rcpt", "dot"))
    model = FaultsModel(rule, 3, "p")
    found: Counter[tuple[str, str]] = Counter()
    for n in range(4000):
        one = attempt(n, reverse_path=f"b+{n}@s")
        faults = [
            (phase, fault)
            for phase in ("mail", "rcpt", "data", "dot")
            if (fault := model.fault(phase, one))
        ]
        assert len(faults) <= 1
        found.update(faults)
    assert {phase for phase, _ in found} == {"rcpt", "dot"}
    for fault, rate in (("temporary", 0.1), ("closing", 0.05), ("hang_up", 0.2)):
        both = found["rcpt", fault], found["dot", fault]
        assert abs(sum(both) - 4000 * rate) < 400 * rate + 30
        assert min(both) > 0.3 * sum(both)


def test_no_rate_no_fault() -> None:
    """Rates of 0 never fail."""
    model = FaultsModel(Faults(), 3, "p")
    assert not any(model.fault("rcpt", attempt(n)) for n in range(50))


def test_pace() -> None:
    """Delays lie between their bounds, in their phases; a tarpit adds a step for each refusal beyond the free ones."""
    slow = PaceModel(Pace(at_least_ms=100, at_most_ms=200, phases=("dot",)), None, 1)
    connection = Connection("192.0.2.1", "")
    delays = {slow.delay_ms("dot", now, connection, b"k") for now in range(300)}
    assert min(delays) >= 100
    assert max(delays) <= 200
    assert len(delays) > 50
    assert slow.delay_ms("rcpt", 0, connection, b"k") == 0
    tarpit = PaceModel(None, Tarpit(free=2, step_ms=50, delay_ms_max=120), 1)
    steps = []
    for refused in range(7):
        connection.refused = refused
        steps.append(tarpit.delay_ms("rcpt", 0, connection, b""))
    assert steps == [0, 0, 0, 50, 100, 120, 120]
