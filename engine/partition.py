"""One partition: a single writer that decides inputs one after the other and gathers one atomic batch.

Nothing leaves a partition before its batch is durable: effects wait in lists until the host has committed. The
partition does no I/O of its own but reads through the store it is given, and takes time with each input. How an input
is decided is in `engine.unit`.
"""

from __future__ import annotations

__all__ = ("Partition",)

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.entities import EntityCache, Machines
from engine.inputs import Arrival, PartitionSettings, TellOut, Used, Verdict
from engine.keyspace import EntityKey, Keyspace
from engine.machine import At, Context, Credit, Granted, Held, Place, Ready, Retired, Wake
from engine.rows import HELD, META, OUTBOX, RECORD, SEEN, TALLY, place_row
from engine.seen import added, digest_of, is_scattered, saw
from engine.store.protocol import Batch, Stand, Store
from engine.unit import Units
from engine.window import Window

SCAN = 1000
WAKE = Wake()


class Partition(Units):
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
        self.epoch = epoch
        super().__init__(number, store, machines, keyspace, cache, settings, stands)

    @property
    def agenda(self) -> Window:
        """Who waits for a time."""
        return self.places.agenda

    @property
    def ready(self) -> dict[bytes, Window]:
        """The queues in which entities are ready."""
        return self.places.ready

    # ---- inputs

    def digests(self, arrivals: Sequence[Arrival]) -> list[bytes]:
        """Give what stands for each input among the ids that its entity has seen."""
        return [digest_of(arrival.key, arrival.input_id) for arrival in arrivals]

    def seen_rows(self, key: EntityKey, digest: bytes) -> tuple[bytes, ...]:
        """Give the rows that show whether an input was seen: those of this bucket and the last; none for most."""
        if not is_scattered(self._known(key)[2] or self._scattered, self._oldest):
            return ()
        start = self._prefix + SEEN
        return start + self._bucket + digest, start + self._oldest + digest

    def arrive(self, arrival: Arrival, digest: bytes, *, seen: bool, context: Context) -> Verdict:
        """Decide an input from outside, once for each (entity, input id).

        Args:
            arrival: the input.
            digest: what stands for it among the ids that its entity has seen.
            seen: whether a row on disk shows that it was seen.
            context: what decisions may know.
        """
        key = arrival.key
        before = (self._overlay.get(key) or self._known(key))[2] or self._scattered
        if seen or saw(before, digest, self._oldest) or (self._seen and self._is_row(digest)):
            self.tally.count("duplicate_inputs")
            self.dirty = True
            return "duplicate"
        at = arrival.at
        if at and at < self.meta.now - self._settings.horizon_ms and not arrival.historical:
            return "too_old"
        ids, gone = added(before, digest, self._bucket, self._oldest)
        if gone:
            self._scatter(gone)
        body = arrival.body
        kept = arrival.raw or body
        fine = self.unit(key, body, context, "arrive", arrival.input_id, kept, ids)
        after = self._overlay.get(key)
        if after is None or after[2] is not ids:
            self._keep_seen(key, self._bucket + digest, ids)
        return "accepted" if fine else "quarantined"

    def _is_row(self, digest: bytes) -> bool:
        """Tell whether the tick under way writes a row for an id."""
        start = self._prefix + SEEN
        return start + self._bucket + digest in self._seen or (
            start + self._oldest + digest in self._seen
        )

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
            entry = self.places.agenda.pop(self._store, now)
            if entry is None:
                break
            taken.append(entry)
        return taken

    def wake(self, due: int, key: bytes, context: Context) -> None:
        """Decide a Wake, if the entity still stands at that time."""
        place = self._known(key)[1]
        if type(place) is At and place.due == due:
            self.unit(EntityKey(key), WAKE, context, "wake")
            self._see_moved(EntityKey(key), place, WAKE, "wake")

    def grant(self, queue: bytes, credit: Credit, context: Context) -> Used:
        """Give one credit to the first of a ready queue; stale entries and refusals leave it unused."""
        entry = self.places.ready[queue].pop(self._store, 1 << 62)
        if entry is None:
            return "empty"
        key = EntityKey(entry[1])
        place = self._known(key)[1]
        if type(place) is not Ready or place.order != entry[0] or place.queue != queue:
            return "unused"
        self.unit(key, Granted(credit), context, "grant")
        self._see_moved(key, place, Granted(credit), "grant")
        return "used" if type(self._known(key)[1]) is Held else "unused"

    def _see_moved(self, key: EntityKey, before: Place, body: Any, source: str) -> None:
        """Put an entity aside that stays where its turn found it: it would have its turn again at once, for ever."""
        if self._known(key)[1] == before:
            stays = RuntimeError(f"its turn left it where it was: {before}")
            self.put_aside(key, body, source, b"", stays)

    def drop_retired(self, now: int, limit: int) -> int:
        """Drop finished entities whose retention is over. Returns how many."""
        dropped = 0
        retired = self.places.retired
        while dropped < limit:
            entry = retired.pop(self._store, now)
            if entry is None:
                break
            until, key = entry
            old = self._known(key)
            place = old[1]
            if type(place) is Retired and place.until == until:
                self._merge((self._weighed(key, old, None, None),))
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

    # ---- the batch

    def batch(self) -> Batch:
        """Make the batch of this tick. `settle` follows when it is durable, `load` when it may not be."""
        batch = Batch(self.number, Stand(self.epoch, self.stand.seq + 1))
        puts, deletes = batch.puts, batch.deletes
        prefix, entity, overlay = self._prefix, self._entity, self._overlay
        seal = self.machines.seal
        for key, (base, row, encoded) in self._written.items():
            state, place, ids = overlay[key]
            if base[1] != place:
                old_row = place_row(base[1], key)
                if old_row is not None:
                    deletes.append(prefix + old_row)
                if row is not None:
                    puts.append((prefix + row, b""))
            if state is not None:
                puts.append((entity + key, seal(key, encoded, place, ids)))
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
        meta.agenda_mark, meta.retired_mark = self.places.agenda.mark, self.places.retired.mark
        batch.puts.append((prefix + META, encode(meta)))

    def settle(self, stand: Stand) -> None:
        """Take the tick as durable: what was decided is what is on disk."""
        self.stand = stand
        self._cache.put_all(self._overlay)
        self._overlay.clear()
        self.tally.changed = False
        self.places.settled()
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


_TELL = msgspec.msgpack.Decoder(TellOut)
