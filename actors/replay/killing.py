"""Kills workers in the middle of a run, when many messages are in their hands, to show that nothing is lost."""

from __future__ import annotations

__all__ = ("StateKiller",)

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence

from actors.cluster import Cluster, WorkerLostError
from actors.worker.wire import Hello

IN_HAND_MIN = 50
LOOK_S = 0.002
PAUSE_S = 1.5  # between two kills, so that each meets a worker that is at work again


class StateKiller:
    """SIGKILLs `kills` workers, each while it has many messages in hand."""

    def __init__(self, cluster: Cluster, kills: int, seed: int) -> None:
        self._cluster = cluster
        self._kills = kills
        self._rng = random.Random(seed)  # noqa: S311 -- which worker dies shall be repeatable
        self._task: asyncio.Task[None] | None = None
        self.killed = 0

    def start(self) -> None:
        """Begin to look for moments."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def phases(self, hellos: Sequence[Hello]) -> Counter[str]:
        """Count what the kills met, by the phase that each message was in."""
        met: Counter[str] = Counter()
        for hello in hellos:
            met["handed over, not begun"] += hello.never_begun
            met["in the air"] += hello.in_the_air
            met["outcome unconfirmed"] += hello.concluded
        return met

    async def _run(self) -> None:
        while self.killed < self._kills:
            await asyncio.sleep(LOOK_S)
            worker = self._rng.choice(self._cluster.workers)
            try:
                status = await worker.status()
            except WorkerLostError:
                continue
            if status.in_hand >= IN_HAND_MIN:
                os.kill(status.pid, signal.SIGKILL)
                self.killed += 1
                await asyncio.sleep(PAUSE_S)
