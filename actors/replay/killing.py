"""Kills workers in the middle of a run, when many messages are in their hands, to show that nothing is lost.

The moment is chosen by the state that a worker's pulse shows, and the kill comes from outside, by SIGKILL: messages are
then in several phases at once, and what a kill met is counted from what the next life finds. In which part of its tick
it met the worker, the pulse tells, which outlives the process.
"""

from __future__ import annotations

__all__ = ("ATTEMPTING_MIN", "StateKiller", "phases_met")

import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from actors.cluster.controller import Member
from actors.worker.pulse import DECIDING, RELEASING, Beat, pulse_path, read_pulse

ATTEMPTING_MIN = 50
"""A worker dies only while it has so many messages under way: handed over, and their outcome not durable yet."""
LOOK_S = 0.0005
PATIENCE = 4000  # looks after which a moment is good enough that shows fewer phases at once
AIM_PATIENCE = (
    200  # such moments that pass before any of them will do, whatever part of a tick it meets
)
DIES_WITHIN_S = 0.05  # after SIGKILL the last instructions of a process have run by then
PLACES = {DECIDING: "before the sync", RELEASING: "synced, not all released"}


class StateKiller:
    """SIGKILLs `kills` workers, one after the other, each while it has many messages in hand.

    Where roles are split, egresses have their turn first. It looks from a thread of its own: the event loop also has
    the twin in it, and would look only when the twin has answered everything.
    """

    def __init__(self, data_dir: Path, workers: int, kills: int, egresses: int = 0) -> None:
        self._paths = [pulse_path(data_dir, number, "e") for number in range(egresses)]
        self._paths += [pulse_path(data_dir, worker) for worker in range(workers)]
        self._kills = kills
        self._dead: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self.killed = 0
        self.places: Counter[str] = Counter()
        """How many kills met a worker in which part of its tick."""

    def start(self) -> None:
        """Begin to look for moments."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        looks = 0
        while self.killed < self._kills and not self._over.wait(LOOK_S):
            # in turn, so that no worker dies twice before every other one did
            turn = self.killed % len(self._paths)
            beat = read_pulse(self._paths[turn])
            if beat.pid in self._dead or beat.in_hand + beat.unconfirmed < ATTEMPTING_MIN:
                continue
            looks += 1
            if _rich(beat) or looks > PATIENCE:
                self._kill(self._paths[turn], beat.pid)
                looks = 0

    def _kill(self, path: Path, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._dead.add(pid)
        self.killed += 1
        self._over.wait(DIES_WITHIN_S)
        place = PLACES.get(read_pulse(path).place)
        if place is not None:
            self.places[place] += 1


def _rich(beat: Beat) -> bool:
    """Whether a kill now meets messages in several phases."""
    return beat.begun > 0 and beat.unconfirmed > 0


def phases_met(members: Sequence[Member]) -> Counter[str]:
    """Count what kills met, by the phase that each message was in."""
    met: Counter[str] = Counter()
    for member in members:
        met["handed over, not begun"] += member.never_begun
        met["in the air"] += member.in_the_air
        met["outcome unconfirmed"] += member.concluded
    return met
