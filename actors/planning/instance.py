"""The running engine as the keeper asks it: by the workers of a cluster."""

from __future__ import annotations

__all__ = ("PlanningInstance",)

import asyncio
from functools import partial

from actors.backend import Arrival, ItemResult
from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from actors.planning.records import (
    DecisionAnswer,
    DecisionQuestion,
    StoryAnswer,
    StoryQuestion,
)
from actors.planning.walking import WalkAnswer, WalkQuestion
from engine.feed import FeedEntry
from engine.keyspace import Keyspace


class PlanningInstance:
    """Finds the worker that owns what is asked for; one that is lost is waited for."""

    def __init__(self, backend: ClusterBackend, cluster: Cluster, partitions: int) -> None:
        self._backend = backend
        self._cluster = cluster
        self._keyspace = Keyspace(partitions)

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions; idempotent by input id."""
        return await self._backend.admit(arrivals)

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        """Let the worker that owns the question's partitions, which must be one, look at some contacts."""
        worker = self._cluster.worker(self._owner(question.places[0][0]))
        return await self._backend.ask(worker, partial(worker.walk, question))

    async def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        """Ask the owner of an entity what was decided about it."""
        worker = self._cluster.worker(self._owner(self._keyspace.partition(question.key)))
        return await self._backend.ask(worker, partial(worker.decisions, question))

    async def stories(self, question: StoryQuestion) -> StoryAnswer:
        """Ask the owner of a partition for some contacts with their events."""
        worker = self._cluster.worker(self._owner(question.partition))
        return await self._backend.ask(worker, partial(worker.stories, question))

    def by_owner(self, partitions: list[int]) -> list[list[int]]:
        """Group partitions by the worker that owns them."""
        groups: dict[int, list[int]] = {}
        for partition in partitions:
            groups.setdefault(self._owner(partition), []).append(partition)
        return list(groups.values())

    async def feed(self, places: list[tuple[int, int]], limit: int) -> list[list[FeedEntry]]:
        """Read each feed behind a place in it, all channels; those of workers that have gone, too."""
        asked = places + [(0, 0)] * (self._cluster.feeds - len(places))
        pages = (self._backend.feed(number, place, limit) for number, place in enumerate(asked))
        return list(await asyncio.gather(*pages))

    async def use_catalog(self, version: int) -> bool:
        """Bring a version of the catalog to all workers; whether each of them uses it now."""
        used = await self._cluster.publish(version)
        owners = [f"w{worker.index}" for worker in self._cluster.workers]
        return all(used.get(owner, 0) >= version for owner in owners)

    def _owner(self, partition: int) -> int:
        return self._cluster.index_of(partition)
