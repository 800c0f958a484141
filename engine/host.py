"""The host: all partitions of one worker, decided tick by tick, one commit and one sync a tick.

    take inputs -> read the touched states in one go -> decide -> one commit -> acknowledge and release

Outcomes come first and are never refused. Then Tells of other partitions, then due timers and intake, neither below a
quarter of the batch; hand-over comes last, since it uses what the tick made ready. The host is pure but for the store
it is given: time and credits come in with each tick, effects go out with its result.

After a failed or unknown commit nothing is released: `tick` raises, and `recover` forgets all that was decided and
reads again how far each partition came.
"""

from __future__ import annotations

__all__ = ("Host",)

from collections.abc import Iterable, Sequence

from engine import quarantine
from engine.entities import EntityCache, Entry, Machines
from engine.errors import RefusedError, StoreError
from engine.feed import Emitted, Feed, FeedEntry
from engine.inputs import Arrival, TellOut, Verdict
from engine.keyspace import EntityKey, Keyspace
from engine.lanes import Lanes
from engine.machine import CatalogView, Context
from engine.partition import Partition
from engine.rows import ENTITY
from engine.store.protocol import FEED, Stand, Store, partition_prefix
from engine.tally import Counts, merged
from engine.tick import CreditOffer, HostSettings, Released, TickInputs
from engine.window import Window

DROP_PER_TICK = (
    200  # finished entities dropped in one tick, so that cleaning never stands in the way
)


UNUSED_GRANTS_MAX = 500
"""Entities of a lane that may leave a credit unused in one tick (they end, or are parked); the rest comes later."""


FEED_TRIES = 100
"""Each of them fails only when another one wrote in between."""

_Turn = tuple[int, bytes, bool]
"""An arrival by its number, what stands for it among seen ids, whether a row shows that it was seen."""


class Host:
    """All partitions of a worker over one store. Making one claims them, under the next epoch.

    Raises: StoreError; RefusedError when somebody else claimed them at the same time.
    """

    def __init__(
        self,
        store: Store,
        machines: Machines,
        keyspace: Keyspace,
        catalog: CatalogView,
        numbers: Iterable[int],
        settings: HostSettings | None = None,
    ) -> None:
        self.settings = settings or HostSettings()
        self.store = store
        self.keyspace = keyspace
        self._machines = machines
        self._context = Context(catalog)
        self._cache = EntityCache(self.settings.cache_entities)
        self.partitions: dict[int, Partition] = {}
        self._lanes = Lanes(self._head, self._bound, self.settings.weights)
        self._frozen: set[int] = set()
        self._feed = Feed(store.stand(FEED))
        for number in numbers:
            self._open(number)
        self._claim()

    # ---- life

    def _open(self, number: int) -> None:
        epoch = self.store.stand(number).epoch + 1
        self.partitions[number] = Partition(
            number,
            self.store,
            self._machines,
            self.keyspace,
            self._cache,
            self.settings.partition,
            epoch,
            self._lanes.stands,
        )

    def _claim(self) -> None:
        """Write the new epoch of every partition at once, so that a former owner can't write any more."""
        batches = [partition.batch() for partition in self.partitions.values()]
        feed = self._feed.claimed()
        batches.append(feed)
        stale = self.store.commit(batches)
        if stale:
            raise RefusedError(f"partitions {stale} were claimed by somebody else at the same time")
        self._feed.stand = feed.stand
        for partition in self.partitions.values():
            partition.settle(Stand(partition.epoch, partition.stand.seq + 1))

    def take(self, numbers: Iterable[int]) -> list[int]:
        """Claim more partitions, between two ticks. Returns those that are claimed now.

        One that is missing was claimed by somebody else at the same time. Raises: StoreError; none was taken here.
        """
        wanted = [number for number in numbers if number not in self.partitions]
        self._cache.clear()  # what is known of them is from before their last owner
        try:
            for number in wanted:
                self._open(number)
            stale = set(self.store.commit([self.partitions[number].batch() for number in wanted]))
        except StoreError:
            self.give(wanted)
            raise
        self.give(stale)
        claimed = [number for number in wanted if number not in stale]
        for number in claimed:
            partition = self.partitions[number]
            partition.settle(Stand(partition.epoch, partition.stand.seq + 1))
        return claimed

    def give(self, numbers: Iterable[int]) -> None:
        """Let go of partitions, between two ticks: somebody else takes them, or has."""
        gone = [number for number in numbers if self.partitions.pop(number, None) is not None]
        self._frozen.difference_update(gone)

    def freeze(self, numbers: set[int]) -> None:
        """Hand nothing over of exactly these partitions: they are about to be given away."""
        thawed = self._frozen - numbers
        self._frozen = numbers & self.partitions.keys()
        for number in thawed & self.partitions.keys():
            for queue, window in self.partitions[number].ready.items():
                first = window.first()
                if first is not None:
                    self._lanes.stands(number, queue, first)

    def recover(self) -> None:
        """After a failed or unknown commit: forget what was decided, read again what is durable."""
        self.store.reopen()
        self._cache.clear()
        self._feed.again(self.store.stand(FEED))
        self._lanes.clear()
        for partition in self.partitions.values():
            partition.load()

    def publish(self, catalog: CatalogView) -> None:
        """Decide with a newer catalog from the next tick on; its version never goes back."""
        assert catalog.version >= self._context.catalog.version
        self._context.catalog = catalog

    # ---- the tick

    def tick(self, now: int, inputs: TickInputs) -> Released:
        """Decide what waits, at most a batch of it, and make it durable.

        Takes what it decides out of `inputs`; arrivals and due timers beyond the bound wait for the next tick.
        Raises: StoreError; nothing was released, and `recover` must be called before anything else.
        """
        released = Released()
        taken = self._take_arrivals(inputs, self._due_soon(now))
        turns = self._prefetch(now, inputs, taken)
        self._answers(now, inputs, released)
        self._delivers(now, inputs, released)
        self._repair(now, inputs, released)
        if inputs.timers:
            released.woken_due = self._wake(now, self.settings.batch_max - len(taken))
            released.woken = len(released.woken_due)
        self._arrive(now, taken, turns, released)
        released.credits_left = self._grant(now, inputs.credits)
        inputs.credits = []
        self._drop(now)
        self._commit(released)
        if released.lost:
            self._lose(released, taken)
        return released

    def _take_arrivals(self, inputs: TickInputs, timers_wait: bool) -> list[Arrival]:
        """Take what intake may have of this batch: all, or three quarters when timers are due."""
        bound = self.settings.batch_max
        room = max(bound - len(inputs.answers) - len(inputs.delivers), bound // 4)
        if timers_wait:
            room = max(room * 3 // 4, bound // 4)
        taken = inputs.arrivals[:room]
        del inputs.arrivals[:room]
        return taken

    def _due_soon(self, now: int) -> bool:
        return any(
            (first := p.agenda.first()) is not None and first <= now
            for p in self.partitions.values()
        )

    def _prefetch(
        self, now: int, inputs: TickInputs, taken: Sequence[Arrival]
    ) -> list[tuple[Partition, list[_Turn]]]:
        """Read all that the inputs are known to touch with one list `get`; rows of seen ids, which few need, after."""
        keys: list[EntityKey] = [answer.key for answer in inputs.answers]
        for answer in inputs.answers:
            keys += answer.touches
        keys += [EntityKey(tell.key) for tell in inputs.delivers]
        keys += [arrival.key for arrival in taken]
        self._load(keys)
        turns = []
        rows: list[bytes] = []
        for partition, numbers in self._grouped(taken):
            partition.advance(now, self._context)
            seen_rows = partition.seen_rows
            digests = partition.digests([taken[n] for n in numbers])
            turn: list[_Turn] = []
            for n, digest in zip(numbers, digests, strict=True):
                doubtful = seen_rows(taken[n].key, digest)
                turn.append((n, digest, bool(doubtful)))
                rows += doubtful
            turns.append((partition, turn))
        return self._looked_up(turns, rows) if rows else turns

    def _looked_up(
        self, turns: list[tuple[Partition, list[_Turn]]], rows: Sequence[bytes]
    ) -> list[tuple[Partition, list[_Turn]]]:
        """Look at the rows of seen ids, two for each input that has any."""
        found = iter(self.store.get(rows))
        return [
            (
                partition,
                [
                    (n, digest, doubtful and (next(found) is not None) | (next(found) is not None))
                    for n, digest, doubtful in turn
                ],
            )
            for partition, turn in turns
        ]

    def _grouped(self, taken: Sequence[Arrival]) -> list[tuple[Partition, list[int]]]:
        """Group arrivals by partition, each group in their order: partitions don't look at each other."""
        number_of = self.keyspace.partition
        groups: dict[int, list[int]] = {}
        for n, arrival in enumerate(taken):
            number = number_of(arrival.key)
            group = groups.get(number)
            if group is None:
                groups[number] = [n]
            else:
                group.append(n)
        mine = self.partitions  # what isn't mine (any more) keeps the verdict "lost"
        return [(mine[number], group) for number, group in groups.items() if number in mine]

    def _arrive(
        self,
        now: int,
        taken: Sequence[Arrival],
        turns: list[tuple[Partition, list[_Turn]]],
        released: Released,
    ) -> None:
        verdicts: list[Verdict] = ["lost"] * len(taken)
        context = self._context
        for partition, turn in turns:
            partition.advance(now, context)
            arrive = partition.arrive
            for n, digest, seen in turn:
                verdicts[n] = arrive(taken[n], digest, seen=seen, context=context)
        released.verdicts = verdicts

    def _answers(self, now: int, inputs: TickInputs, released: Released) -> None:
        context, mine = self._context, self.partitions
        for answer in inputs.answers:
            partition = mine.get(self.keyspace.partition(answer.key))
            if partition is None:
                continue  # it went since this was asked for: its owner looks for itself
            partition.advance(now, context)
            partition.answer(answer.key, answer.body, context)
            released.answered += 1
        inputs.answers = []

    def _delivers(self, now: int, inputs: TickInputs, released: Released) -> None:
        for source, target, seq in inputs.confirms:
            if source in self.partitions:
                self.partitions[source].confirm(target, seq)
        for tell in inputs.delivers:
            if tell.target not in self.partitions:
                if tell.source in self.partitions:
                    released.elsewhere.append(tell)  # nobody else knows that it is on its way
                continue  # unconfirmed, so it comes again, to its owner
            partition = self.partitions[tell.target]
            partition.advance(now, self._context)
            if partition.deliver(tell, self._context):
                released.confirms.append((tell.source, tell.target, tell.seq))
        inputs.confirms = []
        inputs.delivers = []

    def _repair(self, now: int, inputs: TickInputs, released: Released) -> None:
        for repair in inputs.repairs:
            partition = self.partitions.get(repair.partition)
            if partition is None:
                released.repaired.append(None)
                continue
            partition.advance(now, self._context)
            if repair.action == "replay":
                told = quarantine.replay(partition, repair.number, self._context)
            else:
                told = quarantine.drop(partition, repair.number)
            released.repaired.append(told)
        inputs.repairs = []

    def _wake(self, now: int, room: int) -> list[int]:
        """Decide what is due, the partition with the oldest first, each its share: none starves under overload.

        Returns: when each was due.
        """
        room = max(room, self.settings.batch_max // 4)
        heads = sorted(
            (first, partition.number)
            for partition in self.partitions.values()
            if (first := partition.agenda.first()) is not None and first <= now
        )
        if not heads:
            return []
        taken: list[tuple[Partition, list[tuple[int, bytes]]]] = []
        for left, (_, number) in zip(range(len(heads), 0, -1), heads, strict=True):
            partition = self.partitions[number]
            due = partition.due(now, -(-room // left))
            room -= len(due)
            partition.dirty = partition.dirty or bool(due)
            taken.append((partition, due))
        self._load(key for _, due in taken for _, key in due)
        for partition, due in taken:
            partition.advance(now, self._context)
            for when, key in due:
                partition.wake(when, key, self._context)
        return [when for _, due in taken for when, _ in due]

    def _load(self, keys: Iterable[bytes]) -> None:
        """Bring entities into the cache, in one go."""
        missing = [key for key in dict.fromkeys(keys) if self._cache.get(key) is None]
        if not missing:
            return
        prefix, partition = partition_prefix, self.keyspace.partition
        found = self.store.get([prefix(partition(key)) + ENTITY + key for key in missing])
        for key, raw in zip(missing, found, strict=True):
            self._cache.put(key, self._machines.load(key, raw))

    def _grant(self, now: int, offers: Sequence[CreditOffer]) -> list[CreditOffer]:
        """Give credits to the ready entities of their lanes, fair between tenants; give back what nobody could use."""
        left = []
        room = self.settings.grants_max
        for offer in offers:
            used = self._grant_lane(now, offer, min(offer.number, room))
            room -= used
            if used < offer.number:
                left.append(CreditOffer(offer.lane, offer.number - used, offer.credit))
        return left

    def _grant_lane(self, now: int, offer: CreditOffer, number: int) -> int:
        used = 0
        tries = number + UNUSED_GRANTS_MAX
        self._lanes.deal(offer.lane, now)
        while used < number and tries > 0:
            place = self._lanes.next(offer.lane)
            if place is None:
                break
            tries -= 1
            partition = self.partitions[place[0]]
            partition.advance(now, self._context)
            went = partition.grant(place[1], offer.credit, self._context) == "used"
            used += went
            self._lanes.granted(*place, used=went)
        return used

    def _head(self, number: int, queue: bytes) -> int | None:
        """Tell the order of a ready queue's head, exactly: who is the oldest may not depend on what was loaded."""
        window = self._window(number, queue)
        return None if window is None else window.head(self.store)

    def _window(self, number: int, queue: bytes) -> Window | None:
        partition = self.partitions.get(number)
        frozen = partition is None or number in self._frozen
        return None if frozen or partition is None else partition.ready.get(queue)

    def _bound(self, number: int, queue: bytes) -> int | None:
        window = self._window(number, queue)
        return None if window is None else window.first()

    def _drop(self, now: int) -> None:
        room = DROP_PER_TICK
        for partition in self.partitions.values():
            if partition.dirty:
                partition.drop_buckets()
                room -= partition.drop_retired(now, room)
                if room <= 0:
                    break

    def _commit(self, released: Released) -> None:
        dirty = [partition for partition in self.partitions.values() if partition.dirty]
        if not dirty:
            return
        batches = [partition.batch() for partition in dirty]
        fed = self._feed.batch(one for partition in dirty for one in partition.emits)
        if fed is not None:
            batches.append(fed[0])
        stale = set(self.store.commit(batches))
        if fed is not None and FEED not in stale:
            self._feed.stand, released.fed = fed[0].stand, fed[1]
        elif fed is not None:
            ours = [one for p in dirty if p.number not in stale for one in p.emits]
            released.fed = self._feed_beside(ours)
        for partition, batch in zip(dirty, batches, strict=False):
            if partition.number in stale:
                released.lost.append(partition.number)
                continue
            released.releases += [(partition.epoch, release) for release in partition.releases]
            released.tells += partition.tells
            partition.settle(batch.stand)

    def _feed_beside(self, emitted: Sequence[Emitted]) -> int:
        """Write to a feed that another life of this worker claimed what partitions emitted that are still ours.

        It begins on another node when this one can't be reached by those who watch over it. What is durable here would
        never be told otherwise; the other life finds its next number taken, and does the same. Raises: StoreError.
        """
        for _ in range(FEED_TRIES):
            made = Feed(self.store.stand(FEED)).batch(emitted)
            if made is None:
                return 0
            if not self.store.commit([made[0]]):
                # under our old epoch, so that once we have no partition left nothing of us gets there
                self._feed.again(made[0].stand)
                return made[1]
        raise StoreError("the feed is written by another life of this worker all the time")

    def _lose(self, released: Released, taken: Sequence[Arrival]) -> None:
        """Take back what was decided for partitions that somebody else owns now: none of it is durable."""
        lost = set(released.lost)
        self._cache.clear()
        for number in lost:
            self.partitions[number].load()
        released.verdicts = [
            "lost" if self.keyspace.partition(arrival.key) in lost else verdict
            for arrival, verdict in zip(taken, released.verdicts, strict=True)
        ]
        released.confirms = [one for one in released.confirms if one[1] not in lost]

    # ---- questions

    @property
    def machines(self) -> Machines:
        """The kinds of entities."""
        return self._machines

    @property
    def catalog(self) -> CatalogView:
        """The catalog in use."""
        return self._context.catalog

    def next_due(self) -> int | None:
        """Give a lower bound of the next time at which a timer is due; None when the agenda is empty."""
        times = [t for p in self.partitions.values() if (t := p.agenda.first()) is not None]
        return min(times) if times else None

    def ready_lanes(self) -> dict[bytes, int]:
        """Give the lanes in which entities are ready, with the lowest order that may stand there."""
        return self._lanes.oldest()

    def oldest_ready(self) -> dict[bytes, int]:
        """Give the lanes with the order of their oldest entity, as far as it was read: after a move it isn't yet."""
        return self._lanes.known(lambda *at: w.known() if (w := self._window(*at)) else None)

    def entry(self, key: EntityKey) -> Entry:
        """Give an entity as of the last tick."""
        return self.partitions[self.keyspace.partition(key)].entry(key)

    def held(self) -> list[tuple[int, bytes, bytes]]:
        """List what is in the hands of holders: (epoch, holder, entity key)."""
        return [
            (partition.epoch, holder, key)
            for partition in self.partitions.values()
            for holder, key in partition.held()
        ]

    def outboxes(self) -> list[TellOut]:
        """List all Tells that wait to be confirmed, in order for each pair of partitions."""
        return [tell for partition in self.partitions.values() for tell in partition.outbox()]

    def counts(self) -> dict[str, Counts]:
        """Give the counters of the law, added up over the partitions."""
        return merged(partition.tally.counts for partition in self.partitions.values())

    def facts(self) -> Counts:
        """Give the plain counters, added up over the partitions."""
        return merged({"": partition.tally.facts} for partition in self.partitions.values()).get(
            "", {}
        )

    @property
    def feed_position(self) -> int:
        """Give the position of the newest entry that the feed may have."""
        return self._feed.stand.seq

    def feed_after(
        self, position: int, n: int, limit: int, store: Store | None = None
    ) -> list[FeedEntry]:
        """Read the feed after a place in it, in commit order; `store`: of another one than ours."""
        return self._feed.after(store or self.store, position, n, limit)
