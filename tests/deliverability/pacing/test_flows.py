"""Limits of tenants and streams: never passed in any period, whatever dies or is lost, and used up nearly whole."""

from __future__ import annotations

import random
from collections import deque
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.pacing.exchange import FlowGiven, FlowWant
from deliverability.pacing.flows import MOST_MS, FlowBook, FlowLimit, FlowPurse
from deliverability.shaping.quantities import Throttle

SECOND = 1_000
HOUR = 3_600_000
BEGIN = 1_800_000_000_000
SHOP = ("shop", "news", "google", "a")


def limit(
    quantity: int,
    period_ms: int = HOUR,
    tenant: str = "",
    stream: str = "",
    provider: str = "*",
    source: str = "",
) -> FlowLimit:
    about = (tenant, stream, provider, source)
    return FlowLimit(f"{quantity} {period_ms} {about}", Throttle(quantity, period_ms), *about)


class World:
    """Senders whose messages come back when their turn may come, over a network that loses what it carries."""

    def __init__(self, one: FlowLimit, senders: int, backlog: int, loss: float, seed: int) -> None:
        self.limit = one
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = BEGIN
        self.book = FlowBook([one])
        self.purses = [FlowPurse([one]) for _ in range(senders)]
        self.waiting = [[BEGIN] * backlog for _ in range(senders)]
        self.air: list[tuple[int, int, int, dict[str, FlowGiven]]] = []
        self.sent: list[int] = []
        self.tries = 0

    def run(self, ms: int, *, step_ms: int = 250, deaths: bool = False) -> None:
        until = self.now + ms
        while self.now < until:
            self.now += step_ms
            for number in range(len(self.purses)):
                self._send(number)
                self._ask(number)
            if deaths and self.chance.random() < 0.01:
                number = self.chance.randrange(len(self.purses))
                self.purses[number] = FlowPurse([self.limit])
            for due in [one for one in self.air if one[0] <= self.now]:
                self.air.remove(due)
                self.purses[due[1]].hear(due[3], due[2])

    def _send(self, number: int) -> None:
        line = self.waiting[number]
        while line and line[0] <= self.now:
            heappop(line)
            self.tries += 1
            held = self.purses[number].held_ms(*SHOP, self.now)
            if held:
                heappush(line, self.now + held)
            else:
                self.sent.append(self.now)

    def _ask(self, number: int) -> None:
        wants = self.purses[number].wants(self.now)
        if not wants or self.chance.random() < self.loss:
            return
        given = self.book.answer(wants, self.now)
        if self.chance.random() >= self.loss:
            self.air.append((self.now + self.chance.randrange(400), number, self.now, given))

    def most(self) -> int:
        """The most that went in any period."""
        most, window = 0, deque[int]()
        for at in self.sent:
            window.append(at)
            while window[0] <= at - self.limit.throttle.period_ms:
                window.popleft()
            most = max(most, len(window))
        return most


@pytest.mark.parametrize(
    ("quantity", "period_ms", "senders"),
    [(200, 720_000, 1), (200, 720_000, 3), (20, 60_000, 3), (6, HOUR, 2), (2, HOUR, 2)],
)
def test_a_limit_is_kept_and_used(quantity: int, period_ms: int, senders: int) -> None:
    """A backlog that outlasts it: at most the limit in any period, and most of it used, with few tries for nothing."""
    one = limit(quantity, period_ms)
    world = World(one, senders, 3 * quantity, 0.0, 1)
    world.run(3 * period_ms, step_ms=500)
    assert world.most() <= quantity
    assert len(world.sent) >= 0.8 * min(3 * quantity * senders, 3 * quantity) - 2
    per_hour = world.tries / (3 * period_ms / HOUR)
    assert per_hour <= 3 * quantity * HOUR / period_ms * (senders + 1) + 3 * quantity * senders


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([20, 120]), st.floats(0.0, 0.4))
def test_nothing_that_dies_or_is_lost_passes_it(seed: int, quantity: int, loss: float) -> None:
    """What is lost wastes a little; no period has more than the limit."""
    world = World(limit(quantity, 120_000), 3, quantity, loss, seed)
    world.run(300_000, step_ms=500, deaths=True)
    assert world.most() <= quantity
    assert world.sent


def test_a_limit_counts_what_it_is_about_and_holds_nobody_else() -> None:
    """Two limits on one message both count; whose limit it isn't passes untouched."""
    tenant = limit(10, tenant="shop")
    stream = limit(1, stream="news", provider="goo*", source="a")
    purse, book = FlowPurse([tenant, stream]), FlowBook([tenant, stream])
    assert purse.held_ms("other", "offers", "google", "a", BEGIN) == 0
    assert purse.held_ms("other", "news", "yahoo", "a", BEGIN) == 0
    assert purse.held_ms("other", "news", "google", "b", BEGIN) == 0
    assert purse.held_ms(*SHOP, BEGIN) > 0
    wants = purse.wants(BEGIN)
    assert {want.name for want in wants} == {tenant.name, stream.name}
    purse.hear(book.answer(wants, BEGIN), BEGIN)
    assert purse.held_ms(*SHOP, BEGIN) == 0
    held = purse.held_ms(*SHOP, BEGIN)
    assert held > 0
    (view,) = [one for one in book.views(BEGIN) if one.name == stream.name]
    assert (view.given, view.rate) == (1, "1 in 3,600 s")


def test_whoever_waits_stands_behind_the_others_for_an_hour_at_most() -> None:
    """Turns come one after the other; a long line is asked again."""
    one = limit(60)
    purse = FlowPurse([one])
    turns = [purse.held_ms(*SHOP, BEGIN) for _ in range(200)]
    assert turns[:3] == [500, 60_500, 120_500]
    assert turns[-1] == MOST_MS
    assert purse.wants(BEGIN) == [FlowWant(one.name, 1, 0, 60)]
    assert purse.wants(BEGIN + MOST_MS) == []


def test_what_did_not_go_is_given_back() -> None:
    """A withdrawn message, and a token that nobody used."""
    one = limit(100, 60_000)
    purse, book = FlowPurse([one]), FlowBook([one])
    purse.held_ms(*SHOP, BEGIN)
    purse.hear(book.answer(purse.wants(BEGIN), BEGIN), BEGIN)
    assert purse.held_ms(*SHOP, BEGIN) == 0
    purse.not_sent(*SHOP)
    later = BEGIN + SECOND  # nobody waits any more
    assert purse.wants(later) == [FlowWant(one.name, 0, 1)]
    assert purse.wants(later) == []
    purse.hear({one.name: FlowGiven(2), "unknown": FlowGiven(9)}, later)
    assert purse.wants(later + one.lifetime_ms) == [FlowWant(one.name, 0, 2)]
    assert book.answer([FlowWant("unknown", 5)], BEGIN) == {}


def test_urgent_mail_isnt_held_by_a_limit_that_counts_bulk_too_and_bulk_pays() -> None:
    """Nothing is there: it goes; the next tokens pay for it, so that the sum is the limit's all the same."""
    one = limit(60, 60_000, tenant="shop")
    purse, book = FlowPurse([one]), FlowBook([one])
    assert [purse.held_ms(*SHOP, BEGIN, urgent=True) for _ in range(3)] == [0, 0, 0]
    now = BEGIN
    purse.hear(book.answer(purse.wants(now), now), now)
    went = 0
    while now < BEGIN + 60_000:
        now += 250
        went += purse.held_ms(*SHOP, now) == 0
        purse.hear(book.answer(purse.wants(now), now), now)
    assert 45 <= went + 3 <= 60


def test_a_limit_that_names_its_stream_holds_all_of_it() -> None:
    """The operator has said so."""
    purse = FlowPurse([limit(10, stream="news")])
    assert purse.held_ms(*SHOP, BEGIN, urgent=True) > 0


def test_a_burst_goes_at_once_and_the_period_has_no_more() -> None:
    """Thirty of a hundred a minute may go together."""
    smooth = FlowLimit("smooth", Throttle(100, 60_000))
    bursts = FlowLimit("bursts", Throttle(100, 60_000, 30))
    book = FlowBook([smooth, bursts])
    told = book.answer([FlowWant("smooth", 100), FlowWant("bursts", 100)], BEGIN)
    assert (told["smooth"].tokens, told["bursts"].tokens) == (2, 30)
    given = told["bursts"].tokens
    for second in range(1, 60):
        given += book.answer([FlowWant("bursts", 100)], BEGIN + second * SECOND)["bursts"].tokens
    assert 85 <= given <= 100


@pytest.mark.parametrize("size", [2_000, 9_000, 150_000])
def test_a_limit_of_bytes_counts_what_went(size: int) -> None:
    """By the real sizes, which are known when the content has gone; over periods no more than the limit."""
    quantity, period_ms = 10_000_000, 600_000
    one = FlowLimit("bytes", Throttle(quantity, period_ms), tenant="shop", of="bytes")
    purse, book = FlowPurse([one]), FlowBook([one])
    sent: list[tuple[int, int]] = []
    line = [BEGIN] * 20_000
    chance = random.Random(size)
    now = BEGIN
    while now < BEGIN + 4 * period_ms:
        now += 250
        while line and line[0] <= now:
            heappop(line)
            held = purse.held_ms(*SHOP, now)
            if held:
                heappush(line, now + held)
                if held > 5_000:
                    break
                continue
            real = chance.randrange(size // 2, size * 3 // 2)
            purse.sent(*SHOP, real)
            sent.append((now, real))
        if wants := purse.wants(now):
            purse.hear(book.answer(wants, now), now)
    for begin in range(BEGIN, now - period_ms, 10_000):
        went = sum(number for at, number in sent if begin <= at < begin + period_ms)
        assert went <= quantity + 2 * size
    assert sum(number for _, number in sent) >= 0.75 * 4 * quantity


def test_what_was_refused_before_its_content_gives_its_bytes_back() -> None:
    """Nothing went."""
    one = FlowLimit("bytes", Throttle(10_000_000, 60_000), tenant="shop", of="bytes")
    purse = FlowPurse([one])
    purse.hear({"bytes": FlowGiven(3 * one.cost)}, BEGIN)
    assert purse.held_ms(*SHOP, BEGIN) == 0
    purse.sent(*SHOP, 0)
    assert purse.held_ms(*SHOP, BEGIN) == 0
    purse.not_sent(*SHOP)
    assert purse.wants(BEGIN) == [FlowWant("bytes", 0, one.cost)]
    assert purse.wants(BEGIN + one.lifetime_ms) == [FlowWant("bytes", 0, 2 * one.cost)]
