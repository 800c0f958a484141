"""The steward beside the controller, and what is read from its view."""

from __future__ import annotations

from pathlib import Path

from actors.cluster.placing import PlacingDesk
from engine.placement.steward import DEAD_MS, Report

NAMES = ("w0", "w1")


class Clock:
    """Monotonic, by hand."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        """Now."""
        return self.ms


def _hear(desk: PlacingDesk, worker: str, number: int, holds: list[int]) -> None:
    desk.report(Report(worker, 1, number, holds), 0)


def test_a_worker_whose_node_is_lost_can_be_taken_away(tmp_path: Path) -> None:
    """It said that it holds partitions, and will never say that it doesn't; others own them by now."""
    clock = Clock()
    desk = PlacingDesk(tmp_path, 4, NAMES, clock)
    _hear(desk, "w0", 1, [0, 2])
    _hear(desk, "w1", 1, [1, 3])
    assert desk.view().keeps("w1")
    clock.ms += DEAD_MS + 1
    _hear(desk, "w0", 2, [0, 2])
    assert set(desk.view().table.owners) == {"w0"}
    assert not desk.view().keeps("w1")


def test_a_worker_that_lives_is_waited_for(tmp_path: Path) -> None:
    """One that is drained keeps what it holds until it has let go of it."""
    clock = Clock()
    desk = PlacingDesk(tmp_path, 4, NAMES, clock)
    _hear(desk, "w0", 1, [0, 2])
    _hear(desk, "w1", 1, [1, 3])
    desk.drain("w1", back=False)
    assert set(desk.view().table.owners) == {"w0"}
    assert desk.view().keeps("w1")
    _hear(desk, "w1", 2, [])
    assert not desk.view().keeps("w1")


def test_whoever_has_a_partition_is_asked_until_it_lets_go(tmp_path: Path) -> None:
    """The next owner can't answer before; a worker that is lost isn't asked though it said that it has some."""
    clock = Clock()
    desk = PlacingDesk(tmp_path, 4, NAMES, clock)
    _hear(desk, "w0", 1, [0, 2])
    _hear(desk, "w1", 1, [1, 3])
    desk.drain("w1", back=False)
    assert desk.view().serving == ["w0", "w1", "w0", "w1"]
    _hear(desk, "w1", 2, [3])
    assert desk.view().serving == ["w0", "w0", "w0", "w1"]
    _hear(desk, "w0", 2, [0, 1, 2, 3])
    assert set(desk.view().serving) == {"w0"}, "it was passed over"
    desk.drain("w1", back=True)
    clock.ms += DEAD_MS + 1
    _hear(desk, "w0", 3, [0, 1, 2])
    assert set(desk.view().serving) == {"w0"}
