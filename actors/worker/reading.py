"""What can be asked of a worker about what it holds. Nothing here changes anything."""

from __future__ import annotations

__all__ = ("Reading",)

import msgspec

from actors.operations.desk import Desk
from actors.planning.records import (
    DecisionAnswer,
    DecisionQuestion,
    StoryAnswer,
    StoryQuestion,
    decisions,
    stories,
)
from actors.worker import wire
from actors.worker.queueing import Queueing
from actors.worker.stories import whole_story
from actors.worker.views import view_of
from deliverability.message.state import MessageState
from engine.feed import FeedEntry
from engine.host import Host
from engine.keyspace import EntityKey
from engine.store.protocol import FEED
from engine.store.redis import RedisStore

FEED_MAX = 5000
FEED_LOOK = 1000
"""Entries looked at for those of one channel and tenant: about 1 ms of the loop."""


class Reading:
    """Answers from one worker's partitions, queues and quarantine."""

    def __init__(self, index: int, host: Host, queues: Queueing, desk: Desk) -> None:
        self._index = index
        self._host = host
        self._queues = queues
        self._desk = desk

    def state(self, question: wire.StateQuestion) -> wire.StateAnswer:
        """Show an entity as JSON. Raises: NotMineError."""
        key = EntityKey(question.key)
        if self._host.keyspace.partition(key) not in self._host.partitions:
            raise wire.NotMineError("this partition belongs to another worker")
        state, place = self._host.entry(key)
        if question.story and isinstance(state, MessageState):
            return wire.StateAnswer(msgspec.json.encode(whole_story(self._host, key, state)))
        return wire.StateAnswer(view_of(key, state, place) if state is not None else b"")

    def states(self, question: wire.StatesQuestion) -> wire.StatesAnswer:
        """Show several entities as JSON. Raises: NotMineError."""
        answers = [self.state(wire.StateQuestion(key)) for key in question.keys]
        return wire.StatesAnswer([answer.body for answer in answers])

    def feed(self, question: wire.FeedQuestion) -> wire.FeedAnswer:
        """Read a feed behind a place in it. Raises: NotMineError: it lies in another store; StoreError."""
        limit = min(question.limit, FEED_MAX)
        if question.wanted is not None:
            limit = max(limit, FEED_LOOK)
        place = (question.position, question.n)
        if question.feed is None or question.feed == self._index:
            entries = self._host.feed_after(*place, limit)
            return _picked(question, entries, limit, self._host.feed_position)
        store = self._host.store
        if not isinstance(store, RedisStore):
            raise wire.NotMineError("the feed of another worker is in another store")
        other = store.of_feed(question.feed)
        position = other.stand(FEED).seq
        return _picked(question, self._host.feed_after(*place, limit, other), limit, position)

    def quarantine(self, question: wire.QuarantineQuestion) -> wire.QuarantineAnswer:
        """List inputs in quarantine, or show one."""
        return self._desk.show(self._host, question)

    def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        """Tell what was decided about an entity, from the records."""
        return decisions(self._host, question)

    def stories(self, question: StoryQuestion) -> StoryAnswer:
        """Give some contacts with their events, from the records."""
        return stories(self._host, question)

    async def queues(self, tenant: str) -> wire.QueuesAnswer:
        """List the queues of a tenant."""
        return wire.QueuesAnswer(await self._queues.lines(tenant))

    async def selected(self, question: wire.QueueQuestion) -> wire.SelectedAnswer:
        """Tell what a selection meets."""
        return await self._queues.selected(question.tenant, question.selection, question.rows_max)

    def doubts(self, tenant: str, limit: int) -> wire.DoubtsAnswer:
        """List messages held in doubt."""
        return self._queues.doubtful(tenant, limit)


def _picked(
    question: wire.FeedQuestion, entries: list[FeedEntry], looked: int, position: int
) -> wire.FeedAnswer:
    """Give all entries, or those that are wanted, at most as many as were asked for."""
    if question.wanted is None:
        return wire.FeedAnswer(entries, position)
    found: list[FeedEntry] = []
    behind = (question.position, question.n)
    for entry in entries:
        if (entry.channel, entry.tenant) == question.wanted:
            if len(found) == question.limit:
                return wire.FeedAnswer(found, position, behind, more=True)
            found.append(entry)
        behind = (entry.position, entry.n)
    return wire.FeedAnswer(found, position, behind, more=len(entries) == looked)
