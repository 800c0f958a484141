"""How rows lie in Redis, and the script that checks and writes. Pure: rows in, commands out.

All keys of a partition have one hash tag, `{name:partition}`, so that they lie together in a Redis Cluster:

    {name:7}c            hash     stand, meta and tally: the control rows
    {name:7}e<x>         hash     entities whose key begins with the byte x; 256 of them, so that each stays small
    {name:7}s<bucket><x> hash     seen ids of a time bucket; {name:7}S, a sorted set, lists the buckets there are
    {name:7}<index>      zset     rows of every other index, all with score 0, hence in the order of their bytes
    {name:7}<index>=     hash     the values of those that have one

The feed is no partition but a worker's: `{name:feed:3}` is that of the worker number 3.

Small hashes are stored as listpacks (`hash-max-listpack-entries`), which is what makes an entity cost little more than
its bytes (measured, docs/cluster.md).
"""

from __future__ import annotations

__all__ = (
    "CONTROL",
    "ENTITY_GROUPS",
    "HASHED",
    "KINDS",
    "SCRIPT",
    "STAND_FIELD",
    "Command",
    "Deletion",
    "Layout",
    "Plan",
    "index_of",
    "plain_commands",
    "plan",
)

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.rows import (
    AGENDA,
    ENTITY,
    FEED_INDEX,
    HELD,
    META,
    OUTBOX,
    QUARANTINE,
    READY,
    RECORD,
    RETIRED,
    SEEN,
    TALLY,
)
from engine.store.protocol import FEED, STAND, Batch, Rows, encode_stand

Command = tuple[bytes, ...]

STAND_FIELD = STAND
CONTROL = (STAND[0], TALLY[0], META[0])
ENTITY_BYTE, SEEN_BYTE = ENTITY[0], SEEN[0]
HASHED = (ENTITY_BYTE, SEEN_BYTE)
KINDS = frozenset(
    (
        *CONTROL,
        *HASHED,
        *b"".join((AGENDA, READY, HELD, RETIRED, RECORD, OUTBOX, QUARANTINE, FEED_INDEX)),
    )
)
"""Index bytes that rows may have."""
VALUED = frozenset(b"".join((RECORD, OUTBOX, QUARANTINE, FEED_INDEX)))
"""Ordered indexes whose rows have values; those of places have none."""
ENTITY_GROUPS = 256
CHUNK = 4000
"""Arguments of one command: Lua's `unpack` takes 8,000 at most."""

HSET, HDEL, ZADD, ZREM, UNLINK = 1, 2, 3, 4, 5
_NAMES = (b"", b"HSET", b"HDEL", b"ZADD", b"ZREM", b"UNLINK")

SCRIPT = """\
local held = redis.call('HGET', KEYS[1], '\\0')
local held_epoch, held_seq = 0, 0
if held then held_epoch, held_seq = struct.unpack('>I8I8', held) end
local epoch, seq = struct.unpack('>I8I8', ARGV[1])
if seq ~= held_seq + 1 or epoch < held_epoch then return 0 end
local names = {'HSET', 'HDEL', 'ZADD', 'ZREM', 'UNLINK'}
local plan = cmsgpack.unpack(ARGV[2])
local at = 3
for i = 1, #plan, 3 do
  local n = plan[i + 2]
  redis.call(names[plan[i]], KEYS[plan[i + 1]], unpack(ARGV, at, at + n - 1))
  at = at + n
end
redis.call('HSET', KEYS[1], '\\0', ARGV[1])
return 1
"""
"""Writes a partition's batch if its number follows and its epoch isn't older; 1: written, 0: stale.

ARGV[2] is a msgpack list of (command, number of the key, number of arguments); the arguments follow. The epoch is
checked where the rows are, so a former owner that comes back from a pause can't write one byte.
"""


class Deletion(NamedTuple):
    """What a dropped range comes to: rows to delete, and buckets of seen ids to drop whole."""

    rows: Sequence[bytes]
    buckets: Sequence[bytes]


class Plan(NamedTuple):
    """The keys and arguments of one call of the script."""

    keys: list[bytes]
    args: list[bytes]


class Layout:
    """Where the rows of one deployment lie.

    Args:
        name: stands in front of all keys.
        feed: the number of the worker whose feed the pseudo-partition FEED is.
    """

    def __init__(self, name: str, feed: int) -> None:
        self.name = name
        self._feed = f"{{{name}:feed:{feed}}}".encode()
        self._tags: dict[int, bytes] = {}

    def tag(self, partition: int) -> bytes:
        """Give what leads all keys of a partition."""
        tag = self._tags.get(partition)
        if tag is None:
            tag = self._feed if partition == FEED else f"{{{self.name}:{partition}}}".encode()
            self._tags[partition] = tag
        return tag

    def note(self, name: str) -> bytes:
        """Give the key of what is noted of the whole deployment."""
        return f"{{{self.name}:{name}}}".encode()

    def control(self, partition: int) -> bytes:
        """Give the key of a partition's control rows."""
        return self.tag(partition) + b"c"

    def hashed(self, row: bytes) -> tuple[bytes, bytes]:
        """Give the hash and the field of an entity's row, or of one of a seen id."""
        tag = self.tag(int.from_bytes(row[:2]))
        cut = 4 if row[2] == ENTITY_BYTE else 8
        return tag + row[2:cut], row[cut:]

    def ordered(self, row: bytes) -> tuple[bytes, bytes]:
        """Give the sorted set and the member of a row of any other index."""
        assert row[2] in KINDS, f"an index of which scans know nothing: {row[2:3]!r}"
        return self.tag(int.from_bytes(row[:2])) + row[2:3], row[3:]

    def buckets(self, partition: int) -> bytes:
        """Give the sorted set that lists the buckets of seen ids."""
        return self.tag(partition) + b"S"

    def bucket_hashes(self, partition: int, bucket: bytes) -> list[bytes]:
        """Give all hashes of one bucket of seen ids."""
        start = self.tag(partition) + SEEN + bucket
        return [start + bytes((n,)) for n in range(256)]


def index_of(row: bytes) -> int:
    """Tell the index byte of a row."""
    return row[2]


def plan(
    layout: Layout, batch: Batch, dropped: Iterable[Deletion], new_buckets: Sequence[bytes]
) -> Plan:
    """Make the call that writes a batch. Hot path: once for each dirty partition and tick.

    Args:
        layout: where rows lie.
        batch: what to write.
        dropped: what its ranges come to.
        new_buckets: buckets of seen ids that aren't listed yet.
    """
    made = _Made(layout.control(batch.partition))
    for deletion in dropped:
        _gather_deletes(made, layout.tag(batch.partition), deletion.rows)
        for bucket in deletion.buckets:
            for key in layout.bucket_hashes(batch.partition, bucket):
                made.do(UNLINK, key)
        made.gather(ZREM, layout.buckets(batch.partition), *deletion.buckets)
    tag = layout.tag(batch.partition)
    _gather_deletes(made, tag, batch.deletes)
    made.flush()  # deletions come first
    made.gather(ZADD, layout.buckets(batch.partition), *_scored(new_buckets))
    _gather_puts(made, tag, batch.puts)
    made.flush()
    head = [encode_stand(batch.stand), msgspec.msgpack.encode(made.plan)]
    return Plan(made.keys, head + made.args)


def _gather_puts(made: _Made, tag: bytes, puts: Rows) -> None:
    """Gather rows of one partition by what they lie in, so that a key is made once for many of them."""
    hashes: dict[bytes, list[bytes]] = {}
    sets: dict[int, list[bytes]] = {}
    values: dict[int, list[bytes]] = {}
    for row, value in puts:
        kind = row[2]
        if kind in HASHED:
            cut = 4 if kind == ENTITY_BYTE else 8
            fields = hashes.get(row[2:cut])
            if fields is None:
                hashes[row[2:cut]] = [row[cut:], value]
            else:
                fields += (row[cut:], value)
        elif kind in CONTROL:
            made.gather(HSET, made.keys[0], row[2:], value)
        else:
            member = row[3:]
            members = sets.get(kind)
            if members is None:
                sets[kind] = [b"0", member]
            else:
                members += (b"0", member)
            if value:
                values.setdefault(kind, []).extend((member, value))
    for group, fields in hashes.items():
        made.take(HSET, tag + group, fields)
    for kind, members in sets.items():
        made.take(ZADD, _ordered_key(tag, kind), members)
    for kind, members in values.items():
        made.take(HSET, _ordered_key(tag, kind) + b"=", members)


def _gather_deletes(made: _Made, tag: bytes, rows: Iterable[bytes]) -> None:
    sets: dict[int, list[bytes]] = {}
    for row in rows:
        kind = row[2]
        if kind in HASHED:
            cut = 4 if kind == ENTITY_BYTE else 8
            made.gather(HDEL, tag + row[2:cut], row[cut:])
        elif kind in CONTROL:
            made.gather(HDEL, made.keys[0], row[2:])
        else:
            sets.setdefault(kind, []).append(row[3:])
    for kind, members in sets.items():
        made.take(ZREM, _ordered_key(tag, kind), members)
        if kind in VALUED:
            made.take(HDEL, _ordered_key(tag, kind) + b"=", members)


def _ordered_key(tag: bytes, kind: int) -> bytes:
    assert kind in KINDS, f"an index of which scans know nothing: {kind!r}"
    return tag + bytes((kind,))


def plain_commands(made: Plan) -> list[tuple[bytes, Command]]:
    """Give the same as plain commands with their keys, without the comparison."""
    steps = msgspec.msgpack.decode(made.args[1], type=list[int])
    found: list[tuple[bytes, Command]] = []
    at = 2
    for command, number, args in zip(steps[::3], steps[1::3], steps[2::3], strict=True):
        key = made.keys[number - 1]
        found.append((key, (_NAMES[command], key, *made.args[at : at + args])))
        at += args
    return found


def _scored(members: Sequence[bytes]) -> list[bytes]:
    return [one for member in members for one in (b"0", member)]


class _Made:
    """Commands under way: arguments for the same command and key come together."""

    def __init__(self, control: bytes) -> None:
        self.keys = [control]
        self.plan: list[int] = []
        self.args: list[bytes] = []
        self._numbers = {control: 1}
        self._open: dict[tuple[int, bytes], list[bytes]] = {}

    def gather(self, command: int, key: bytes, *args: bytes) -> None:
        """Add arguments to a command; nothing is written without any."""
        if not args:
            return
        waiting = self._open.get((command, key))
        if waiting is None:
            self._open[command, key] = list(args)
        else:
            waiting += args

    def take(self, command: int, key: bytes, args: list[bytes]) -> None:
        """Add the arguments of a whole command; the list is taken over unless there are some already."""
        waiting = self._open.get((command, key))
        if waiting is None:
            self._open[command, key] = args
        else:
            waiting += args

    def do(self, command: int, key: bytes, args: Sequence[bytes] = ()) -> None:
        """Add a command as it stands."""
        number = self._numbers.get(key)
        if number is None:
            self.keys.append(key)
            number = self._numbers[key] = len(self.keys)
        self.plan += (command, number, len(args))
        self.args += args

    def flush(self) -> None:
        """Write the commands gathered so far."""
        for (command, key), args in self._open.items():
            for at in range(0, len(args), CHUNK):
                self.do(command, key, args[at : at + CHUNK])
        self._open.clear()
