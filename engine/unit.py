"""The tick under way of one partition: inputs decided as units, and what their decisions come to.

An input with all its Tells inside the partition is one *unit*: decided to the end before the next input, with a bound
on rounds, so the state doesn't depend on how inputs were grouped into ticks. If a decision raises, or makes something
that can't be written, the whole unit is undone and its input goes into quarantine; the partition goes on.
"""

from __future__ import annotations

__all__ = ("ROUNDS_MAX", "Change", "Units")

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from engine.entities import ABSENT, EntityCache, Entry, Known, Machines
from engine.errors import StoreError
from engine.inputs import Meta, PartitionSettings, TellOut
from engine.keyspace import EntityKey, Keyspace, tenant_of
from engine.machine import At, Context, Emit, Held, Place, Record, Release, Stuck, Tell
from engine.places import Places
from engine.quarantine import Quarantine, Quarantined
from engine.rows import ENTITY, META, SEEN, TALLY, place_row
from engine.seen import UNKNOWN, bucket_bytes, head_of, items_of
from engine.store.protocol import Stand, Store, partition_prefix
from engine.tally import QUARANTINED, Tally

ROUNDS_MAX = 256  # decisions in one unit; more is a loop of Tells and ends in quarantine
STUCK = Stuck()

Move = tuple[str, str | None, str | None]  # whose counters; from bucket to bucket
Change = tuple[bytes, Known, Known, bytes, bytes | None, Move | None]
"""Key, old, new, the new state encoded, its index row when the place is another, move."""

_Decided = tuple[Known, Any, Place | None]  # what a unit found, and what it made of it


class Units:
    """What one partition knows, and the changes of its tick under way."""

    def __init__(
        self,
        number: int,
        store: Store,
        machines: Machines,
        keyspace: Keyspace,
        cache: EntityCache,
        settings: PartitionSettings,
        stands: Callable[[int, bytes, int], None] = lambda *_: None,
    ) -> None:
        self.number = number
        self.machines = machines
        self._stands = stands  # hears of each entity that comes to stand in a ready queue
        self._prefix = partition_prefix(number)
        self._entity = self._prefix + ENTITY
        self._store = store
        self._keyspace = keyspace
        self._cache = cache
        self._settings = settings
        self.quarantine = Quarantine(self._prefix, store)
        self._overlay: dict[bytes, Known] = {}
        self._reset_tick()
        self.load()

    # ---- life

    def load(self) -> None:
        """Read the control state; forget everything else."""
        meta, tally = self._store.get([self._prefix + META, self._prefix + TALLY])
        self.meta = _META.decode(meta) if meta is not None else Meta(scattered=0)
        self.tally = Tally.decode(tally)
        self.stand: Stand = self._store.stand(self.number)
        marks = self.meta.agenda_mark, self.meta.retired_mark
        self.places = Places(
            self._prefix,
            self._store,
            *marks,
            fresh=meta is None,
            heard=lambda queue, order: self._stands(self.number, queue, order),
        )
        self._overlay.clear()
        self._turn_bucket()
        if self.meta.scattered < 0:  # written by a format in which all seen ids were rows
            self.meta.scattered = int.from_bytes(self._bucket)
        self._scattered = bucket_bytes(self.meta.scattered)
        self._reset_tick()

    def _reset_tick(self) -> None:
        self.dirty = False
        # of what is in the overlay: as on disk, index row of its place if that changed, state encoded
        self._written: dict[bytes, tuple[Known, bytes | None, bytes]] = {}
        self.emits: list[tuple[str, str, bytes]] = []
        self.releases: list[Release] = []
        self.tells: list[TellOut] = []
        self._confirmed: list[bytes] = []
        self._seen: dict[bytes, None] = {}
        self._records: list[bytes] = []
        self.quarantine.reset()
        self._dropped: list[tuple[bytes, bytes]] = []

    def advance(self, now: int, context: Context) -> None:
        """Set the time of the inputs that follow; it never goes back."""
        if now > self.meta.now:
            self.meta.now = now
            if now >= self._bucket_until:
                self._turn_bucket()
        context.now = self.meta.now

    def _turn_bucket(self) -> None:
        """Begin the bucket of seen ids that the time is in."""
        horizon_ms = self._settings.horizon_ms
        bucket = self.meta.now // horizon_ms
        self._bucket = bucket_bytes(bucket)
        self._oldest = bucket_bytes(max(bucket - 1, 0))
        self._bucket_until = (bucket + 1) * horizon_ms

    # ---- what is known

    def entry(self, key: bytes) -> Entry:
        """Give what is known of an entity, in the tick under way."""
        return self._known(key)[:2]

    def _known(self, key: bytes) -> Known:
        found = self._overlay.get(key)
        if found is None:
            found = self._cache.get(key)
            if found is None:
                found = self.machines.load(key, self._store.get([self._entity + key])[0])
                self._cache.put(key, found)
        return found

    # ---- the unit

    def unit(
        self,
        key: EntityKey,
        body: Any,
        context: Context,
        source: str,
        input_id: bytes = b"",
        raw: Any = None,
        ids: bytes = b"",
    ) -> bool:
        """Decide an input with all its Tells inside the partition, or undo it all.

        Args:
            key: whose input it is.
            body: the input.
            context: what decisions may know.
            source: where it comes from, for its record.
            input_id: its id, if it came from outside.
            raw: what is kept of it in place of the body.
            ids: what the entity has seen with this input; b"": as before.

        Returns: False when it went into quarantine.
        """
        emits, releases = len(self.emits), len(self.releases)
        decided: dict[bytes, _Decided] = {}
        facts: list[Record] = []
        outward: list[Tell] = []
        context.input_id = input_id
        encode = self.machines.encode
        try:
            self._decide_all(key, body, context, decided, facts, outward)
            weighed = self._weighed
            changes = [weighed(k, *one, ids if k == key else b"") for k, one in decided.items()]
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
        decided: dict[bytes, _Decided],
        facts: list[Record],
        outward: list[Tell],
    ) -> None:
        machines = self.machines.by_kind
        overlay = self._overlay
        todo: list[tuple[EntityKey, Any]] = [(key, body)]
        for key, body in todo:  # grows while it is walked
            if len(todo) > ROUNDS_MAX:
                raise RuntimeError(f"more than {ROUNDS_MAX} decisions in one unit")
            one = decided.get(key)
            if one is None:
                old = overlay.get(key) or self._known(key)
                state = old[0]
            else:
                old, state, _ = one
            context.key = key
            transition = machines[key[4]].decide(state, body, context)
            if transition.state is not None or one is not None or old[0] is not None:
                decided[key] = (old, transition.state, transition.place)
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

    def _weighed(
        self, key: bytes, old: Known, state: Any, place: Place | None, ids: bytes = b""
    ) -> Change:
        """Prepare a change: whatever can't be written or counted raises here, before anything is changed."""
        tally = self.machines.by_kind[key[4]].tally
        if state is None:
            encoded, now = b"", None
            new: Known = (None, None, ids or old[2])
        else:
            encoded, now = self.machines.encode(state), tally(state)
            new = (state, place, ids or old[2] or self._scattered)
        row = place_row(place, key) if place != old[1] else None
        was = None if old[0] is None or (now is None and state is not None) else tally(old[0])
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
            moved = new[1] != old[1]
            if before is not None:
                base = before[0]
                if not moved:
                    row = before[1]  # noqa: PLW2901 -- the place is where an earlier unit of this tick put it
            if moved:
                self._stand_at(key, new[1])
            if (old[0] is None) is not (new[0] is None) or type(old[1]) is not type(new[1]):
                self._count_entity(key[4], old, new)
            written[key] = (base, row, encoded)
            if new[0] is None:
                self._let_go(new[2])
                overlay[key] = ABSENT
            else:
                overlay[key] = new

    def _scatter(self, items: Iterable[bytes]) -> None:
        """Write seen ids as rows, since no record holds them; each is bucket and digest."""
        for item in items:
            if item[:4] < self._oldest:
                continue
            self._seen[self._prefix + SEEN + item] = None
            self._lies_in(item[:4])

    def _let_go(self, ids: bytes) -> None:
        """Remember what an entity had seen that isn't there any more."""
        if ids:
            head = head_of(ids)
            self._lies_in(self._bucket if head == UNKNOWN else head)
            self._scatter(items_of(ids))

    def _lies_in(self, bucket: bytes) -> None:
        """Note that a bucket holds ids of entities without a record."""
        if bucket > self._scattered:
            self._scattered = bucket
            self.meta.scattered = int.from_bytes(bucket)

    def _keep_seen(self, key: bytes, item: bytes, ids: bytes) -> None:
        """Note an input that its unit didn't note: it went into quarantine, or left no entity."""
        state, place, _ = old = self._known(key)
        if state is None:
            self._scatter((item,))
        else:
            self._merge((self._weighed(key, old, state, place, ids),))
        self.dirty = True

    def _count_entity(self, kind: int, old: Known, new: Known) -> None:
        """Count living entities, and those that wait for a time, by kind: `entities:c`, `timers:c`."""
        born = (new[0] is not None) - (old[0] is not None)
        if born:
            self.tally.count(f"entities:{kind:c}", born)
        waits = (type(new[1]) is At) - (type(old[1]) is At)
        if waits:
            self.tally.count(f"timers:{kind:c}", waits)

    def _stand_at(self, key: bytes, place: Place | None) -> None:
        self.places.stand_at(key, place)

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
        state, place, _ = old = self._known(key)
        if state is None:
            return
        if source in ("wake", "grant") or (source == "answer" and type(place) is Held):
            # its turn was used up: without this mark it would be due again at once, for ever; and
            # a message whose outcome is in quarantine would be sent again after the next restart
            self._merge((self._weighed(key, old, state, STUCK),))


def _encoded_or_told(machines: Machines, body: Any) -> bytes:
    """Encode an input for the quarantine; of one that can't be encoded its text is kept."""
    try:
        return machines.encode(body)
    except (TypeError, OverflowError, ValueError, msgspec.MsgspecError):
        return machines.encode(repr(body)[:65536])


_META = msgspec.msgpack.Decoder(Meta)
