"""Intake: batches in turns, verdicts to whom they belong; pace: ticks as long as they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.worker import wire
from actors.worker.intake import LOT, OTHERS_PART, Intake
from actors.worker.pace import (
    ALONE_S,
    BUSY_S,
    INPUTS_MIN,
    PAUSE_LONG_S,
    SLOW_MOST_S,
    TIMERS_S,
    URGENT_S,
    Pace,
)
from engine.errors import StoreError
from engine.inputs import Arrival
from engine.keyspace import EntityKey, contact_key
from engine.vocabulary import ContactPut
from tests.actors.operations.living import config_of, living


def batch(name: str, number: int) -> list[Arrival]:
    return [
        Arrival(EntityKey(b"0000c" + name.encode()), None, b"%s %d" % (name.encode(), n), 0)
        for n in range(number)
    ]


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_each_batch_hears_its_own_verdicts_in_order(sizes: list[int], rooms: list[int]) -> None:
    async def main() -> None:
        intake = Intake()
        answers = [intake.admit(batch(f"b{n}", size)) for n, size in enumerate(sizes)]
        turn = 0
        while intake.size:
            given: list[Arrival] = []
            intake.give(given, rooms[turn % len(rooms)])
            assert 0 < len(given) <= rooms[turn % len(rooms)]
            intake.decided([one.input_id.decode() for one in given])
            turn += 1
        for n, (answer, size) in enumerate(zip(answers, sizes, strict=True)):
            assert answer.done()
            assert answer.result() == [f"b{n} {i}" for i in range(size)]

    asyncio.run(main())


def test_one_event_doesnt_wait_for_a_large_batch() -> None:
    async def main() -> None:
        intake = Intake()
        intake.admit(batch("bulk", 400))
        before = intake.urgent
        intake.admit(batch("code", 1))
        assert (before, intake.urgent) == (False, True)
        given: list[Arrival] = []
        intake.give(given, 2 * LOT)
        assert given[0].input_id == b"code 0"

    asyncio.run(main())


def test_a_flood_of_single_events_leaves_large_batches_a_part_of_each_tick() -> None:
    async def main() -> None:
        intake = Intake()
        intake.admit(batch("bulk", 400))
        for n in range(400):
            intake.admit(batch(f"code{n}", 1))
        given: list[Arrival] = []
        intake.give(given, 40)
        assert sum(one.input_id.startswith(b"bulk") for one in given) == 40 // OTHERS_PART
        for _ in range(30):
            intake.give(given, 40)
        assert (len(given), intake.size, intake.urgent) == (800, 0, False)

    asyncio.run(main())


def test_after_a_failed_commit_everybody_hears_of_it() -> None:
    async def main() -> None:
        intake = Intake()
        answers = [intake.admit(batch("a", 3)), intake.admit(batch("b", 3))]
        intake.give([], 4)
        intake.fail(StoreError("no space"))
        for answer in answers:
            with pytest.raises(StoreError):
                answer.result()
        assert intake.size == 0

    asyncio.run(main())


def test_a_tick_is_as_large_as_it_may_be_long() -> None:
    pace = Pace(2000)
    for _ in range(50):
        number = pace.bound(busy=True)
        pace.ticked(number, number * 50e-6)
    assert pace.bound(busy=True) == pytest.approx(BUSY_S / 50e-6, rel=0.05)
    assert pace.bound(busy=False) == pytest.approx(ALONE_S / 50e-6, rel=0.05)
    assert pace.bound(busy=False, timers=True) == pytest.approx(TIMERS_S / 50e-6, rel=0.05)
    assert pace.bound(busy=True, urgent=True) == pytest.approx(URGENT_S / 50e-6, rel=0.05)
    assert pace.bound(busy=False, urgent=True) == pace.bound(busy=False), "nobody is held up"
    pace.ticked(100, 100 * 50e-6, waited_s=1.0)
    assert pace.bound(busy=True) == pytest.approx(SLOW_MOST_S / 50e-6, rel=0.05), "a slow disk"
    pace.ticked(100, 100 * 50e-6)
    assert pace.bound(busy=True, timers=True) == pytest.approx(BUSY_S / 50e-6, rel=0.05)
    for _ in range(50):
        pace.ticked(INPUTS_MIN, 1.0)
    assert pace.bound(busy=True) == INPUTS_MIN


def test_the_loop_is_left_to_others_for_longer_when_nobody_urgent_waits() -> None:
    pace = Pace(2000)
    pace.ticked(100, 0.003)
    assert pace.pause_over(0.003, urgent=True)
    assert not pace.pause_over(0.003, urgent=False)
    assert pace.pause_over(0.006, urgent=False)
    pace.ticked(100, 1.0)
    assert pace.pause_over(PAUSE_LONG_S, urgent=False), "a slow tick doesn't stop the next for long"


def test_the_loop_turns_several_times_between_two_ticks(tmp_path: Path) -> None:
    """A request needs some turns from its socket to the intake; it doesn't wait a whole tick for each."""

    async def story() -> None:
        async with living(config_of(tmp_path)) as here:
            puts = [
                wire.WireArrival(contact_key("default", f"c{n}"), ContactPut({"n": n}), b"put")
                for n in range(5_000)
            ]
            before, turns = here.worker.status().ticks, 0
            flood = asyncio.create_task(here.worker.admit(wire.AdmitBatch(puts)))
            while not flood.done():
                await asyncio.sleep(0)
                turns += 1
            ticks = here.worker.status().ticks - before
            assert ticks >= 5
            assert turns >= 3 * ticks

    asyncio.run(story())
