"""Turns: a slice a turn of the loop, urgent seats first, no flood stops the rest."""

from __future__ import annotations

from collections.abc import Callable

from deliverability.transport.turns import OTHERS_EVERY, PORTION, Turns

COST_S = 0.001
SLICE_S = 0.0025


class Loop:
    """A loop and a clock that stands still but for work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(self.soon.append, lambda: self.now, SLICE_S)

    def turn(self) -> None:
        """Run what was asked to run in the next turn."""
        run, self.soon[:] = list(self.soon), []
        for one in run:
            one()


class Seat:
    """A route with so many messages of one class."""

    def __init__(self, loop: Loop, name: str, number: int, urgency: int, log: list[str]) -> None:
        self._loop, self._name, self.left, self._urgency, self._log = (
            loop,
            name,
            number,
            urgency,
            log,
        )

    def urgency(self) -> int | None:
        return self._urgency if self.left else None

    def serve(self) -> None:
        self.compose()

    def compose(self) -> None:
        """Compose as long as it may, then stand in line."""
        while self.left:
            if not self._loop.turns.may(self, urgent=self._urgency < 2):
                self._loop.turns.enlist(self, self._urgency)
                return
            self.left -= 1
            self._loop.now += COST_S
            self._log.append(self._name)


def test_a_turn_composes_for_a_slice_and_the_rest_waits() -> None:
    loop, log = Loop(), list[str]()
    seat = Seat(loop, "a", 7, 2, log)
    seat.compose()
    assert log == ["a"] * 3, "the message that was begun within the slice is the last"
    waited = loop.turns.waiting
    turns = 0
    while loop.soon:
        loop.turn()
        turns += 1
    assert log == ["a"] * 7
    assert (waited, loop.turns.waiting) == (True, False)
    assert turns <= 4


def test_an_urgent_seat_goes_before_all_that_wait() -> None:
    loop, log = Loop(), list[str]()
    bulk = [Seat(loop, f"bulk{n}", 20, 2, log) for n in range(5)]
    for seat in bulk:
        seat.compose()
    log.clear()
    Seat(loop, "code", 1, 1, log).compose()
    loop.turn()
    assert log[0] == "code"


def test_what_is_urgent_waits_for_no_turn() -> None:
    """Not even when the slice of this turn is used up; but it has no more than a slice of its own."""
    loop, log = Loop(), list[str]()
    Seat(loop, "bulk", 20, 2, log).compose()
    loop.now += 1.0  # a tick of the worker
    log.clear()
    Seat(loop, "code", 10, 1, log).compose()
    assert log == ["code"] * 3
    loop.turn()
    assert set(log) == {"code"}, "the rest goes first in the next turn"


def test_seats_of_one_class_take_turns() -> None:
    loop, log = Loop(), list[str]()
    for seat in [Seat(loop, name, 50, 2, log) for name in "abc"]:
        seat.compose()
    log.clear()
    for _ in range(10):
        loop.turn()
    assert (
        max(log.count(name) for name in "abc") - min(log.count(name) for name in "abc") <= PORTION
    )


def test_a_flood_of_urgent_mail_leaves_the_rest_something() -> None:
    loop, log = Loop(), list[str]()
    Seat(loop, "flood", 10_000, 0, log).compose()
    Seat(loop, "bulk", 10_000, 2, log).compose()
    while len(log) < 500:
        loop.turn()
    assert log.count("bulk") >= 500 // OTHERS_EVERY - 2


def test_a_seat_that_became_more_urgent_moves_to_the_front() -> None:
    loop, log = Loop(), list[str]()
    first = Seat(loop, "first", 30, 2, log)
    second = Seat(loop, "second", 30, 2, log)
    first.compose()
    second.compose()
    log.clear()
    second._urgency = 1
    loop.turns.enlist(second, 1)
    loop.turn()
    assert log[0] == "second"
