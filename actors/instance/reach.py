"""How the edge reaches workers: whoever owns a partition now, and again after a death or a move.

A worker that dies is waited for and asked again: input ids, idempotency keys and plain reads make that harmless.
"""

from __future__ import annotations

__all__ = ("Reach",)

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from actors.cluster.calls import WorkerLostError
from actors.cluster.handle import WorkerHandle
from actors.cluster.running import Cluster
from actors.worker.wire import AdmitAnswer, FeedAnswer, NotMineError, WireArrival
from engine.errors import CapacityError, StoreError
from engine.keyspace import Keyspace

T = TypeVar("T")

INSIST_S = 20.0
LOOK_S = 0.5  # who owns what is looked up so often while an answer is waited for
MOVING_S = 0.01
MOVING_TRIES = 45  # about ten seconds in all, each wait longer than the last


class Reach:
    """The workers of one cluster, called until they answer."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster = cluster
        self._keyspace = Keyspace(partitions)
        self._reviving: dict[int, asyncio.Task[object]] = {}
        self.restarts: dict[int, int] = {}
        """By worker, how often it was waited for."""

    @property
    def workers(self) -> list[WorkerHandle]:
        """The owners of partitions."""
        return self._cluster.workers

    def away(self) -> list[int]:
        """Number the workers that are waited for now."""
        return [index for index, task in self._reviving.items() if not task.done()]

    def index(self, key: bytes) -> int:
        """Give the number of the worker that owns an entity, as far as known here."""
        return self._cluster.index_of(self._keyspace.partition(key))

    def owner_of(self, partition: int) -> WorkerHandle:
        """Give the worker that owns a partition, as far as known here."""
        return self._cluster.worker(self._cluster.index_of(partition))

    @property
    def feeds(self) -> int:
        """How many feeds there are: those of workers that have gone, too."""
        return self._cluster.feeds

    async def feed(
        self,
        number: int,
        place: tuple[int, int],
        limit: int,
        wanted: tuple[str, str] | None = None,
    ) -> FeedAnswer:
        """Read a feed behind a place in it, by its own worker, or by another when that has gone.

        `wanted`: entries of a channel and tenant alone.
        """
        first = self._cluster.worker(number)
        others = [one for one in self.workers if one is not first]
        for worker in (first, *others):
            call = partial(worker.feed, *place, limit, number, wanted)
            try:
                return await self.insist(worker, call, self._serves(worker))
            except NotMineError:
                if self._cluster.table is None:
                    raise
        raise CapacityError("whoever reads the feeds", 1.0)

    async def admit(self, index: int, items: list[WireArrival]) -> AdmitAnswer:
        """Give inputs to a worker; those whose partitions went elsewhere go after them.

        Raises: CapacityError; StoreError.
        """
        worker = self._cluster.worker(index)
        try:
            call, still = partial(worker.admit, items), self._owned(index, items)
            answer = await self.insist(worker, call, still)
        except NotMineError:
            # others own them by now; ids make it harmless to give again what it took
            answer = AdmitAnswer(["lost"] * len(items))
        if answer.overloaded:
            raise CapacityError(answer.reason or "intake of a worker", answer.retry_after_s)
        moved = [n for n, verdict in enumerate(answer.verdicts) if verdict == "lost"]
        if not moved:
            return answer
        verdicts = list(answer.verdicts)
        for n, verdict in zip(moved, await self._again([items[n] for n in moved]), strict=True):
            verdicts[n] = verdict
        return AdmitAnswer(verdicts)

    async def _again(self, items: list[WireArrival], tries: int = 0) -> list[str]:
        """Give inputs to whoever owns their partitions by now: none of them was taken.

        Raises: CapacityError: their partitions are on their way for long.
        """
        if tries > MOVING_TRIES:
            raise CapacityError("partitions on their way to another worker", 1.0)
        await asyncio.sleep(MOVING_S * tries)
        await self._cluster.reroute()
        by_worker: dict[int, list[int]] = {}
        for n, item in enumerate(items):
            by_worker.setdefault(self.index(item.key), []).append(n)
        verdicts = [""] * len(items)
        for index, which in by_worker.items():
            worker, some = self._cluster.worker(index), [items[n] for n in which]
            try:
                call, still = partial(worker.admit, some), self._owned(index, some)
                answer = await self.insist(worker, call, still)
            except NotMineError:
                answer = AdmitAnswer(["lost"] * len(some))
            if answer.overloaded:
                raise CapacityError(answer.reason or "intake of a worker", answer.retry_after_s)
            for n, verdict in zip(which, answer.verdicts, strict=True):
                verdicts[n] = verdict
        lost = [n for n, verdict in enumerate(verdicts) if verdict == "lost"]
        if lost:
            found = await self._again([items[n] for n in lost], tries + 1)
            for n, verdict in zip(lost, found, strict=True):
                verdicts[n] = verdict
        return verdicts

    async def state(self, key: bytes, *, story: bool = False) -> bytes:
        """Ask the owner of an entity for its view, wherever its partition went."""
        tries = 0
        while True:
            index = self.index(key)
            worker = self._cluster.worker(index)

            def still(index: int = index) -> bool:
                return self.index(key) == index

            try:
                return await self.insist(worker, partial(worker.state, key, story=story), still)
            except NotMineError:
                tries += 1
                if tries > MOVING_TRIES:
                    raise CapacityError("a partition on its way to another worker", 1.0) from None
                await asyncio.sleep(MOVING_S * tries)
                await self._cluster.reroute()

    def _serves(self, worker: WorkerHandle) -> Callable[[], bool]:
        """Give what tells whether a worker owns anything: one that doesn't isn't waited for."""
        name = f"w{worker.index}"
        return lambda: self._cluster.table is None or name in self._cluster.table.owners

    def _owned(self, index: int, items: list[WireArrival]) -> Callable[[], bool]:
        """Give what tells whether a worker owns all of some inputs, as far as known here."""
        return lambda: all(self.index(item.key) == index for item in items)

    async def insist(
        self,
        worker: WorkerHandle,
        call: Callable[[], Awaitable[T]],
        still: Callable[[], bool] | None = None,
    ) -> T:
        """Call; when the worker is lost, wait for its next life and call again, for a while.

        Args:
            worker: who is called.
            call: may be repeated.
            still: whether the worker is the one to ask; looked at while an answer is waited for, where partitions move.

        Raises: NotMineError: it has gone for good, or isn't the one to ask; StoreError: it isn't back in time.
        """
        watched = still if self._cluster.table is not None else None
        deadline = asyncio.get_running_loop().time() + INSIST_S
        while True:
            try:
                return await self._while(watched, call())
            except WorkerLostError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise StoreError(f"{error}; whether anything was taken isn't known") from error
                if not self._cluster.has(worker):
                    raise NotMineError("the worker has gone") from error
                with suppress(WorkerLostError):  # not yet: the next call tells
                    await self._while(watched, self._revive(worker))

    async def ask_all(
        self, call_of: Callable[[WorkerHandle], Callable[[], Awaitable[T]]]
    ) -> list[T]:
        """Ask every owner of partitions the same; one that is lost is waited for and asked again."""
        asked = [self._unless_gone(w, call_of(w)) for w in self._cluster.workers]
        return [answer[0] for answer in await asyncio.gather(*asked) if answer]

    async def _unless_gone(
        self, worker: WorkerHandle, call: Callable[[], Awaitable[T]]
    ) -> tuple[T] | None:
        try:
            return (await self.insist(worker, call, self._serves(worker)),)
        except NotMineError:
            return None

    async def _while(self, still: Callable[[], bool] | None, work: Awaitable[T]) -> T:
        """Wait for something as long as the right worker is asked: a stopped one may never answer."""
        if still is None:
            return await work
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_S))[0]:
                await self._cluster.reroute()
                if not still():
                    raise NotMineError("its partitions have another owner by now")
            return task.result()
        finally:
            task.cancel()

    async def _revive(self, worker: WorkerHandle) -> None:
        """Wait for a lost worker's next life, which somebody must begin: whoever stops waiting doesn't end that."""
        task = self._reviving.get(worker.index)
        if task is None or task.done():
            self.restarts[worker.index] = self.restarts.get(worker.index, 0) + 1
            task = asyncio.get_running_loop().create_task(self._cluster.revive(worker))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._reviving[worker.index] = task
        await asyncio.shield(task)
