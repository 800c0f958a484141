"""Inputs of partitions on their way here wait for them, not for ever, and not without bound."""

from __future__ import annotations

import asyncio
from typing import cast

from actors.worker.arriving import Arriving
from actors.worker.holding import Holding


class Moving:
    """As much of a `Holding` as is asked."""

    def __init__(self, *ours: int) -> None:
        self.ours = set(ours)
        self.held: set[int] = set()

    @property
    def incomplete(self) -> bool:
        """Whether something isn't here."""
        return not self.ours <= self.held

    def coming(self, partitions: set[int]) -> bool:
        """Whether one of these is on its way."""
        return bool((partitions & self.ours) - self.held)


def _of(moving: Moving, bound: int = 10) -> Arriving:
    return Arriving(cast(Holding, moving), bound)


def test_an_input_waits_until_its_partition_is_here() -> None:
    """The caller is answered once, by the new owner, and not sent away."""

    async def story() -> None:
        moving = Moving(3, 4)
        made = _of(moving)
        waiting = asyncio.get_running_loop().create_task(made.wait([3], 1))
        await asyncio.sleep(0)
        moving.held = {4}
        made.took()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done(), "another one came"
        moving.held = {3, 4}
        made.took()
        await waiting

    asyncio.run(story())


def test_what_is_here_or_elsewhere_doesnt_wait() -> None:
    """Neither a partition that we hold, nor one that the table doesn't give us."""

    async def story() -> None:
        moving = Moving(3, 4)
        moving.held = {4}
        made = _of(moving)
        await asyncio.wait_for(made.wait([4, 9], 1), 0.1)

    asyncio.run(story())


def test_no_more_wait_than_intake_may_hold() -> None:
    """Beyond the bound the caller looks again by itself."""

    async def story() -> None:
        moving = Moving(3)
        made = _of(moving, bound=5)
        first = asyncio.get_running_loop().create_task(made.wait([3], 5))
        await asyncio.sleep(0)
        await asyncio.wait_for(made.wait([3], 1), 0.1)
        moving.held = {3}
        made.took()
        await first

    asyncio.run(story())


def test_a_partition_that_never_comes_is_not_waited_for_for_ever() -> None:
    """Its next owner may change its mind, or die."""

    async def story() -> None:
        made = Arriving(cast(Holding, Moving(3)), 10, wait_s=0.01)
        await asyncio.wait_for(made.wait([3], 1), 1.0)

    asyncio.run(story())
