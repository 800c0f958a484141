"""A typed handle to a worker's actor: Structs go in and come out, bytes cross."""

from __future__ import annotations

__all__ = ("WorkerHandle",)

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.cluster.calls import WorkerLostError, called
from actors.operations.blob_marks import BlobMarks
from actors.planning.records import (
    DecisionAnswer,
    DecisionQuestion,
    StoryAnswer,
    StoryQuestion,
)
from actors.planning.walking import WalkAnswer, WalkQuestion
from actors.worker import wire
from engine.tick import Repair

RESTART_WAIT_S = 30.0


class WorkerHandle:
    """A typed handle to one worker. Every call may raise `WorkerLostError`."""

    def __init__(self, actor: Any, index: int) -> None:
        self.actor = actor
        self.index = index

    async def start(self) -> wire.Hello:
        """Start it, or hear hello from its present life; waits for a restart under way."""
        deadline = asyncio.get_running_loop().time() + RESTART_WAIT_S
        while True:
            try:
                hello: wire.Hello = await self._ask(wire.Hello, self.actor.start)
            except WorkerLostError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return hello

    async def connect(self, handles: Sequence[WorkerHandle], egress: WorkerHandle | None) -> None:
        """Tell it of its peers, and of its egress if that is another actor."""
        sender = egress.actor if egress is not None else None
        peers = {handle.index: handle.actor for handle in handles}
        await self._call(self.actor.connect, peers, self.index, sender)

    async def admit(self, items: list[wire.WireArrival]) -> wire.AdmitAnswer:
        """Give it inputs; answers when durable."""
        batch = wire.AdmitBatch(items)
        answer: wire.AdmitAnswer = await self._ask(
            wire.AdmitAnswer, self.actor.admit, wire.encode(batch)
        )
        return answer

    async def pass_time(self, now: int, items: list[wire.WireArrival]) -> wire.WorkerStatus:
        """In a replay: give it inputs at a time, and let all happen that is due then."""
        raw = wire.encode(wire.AdmitBatch(items)) if items else b""
        status: wire.WorkerStatus = await self._ask(
            wire.WorkerStatus, self.actor.pass_time, now, raw
        )
        return status

    async def state(self, key: bytes, *, story: bool = False) -> bytes:
        """Give an entity's view as JSON, of a message with its whole story if wanted; empty when there is none."""
        raw = wire.encode(wire.StateQuestion(key, story))
        answer: wire.StateAnswer = await self._ask(wire.StateAnswer, self.actor.state, raw)
        return answer.body

    async def states(self, keys: Sequence[bytes]) -> list[bytes]:
        """Give the views of several entities as JSON; empty where there is none."""
        raw = wire.encode(wire.StatesQuestion(list(keys)))
        answer: wire.StatesAnswer = await self._ask(wire.StatesAnswer, self.actor.states, raw)
        return answer.bodies

    async def feed(
        self,
        position: int,
        n: int,
        limit: int,
        feed: int | None = None,
        wanted: tuple[str, str] | None = None,
    ) -> wire.FeedAnswer:
        """Read its feed behind a place; or on Redis that of another number. `wanted`: of a channel and tenant alone."""
        raw = wire.encode(wire.FeedQuestion(position, n, limit, feed, wanted))
        answer: wire.FeedAnswer = await self._ask(wire.FeedAnswer, self.actor.feed, raw)
        return answer

    async def quarantine(self, question: wire.QuarantineQuestion) -> wire.QuarantineAnswer:
        """List or show inputs in its quarantine."""
        answer: wire.QuarantineAnswer = await self._ask(
            wire.QuarantineAnswer, self.actor.quarantine, wire.encode(question)
        )
        return answer

    async def repair(self, repair: Repair) -> str:
        """Replay or drop an input in quarantine; answers when durable: "" or why not."""
        answer: wire.RepairAnswer = await self._ask(
            wire.RepairAnswer, self.actor.repair, wire.encode(repair)
        )
        return answer.told

    async def recount(self, *, start: bool) -> wire.RecountAnswer:
        """Let it count everything anew, or ask how that stands."""
        answer: wire.RecountAnswer = await self._ask(
            wire.RecountAnswer, self.actor.recount, int(start)
        )
        return answer

    async def blobs(self, *, start: bool) -> BlobMarks:
        """Let it look which blobs are needed, or ask how that stands."""
        answer: BlobMarks = await self._ask(BlobMarks, self.actor.blobs, int(start))
        return answer

    async def queues(self, tenant: str) -> wire.QueuesAnswer:
        """List its queues of a tenant."""
        answer: wire.QueuesAnswer = await self._ask(wire.QueuesAnswer, self.actor.queues, tenant)
        return answer

    async def selected(self, question: wire.QueueQuestion) -> wire.SelectedAnswer:
        """Ask what a selection of its queued messages meets."""
        answer: wire.SelectedAnswer = await self._ask(
            wire.SelectedAnswer, self.actor.selected, wire.encode(question)
        )
        return answer

    async def doubts(self, tenant: str, limit: int) -> wire.DoubtsAnswer:
        """List its messages that are held in doubt."""
        answer: wire.DoubtsAnswer = await self._ask(
            wire.DoubtsAnswer, self.actor.doubts, tenant, limit
        )
        return answer

    async def status(self) -> wire.WorkerStatus:
        """Ask where it stands."""
        status: wire.WorkerStatus = await self._ask(wire.WorkerStatus, self.actor.status)
        return status

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        """Let it look at some contacts for a run."""
        answer: WalkAnswer = await self._ask(WalkAnswer, self.actor.walk, wire.encode(question))
        return answer

    async def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        """Ask what it decided about an entity."""
        raw = wire.encode(question)
        answer: DecisionAnswer = await self._ask(DecisionAnswer, self.actor.decisions, raw)
        return answer

    async def stories(self, question: StoryQuestion) -> StoryAnswer:
        """Ask for some contacts with their events."""
        answer: StoryAnswer = await self._ask(
            StoryAnswer, self.actor.stories, wire.encode(question)
        )
        return answer

    async def publish(self) -> None:
        """Let it look for a newer catalog."""
        await self._call(self.actor.publish)

    async def home(self) -> str:
        """Name the node of Ray that it runs on."""
        return str(await self._call(self.actor.home))

    async def stop(self) -> None:
        """Drain and close it."""
        await self._call(self.actor.stop)

    async def _ask(self, kind: Any, method: Any, *args: Any) -> Any:
        return wire.decode(kind, await self._call(method, *args))

    async def _call(self, method: Any, *args: Any) -> Any:
        import ray.exceptions

        try:
            answer = method.remote(*args)
        except ray.exceptions.PendingCallsLimitExceeded as error:
            raise WorkerLostError(f"worker {self.index}: too many calls wait") from error
        return await called(answer, f"worker {self.index}")
