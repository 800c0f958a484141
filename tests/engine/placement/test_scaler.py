"""How many workers there should be: never beyond the bounds, never for a provider's limit, and no flapping."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.placement.scaler import Load, Marks, Scaler

MARKS = Marks(workers_min=1, workers_max=8)
FULL = Load(cpu=0.95, late_ms=5000, came=100, done=100)
LOOK_MS = 500


def run(scaler: Scaler, loads: list[Load], *, ms: int, start: int = 0) -> list[int]:
    """Look twice a second, carrying out nothing."""
    return [scaler.decide(now, loads, moving=False) for now in range(start, start + ms, LOOK_MS)]


def test_full_and_late_workers_get_another() -> None:
    decided = run(Scaler(MARKS, -10_000), [FULL], ms=4000)
    assert decided[:4] == [1, 1, 1, 1], "patience first"
    assert decided[4] == 2


def test_four_times_the_load_asks_for_four_times_the_workers() -> None:
    four = msgspec.structs.replace(FULL, came=400)
    assert run(Scaler(MARKS, -10_000), [four], ms=4000)[-1] == 4


def test_late_but_not_full_asks_for_nobody() -> None:
    """A slow provider, or whatever else holds mail up: another worker would wait just as long."""
    assert set(run(Scaler(MARKS, -10_000), [Load(cpu=0.2, late_ms=60_000)], ms=60_000)) == {1}


def test_full_but_not_late_asks_for_nobody() -> None:
    assert set(run(Scaler(MARKS, -10_000), [Load(cpu=1.0, late_ms=100)], ms=60_000)) == {1}


def test_full_connections_ask_like_a_full_core() -> None:
    bound = Load(cpu=0.1, connections=1.0, late_ms=5000)
    assert run(Scaler(MARKS, -10_000), [bound], ms=4000)[-1] == 2


def test_one_hot_worker_of_four_asks_for_nobody() -> None:
    assert set(run(Scaler(MARKS, -10_000), [FULL, Load(), Load(), Load()], ms=30_000)) == {4}


def test_mail_that_somebody_waits_for_asks_sooner() -> None:
    urgent = Load(cpu=0.9, urgent_late_ms=600)
    decided = run(Scaler(MARKS, -10_000), [urgent], ms=4000)
    assert decided.index(2) * LOOK_MS == MARKS.patience_ms // 2


def test_idle_workers_go_one_at_a_time_after_a_while() -> None:
    scaler = Scaler(MARKS, -10_000)
    decided = run(scaler, [Load(cpu=0.1)] * 3, ms=90_000)
    assert decided.index(2) * LOOK_MS == MARKS.quiet_ms
    scaler.changed(60_000)
    assert set(run(scaler, [Load(cpu=0.1)] * 2, ms=59_000, start=60_000)) == {2}


def test_one_whose_work_the_others_couldnt_carry_stays() -> None:
    assert set(run(Scaler(MARKS, -10_000), [Load(cpu=0.5)] * 2, ms=300_000)) == {2}


def test_while_partitions_move_nothing_is_concluded() -> None:
    scaler = Scaler(MARKS, -10_000)
    assert {scaler.decide(now, [FULL], moving=True) for now in range(0, 30_000, 500)} == {1}


def test_after_a_change_there_is_a_pause() -> None:
    scaler = Scaler(MARKS, -10_000)
    assert run(scaler, [FULL], ms=2500)[-1] == 2
    scaler.changed(2500)
    decided = run(scaler, [FULL, FULL], ms=8000, start=2500)
    assert decided.index(3) * LOOK_MS == MARKS.pause_ms


loads = st.builds(
    Load,
    cpu=st.floats(0, 1),
    connections=st.floats(0, 1),
    late_ms=st.integers(0, 10_000),
    urgent_late_ms=st.integers(0, 2000),
    came=st.floats(0, 1e6),
    done=st.floats(0, 1e6),
)


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.lists(loads, min_size=1, max_size=12), st.booleans())
    ),
    st.integers(1, 4),
    st.integers(0, 6),
)
def test_it_never_leaves_its_bounds(
    story: list[tuple[int, list[Load], bool]], least: int, more: int
) -> None:
    marks = Marks(workers_min=least, workers_max=least + more)
    scaler, now = Scaler(marks, 0), 0
    for passed, seen, moving in story:
        now += passed
        wanted = scaler.decide(now, seen, moving=moving)
        assert least <= wanted <= least + more
        if wanted != len(seen):
            scaler.changed(now)


@given(st.lists(loads, min_size=1, max_size=8))
def test_what_a_limit_holds_up_never_adds_a_worker(seen: list[Load]) -> None:
    """Mail under a provider's limit isn't counted as late, so nobody is late: none is added, however full they are."""
    held = [msgspec.structs.replace(one, late_ms=0, urgent_late_ms=0) for one in seen]
    assert max(run(Scaler(MARKS, -10_000), held, ms=120_000)) <= len(held)


@given(st.floats(0.0, 1.0), st.integers(1, 7))
def test_a_steady_load_never_makes_it_go_up_and_down(use: float, there: int) -> None:
    """The same work spread over one worker fewer isn't full: `idle` and `busy` are that far apart."""
    scaler = Scaler(MARKS, -10_000)
    work = use * there
    seen, now = there, 0
    changes: list[int] = []
    for _ in range(2000):
        now += LOOK_MS
        share = work / seen
        late = 5000 if share >= 1.0 else 0
        wanted = scaler.decide(now, [Load(cpu=min(share, 1.0), late_ms=late)] * seen, moving=False)
        if wanted != seen:
            changes.append(wanted - seen)
            seen = wanted
            scaler.changed(now)
    ups = [one > 0 for one in changes]
    assert ups == sorted(ups, reverse=True) or all(ups) or not any(ups), changes
