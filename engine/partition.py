"""One partition: a single writer that decides inputs one after the other and gathers one atomic batch.

An input with all its Tells inside the partition is one *unit*: decided to the end before the next input, with a bound
on rounds, so the state doesn't depend on how inputs were grouped into ticks. If a decision raises, or makes something
that can't be written, the whole unit is undone and its input goes into quarantine; the partition goes on.

Nothing leaves a partition before its batch is durable: effects wait in lists until the host has committed. The
partition does no I/O of its own but reads through the store it is given, and takes time with each input.
"""

from __future__ import annotations

__all__ = (
    "Arrival",
    "EntityCache",
    "Machines",
    "Partition",
    "PartitionSettings",
    "TellOut",
    "Used",
    "Verdict",
)

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from engine.entities import ABSENT, EntityCache, Entry, Machines
from engine.errors import StoreError
from engine.keyspace import EntityKey, Keyspace, tenant_of
from engine.machine import (
    At,
    Context,
    Credit,
    Emit,
    Granted,
    Held,
    Place,
    Ready,
    Record,
    Release,
    Retired,
    Stuck,
    Tell,
    Wake,
)
from engine.quarantine import Quarantine, Quarantined
from engine.rows import (
    AGENDA,
    ENTITY,
    HELD,
    META,
    OUTBOX,
    READY,
    RECORD,
    RETIRED,
    SEEN,
    TALLY,
    place_row,
    queue_prefix,
)
from engine.store.protocol import Batch, Stand, Store, partition_prefix
from engine.tally import QUARANTINED, Tally
from engine.window import Window

Verdict = Literal["accepted", "duplicate", "too_old", "quarantined", "lost"]
"""What became of an input; "lost": nothing, its partition belongs to somebody else now."""

Used = Literal["used", "unused", "empty"]  # what became of a credit; after "unused" try the next
Move = tuple[str, str | None, str | None]  # whose counters; from bucket to bucket
Change = tuple[bytes, Entry, Entry, bytes, bytes | None, Move | None]
"""Key, old, new, the new state encoded, its index row when the place is another, move."""

ROUNDS_MAX = 256  # decisions in one unit; more is a loop of Tells and ends in quarantine
SCAN = 1000
WAKE = Wake()
STUCK = Stuck()
HOUR = 3_600_000


class PartitionSettings(msgspec.Struct, frozen=True):
    """How long a partition remembers."""

    horizon_ms: int = (
        7 * 24 * HOUR
    )  # an input older than this is refused; seen ids live twice as long
    record_bucket_ms: int = 24 * HOUR
    records_kept_ms: int = 90 * 24 * HOUR


class Meta(msgspec.Struct, array_like=True):
    """What a partition must know to go on: the control state that is loaded at start."""

    now: int = 0
    agenda_mark: int = 0
    retired_mark: int = 0
    record_n: int = 0
    quarantine_n: int = 0
    told: dict[int, int] = {}  # target partition -> number of the last Tell
    applied: dict[int, int] = {}  # source partition -> number of the last Tell decided
    swept_buckets: int = 0
    confirmed: dict[int, int] = {}  # target partition -> number up to which all are confirmed


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An input from outside. `raw` is kept as the record of it; `at` is its own time (ms; 0: when it arrives)."""

    key: EntityKey
    body: Any
    input_id: bytes
    at: int = 0
    raw: bytes = b""
    historical: bool = False  # not refused for its age


class TellOut(msgspec.Struct, frozen=True, array_like=True):
    """A Tell that waits in an outbox, numbered for its pair of partitions from 1."""

    source: int
    target: int
    seq: int
    key: bytes
    body: bytes  # msgpack of an input of the target's machine


class Partition:
    """The state and the tick under way of one partition. The host drives it; see `engine.host`."""

    def __init__(
        self,
        number: int,
        store: Store,
        machines: Machines,
        keyspace: Keyspace,
        cache: EntityCache,
        settings: PartitionSettings,
        epoch: int,
        stands: Callable[[int, bytes, int], None] = lambda *_: None,
    ) -> None:
        self.number = number
        self._stands = stands  # hears of each entity that comes to stand in a ready queue
        self.epoch = epoch
        self._prefix = partition_prefix(number)
        self._entity = self._prefix + ENTITY
        self._store = store
        self.machines = machines
        self._keyspace = keyspace
        self._cache = cache
        self._settings = settings
        self.quarantine = Quarantine(self._prefix, store)
        self._overlay: dict[bytes, Entry] = {}
        self._reset_tick()
        self.load()

    # ---- life

    def load(self) -> None:
        """Read the control state; forget everything else."""
        meta, tally = self._store.get([self._prefix + META, self._prefix + TALLY])
        self.meta = _META.decode(meta) if meta is not None else Meta()
        self.tally = Tally.decode(tally)
        self.stand: Stand = self._store.stand(self.number)
        fresh = meta is None
        self.agenda = Window(self._prefix + AGENDA, self.meta.agenda_mark, empty=fresh)
        self._retired = Window(self._prefix + RETIRED, self.meta.retired_mark, empty=fresh)
        self.ready: dict[bytes, Window] = {queue: self._queue(queue) for queue in self._queues()}
        for queue in self.ready:
            self._stands(self.number, queue, 0)
        self._overlay.clear()
        self._turn_bucket()
        self._reset_tick()

    def _reset_tick(self) -> None:
        self.dirty = False
        # of what is in the overlay: as on disk, index row of its place if that changed, state encoded
        self._written: dict[bytes, tuple[Entry, bytes | None, bytes]] = {}
        self.emits: list[tuple[str, str, bytes]] = []
        self.releases: list[Release] = []
        self.tells: list[TellOut] = []
        self._confirmed: list[bytes] = []
        self._seen: dict[bytes, None] = {}
        self._records: list[bytes] = []
        self.quarantine.reset()
        self._dropped: list[tuple[bytes, bytes]] = []

    def _queue(self, queue: bytes, *, empty: bool = False) -> Window:
        return Window(self._prefix + READY + queue_prefix(queue), empty=empty)

    def _queues(self) -> list[bytes]:
        """Find the ready queues that have rows, skipping from one to the next."""
        start = self._prefix + READY
        end = self._prefix + bytes((READY[0] + 1,))
        found = []
        while rows := self._store.scan(start, end, 1):
            row = rows[0][0][3:]
            queue = row[1 : 1 + row[0]]
            found.append(queue)
            start = self._prefix + READY + queue_prefix(queue) + b"\xff" * 9
        return found

    # ---- inputs

    def advance(self, now: int, context: Context) -> None:
        """Set the time of the inputs that follow; it never goes back."""
        if now > self.meta.now:
            self.meta.now = now
            if now >= self._seen_until:
                self._turn_bucket()
        context.now = self.meta.now

    def _turn_bucket(self) -> None:
        """Begin the bucket of seen ids that the time is in."""
        horizon_ms = self._settings.horizon_ms
        bucket = self.meta.now // horizon_ms
        self._seen_now = self._prefix + SEEN + bucket.to_bytes(4)
        self._seen_last = self._prefix + SEEN + max(bucket - 1, 0).to_bytes(4)
        self._seen_until = (bucket + 1) * horizon_ms

    def seen_rows(self, arrivals: Sequence[Arrival]) -> list[bytes]:
        """Give two rows for each: one exists if it was seen, in this bucket or the last."""
        now, last = self._seen_now, self._seen_last
        rows: list[bytes] = []
        for arrival in arrivals:
            digest = blake2b(arrival.key + arrival.input_id, digest_size=16).digest()
            rows += (now + digest, last + digest)
        return rows

    def arrive(self, arrival: Arrival, row: bytes, *, seen: bool, context: Context) -> Verdict:
        """Decide an input from outside, once for each (entity, input id); `row` is its row among the seen ids."""
        if seen or row in self._seen:
            self.tally.count("duplicate_inputs")
            self.dirty = True
            return "duplicate"
        at = arrival.at
        if at and at < self.meta.now - self._settings.horizon_ms and not arrival.historical:
            return "too_old"
        self._seen[row] = None
        body = arrival.body
        kept = arrival.raw or body
        fine = self.unit(arrival.key, body, context, "arrive", arrival.input_id, kept)
        return "accepted" if fine else "quarantined"

    def answer(self, key: EntityKey, body: Any, context: Context) -> bool:
        """Decide what a holder says; the machine recognises it by the attempt. Never refused."""
        return self.unit(key, body, context, "answer")

    def deliver(self, tell: TellOut, context: Context) -> bool:
        """Decide a Tell of another partition, in order, once.

        Returns: whether to confirm it; False for one that comes before its predecessor, which comes again.
        """
        last = self.meta.applied.get(tell.source, 0)
        if tell.seq <= last:
            return True
        if tell.seq != last + 1:
            return False
        key = EntityKey(tell.key)
        try:
            body = self.machines.read_input(key, tell.body)
        except (msgspec.MsgspecError, LookupError) as error:
            self.put_aside(key, tell.body, "tell", b"", error)
        else:
            self.unit(key, body, context, "tell")
        self.meta.applied[tell.source] = tell.seq
        self.dirty = True
        return True

    def confirm(self, target: int, seq: int) -> None:
        """Take Tells up to a number out of the outbox: their target, which decides in order, has them durably."""
        start = self._prefix + OUTBOX + target.to_bytes(2)
        for number in range(self.meta.confirmed.get(target, 0) + 1, seq + 1):
            self._confirmed.append(start + number.to_bytes(8))
            self.meta.confirmed[target] = number
            self.dirty = True

    @property
    def has_outbox(self) -> bool:
        """Whether Tells wait to be confirmed."""
        confirmed = self.meta.confirmed
        return any(seq > confirmed.get(target, 0) for target, seq in self.meta.told.items())

    def due(self, now: int, limit: int) -> list[tuple[int, bytes]]:
        """Take from the agenda what is due at `now`, at most `limit` entries; `wake` decides them."""
        taken: list[tuple[int, bytes]] = []
        while len(taken) < limit:
            entry = self.agenda.pop(self._store, now)
            if entry is None:
                break
            taken.append(entry)
        return taken

    def wake(self, due: int, key: bytes, context: Context) -> None:
        """Decide a Wake, if the entity still stands at that time."""
        place = self.entry(key)[1]
        if type(place) is At and place.due == due:
            self.unit(EntityKey(key), WAKE, context, "wake")
            self._see_moved(EntityKey(key), place, WAKE, "wake")

    def grant(self, queue: bytes, credit: Credit, context: Context) -> Used:
        """Give one credit to the first of a ready queue; stale entries and refusals leave it unused."""
        entry = self.ready[queue].pop(self._store, 1 << 62)
        if entry is None:
            return "empty"
        key = EntityKey(entry[1])
        place = self.entry(key)[1]
        if type(place) is not Ready or place.order != entry[0] or place.queue != queue:
            return "unused"
        self.unit(key, Granted(credit), context, "grant")
        self._see_moved(key, place, Granted(credit), "grant")
        return "used" if type(self.entry(key)[1]) is Held else "unused"

    def _see_moved(self, key: EntityKey, before: Place, body: Any, source: str) -> None:
        """Put an entity aside that stays where its turn found it: it would have its turn again at once, for ever."""
        if self.entry(key)[1] == before:
            stays = RuntimeError(f"its turn left it where it was: {before}")
            self.put_aside(key, body, source, b"", stays)

    def drop_retired(self, now: int, limit: int) -> int:
        """Drop finished entities whose retention is over. Returns how many."""
        dropped = 0
        while dropped < limit:
            entry = self._retired.pop(self._store, now)
            if entry is None:
                break
            until, key = entry
            place = self.entry(key)[1]
            if type(place) is Retired and place.until == until:
                self._merge((self._weighed(key, ABSENT),))
                self.dirty = True
                dropped += 1
        return dropped

    def drop_buckets(self) -> None:
        """Drop seen ids and records whose time is over, whole ranges at a time."""
        seen = max(self.meta.now // self._settings.horizon_ms - 1, 0)
        if seen <= self.meta.swept_buckets:
            return
        self.meta.swept_buckets = seen
        self._dropped.append((self._prefix + SEEN, self._prefix + SEEN + seen.to_bytes(4)))
        kept = max(self.meta.now - self._settings.records_kept_ms, 0)
        bucket = kept // self._settings.record_bucket_ms
        self._dropped.append((self._prefix + RECORD, self._prefix + RECORD + bucket.to_bytes(4)))
        self.dirty = True

    # ---- the unit

    def entry(self, key: bytes) -> Entry:
        """Give what is known of an entity, in the tick under way."""
        found = self._overlay.get(key)
        if found is None:
            found = self._cache.get(key)
            if found is None:
                found = self.machines.read(key, self._store.get([self._entity + key])[0])
                self._cache.put(key, found)
        return found

    def unit(
        self,
        key: EntityKey,
        body: Any,
        context: Context,
        source: str,
        input_id: bytes = b"",
        raw: Any = None,
    ) -> bool:
        """Decide an input with all its Tells inside the partition, or undo it all. Returns False when quarantined."""
        emits, releases = len(self.emits), len(self.releases)
        changed: dict[bytes, Entry] = {}
        facts: list[Record] = []
        outward: list[Tell] = []
        context.input_id = input_id
        encode = self.machines.encode
        try:
            self._decide_all(key, body, context, changed, facts, outward)
            changes = [self._weighed(k, entry) for k, entry in changed.items()]
            tells = [(tell.to, encode(tell.body)) for tell in outward] if outward else ()
            kept = body if raw is None else raw
            record = encode((self.meta.now, source, key, input_id, kept, facts))
        except StoreError:
            raise  # not the input's fault: nothing of this tick is written
        except Exception as error:  # noqa: BLE001 -- DESIGN §3: whatever a decision raises is undone, kept and counted
            del self.emits[emits:], self.releases[releases:]
            self.put_aside(key, body, source, input_id, error)
            return False
        for target, tell in tells:
            self._tell_out(target, tell)
        self._merge(changes)
        self._records.append(record)
        self.dirty = True
        return True

    def _decide_all(
        self,
        key: EntityKey,
        body: Any,
        context: Context,
        changed: dict[bytes, Entry],
        facts: list[Record],
        outward: list[Tell],
    ) -> None:
        machines = self.machines.by_kind
        todo: list[tuple[EntityKey, Any]] = [(key, body)]
        for key, body in todo:  # grows while it is walked
            if len(todo) > ROUNDS_MAX:
                raise RuntimeError(f"more than {ROUNDS_MAX} decisions in one unit")
            entry = changed.get(key) or self.entry(key)
            context.key = key
            transition = machines[key[4]].decide(entry[0], body, context)
            if transition.state is not None or entry is not ABSENT:
                changed[key] = (transition.state, transition.place)
            for effect in transition.effects:
                if type(effect) is Record:
                    facts.append(effect)
                elif type(effect) is Emit:
                    emitted = self.machines.encode(effect.body)
                    self.emits.append((effect.channel, tenant_of(key), emitted))
                elif type(effect) is Tell:
                    if self._keyspace.partition(effect.to) == self.number:
                        todo.append((effect.to, effect.body))
                    else:
                        outward.append(effect)
                elif type(effect) is Release:
                    self.releases.append(effect)

    def _weighed(self, key: bytes, new: Entry) -> Change:
        """Prepare a change: whatever can't be written or counted raises here, before anything is changed."""
        old = self.entry(key)
        state, place = new
        encoded = b"" if state is None else self.machines.encode(state)
        row = place_row(place, key) if place != old[1] else None
        tally = self.machines.by_kind[key[4]].tally
        was = None if old[0] is None else tally(old[0])
        now = None if state is None else tally(state)
        if was is None and now is None:
            return key, old, new, encoded, row, None
        stream = (was or now or ("", ""))[0]
        old_bucket = was and (QUARANTINED if type(old[1]) is Stuck else was[1])
        new_bucket = now and (QUARANTINED if type(place) is Stuck else now[1])
        if old_bucket == new_bucket:
            return key, old, new, encoded, row, None
        move = (f"{tenant_of(key)}\0{stream}", old_bucket, new_bucket)
        return key, old, new, encoded, row, move

    def _merge(self, changes: Iterable[Change]) -> None:
        overlay, written = self._overlay, self._written
        for key, old, new, encoded, row, move in changes:
            if move is not None:
                self.tally.move(*move)
            before = written.get(key)
            base = old
            if before is not None:
                base = before[0]
                if new[1] == old[1]:
                    row = before[1]  # noqa: PLW2901 -- the place is where an earlier unit of this tick put it
            if new[1] != old[1]:
                self._stand_at(key, new[1])
            if (old[0] is None) is not (new[0] is None) or type(old[1]) is not type(new[1]):
                self._count_entity(key[4], old, new)
            written[key] = (base, row, encoded)
            overlay[key] = ABSENT if new[0] is None else new

    def _count_entity(self, kind: int, old: Entry, new: Entry) -> None:
        """Count living entities, and those that wait for a time, by kind: `entities:c`, `timers:c`."""
        born = (new[0] is not None) - (old[0] is not None)
        if born:
            self.tally.count(f"entities:{kind:c}", born)
        waits = (type(new[1]) is At) - (type(old[1]) is At)
        if waits:
            self.tally.count(f"timers:{kind:c}", waits)

    def _stand_at(self, key: bytes, place: Place | None) -> None:
        if type(place) is At:
            self.agenda.add(place.due, key)
        elif type(place) is Ready:
            queue = place.queue
            window = self.ready.get(queue)
            if window is None:
                window = self.ready[queue] = self._queue(queue, empty=True)
            window.add(place.order, key)
            self._stands(self.number, queue, place.order)
        elif type(place) is Retired:
            self._retired.add(place.until, key)

    def _tell_out(self, to: EntityKey, body: bytes) -> None:
        target = self._keyspace.partition(to)
        seq = self.meta.told.get(target, 0) + 1
        self.meta.told[target] = seq
        self.tells.append(TellOut(self.number, target, seq, to, body))

    def put_aside(
        self, key: EntityKey, body: Any, source: str, input_id: bytes, error: Exception
    ) -> None:
        """Put an input into quarantine; one under replay keeps its row. An entity whose turn it was stops."""
        again = self.quarantine.replaying
        if again is None:
            self.meta.quarantine_n += 1
            self.tally.count("quarantined_inputs")
        number, at = again or (self.meta.quarantine_n, self.meta.now)
        encoded = body if type(body) is bytes else _encoded_or_told(self.machines, body)
        reason = f"{type(error).__name__}: {error}"[:1000]
        self.quarantine.put(number, Quarantined(at, source, key, input_id, encoded, reason))
        self.dirty = True
        state, place = self.entry(key)
        if state is None:
            return
        if source in ("wake", "grant") or (source == "answer" and type(place) is Held):
            # its turn was used up: without this mark it would be due again at once, for ever; and
            # a message whose outcome is in quarantine would be sent again after the next restart
            self._merge((self._weighed(key, (state, STUCK)),))

    # ---- the batch

    def batch(self) -> Batch:
        """Make the batch of this tick. `settle` follows when it is durable, `load` when it may not be."""
        batch = Batch(self.number, Stand(self.epoch, self.stand.seq + 1))
        puts, deletes = batch.puts, batch.deletes
        prefix, entity, overlay = self._prefix, self._entity, self._overlay
        seal = self.machines.seal
        for key, (base, row, encoded) in self._written.items():
            state, place = overlay[key]
            if base[1] != place:
                old_row = place_row(base[1], key)
                if old_row is not None:
                    deletes.append(prefix + old_row)
                if row is not None:
                    puts.append((prefix + row, b""))
            if state is not None:
                puts.append((entity + key, seal(key, encoded, place)))
            elif base[0] is not None:
                deletes.append(entity + key)
        puts += [(row, b"") for row in self._seen]
        encode = self.machines.encode
        for tell in self.tells:
            row = prefix + OUTBOX + tell.target.to_bytes(2) + tell.seq.to_bytes(8)
            puts.append((row, encode(tell)))
        puts += self.quarantine.puts
        deletes += self._confirmed + self.quarantine.deletes
        batch.ranges = self._dropped
        self._put_control(batch)
        return batch

    def _put_control(self, batch: Batch) -> None:
        meta, prefix, encode = self.meta, self._prefix, self.machines.encode
        if self._records:
            meta.record_n += 1
            bucket = meta.now // self._settings.record_bucket_ms
            row = b"".join(
                (
                    prefix,
                    RECORD,
                    bucket.to_bytes(4),
                    meta.now.to_bytes(8),
                    meta.record_n.to_bytes(8),
                )
            )
            batch.puts.append((row, _array(self._records)))
        if self.tally.changed:
            batch.puts.append((prefix + TALLY, self.tally.encode()))
        meta.agenda_mark, meta.retired_mark = self.agenda.mark, self._retired.mark
        batch.puts.append((prefix + META, encode(meta)))

    def settle(self, stand: Stand) -> None:
        """Take the tick as durable: what was decided is what is on disk."""
        self.stand = stand
        self._cache.put_all(self._overlay)
        self._overlay.clear()
        self.tally.changed = False
        self.agenda.settled()
        self._retired.settled()
        for queue, window in list(self.ready.items()):
            window.settled()
            if window.first() is None:
                del self.ready[queue]
        self._reset_tick()

    # ---- questions

    def held(self) -> list[tuple[bytes, bytes]]:
        """List what is in the hands of holders: (holder, entity key), from the store."""
        start = self._prefix + HELD
        end = self._prefix + bytes((HELD[0] + 1,))
        found: list[tuple[bytes, bytes]] = []
        while rows := self._store.scan(start, end, SCAN):
            for row, _ in rows:
                cut = 4 + row[3]
                found.append((row[4:cut], row[cut:]))
            start = rows[-1][0] + b"\0"
        return found

    def outbox(self) -> list[TellOut]:
        """List all Tells that wait for their confirmation, in order for each target, from the store.

        All of them: a target takes none whose predecessor is missing.
        """
        start = self._prefix + OUTBOX
        end = self._prefix + bytes((OUTBOX[0] + 1,))
        found: list[TellOut] = []
        while rows := self._store.scan(start, end, SCAN):
            found += [_TELL.decode(value) for _, value in rows]
            start = rows[-1][0] + b"\0"
        return found


def _array(items: list[bytes]) -> bytes:
    """Make a msgpack array of items that are encoded already."""
    return b"".join((b"\xdd", len(items).to_bytes(4), *items))


def _encoded_or_told(machines: Machines, body: Any) -> bytes:
    """Encode an input for the quarantine; of one that can't be encoded its text is kept."""
    try:
        return machines.encode(body)
    except (TypeError, OverflowError, ValueError, msgspec.MsgspecError):
        return machines.encode(repr(body)[:65536])


_META = msgspec.msgpack.Decoder(Meta)
_TELL = msgspec.msgpack.Decoder(TellOut)
