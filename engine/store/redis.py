"""The store in Redis (or Valkey): any worker can own any partition, and a node that dies takes no state with it.

What makes a commit safe: a script compares (epoch, seq) where the rows are and writes, so a former owner writes
nothing; the server syncs its file before it answers (`appendfsync always`), and `replicas_min` replicas hold it (WAIT).
After a failed or unknown commit the store is useless until `reopen`, which looks for the servers anew, lets the
replicas catch up with what it then reads, and compares with all that was acknowledged: a server that went back in time
(restored from a backup, failed over to a replica that hadn't all) is damage, and stops the worker loudly.
"""

from __future__ import annotations

__all__ = ("RedisStore",)

from collections.abc import Sequence
from copy import copy
from hashlib import sha1

from redis.exceptions import ResponseError

from engine.errors import DamageError, RefusedError, StoreError
from engine.redis_config import Redis
from engine.store.protocol import FEED, Batch, Rows, Stand, partition_prefix
from engine.store.redis_link import (
    ASKED,
    Link,
    Reply,
    ServerFacts,
    address_of,
    facts_of,
    trouble_of,
)
from engine.store.redis_rows import (
    CONTROL,
    ENTITY_BYTE,
    ENTITY_GROUPS,
    HASHED,
    KINDS,
    SCRIPT,
    SEEN_BYTE,
    STAND_FIELD,
    Command,
    Deletion,
    Layout,
    index_of,
    plain_commands,
    plan,
)

_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()
_GROUPS_AT_ONCE = 32
_BEYOND = b"\xff" * 12


class RedisStore:
    """The rows of one deployment, and the feed of one worker.

    Args:
        settings: which servers.
        feed: number of the worker whose feed this is.

    Raises:
        StoreError: no server answers.
        RefusedError: a server may forget what it acknowledged, and `durability` is `required`.
    """

    def __init__(self, settings: Redis, feed: int = 0) -> None:
        self._settings = settings
        self._layout = Layout(settings.name, feed)
        self._link = Link(settings)
        self._known: dict[int, Stand] = {}  # acknowledged by the server: it may never tell less
        self._listed: set[tuple[int, bytes]] = set()  # buckets of seen ids in their lists
        self._broken = ""
        self.servers: list[ServerFacts] = []
        self._look()

    # ---- reading

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read many rows in one round trip."""
        if not keys:
            return []
        found: list[bytes | None] = [None] * len(keys)
        fields: dict[bytes, list[tuple[int, bytes]]] = {}
        ordered: list[tuple[int, bytes, bytes]] = []
        for n, row in enumerate(keys):
            if len(row) < 3:
                continue
            kind = index_of(row)
            if kind in HASHED:
                key, field = self._layout.hashed(row)
                fields.setdefault(key, []).append((n, field))
            elif kind in CONTROL:
                control = self._layout.control(int.from_bytes(row[:2]))
                fields.setdefault(control, []).append((n, row[2:]))
            else:
                ordered.append((n, *self._layout.ordered(row)))
        commands: list[tuple[bytes, Command]] = [
            (key, (b"HMGET", key, *(field for _, field in some))) for key, some in fields.items()
        ]
        for _, key, member in ordered:
            commands.append((key, (b"ZSCORE", key, member)))
            commands.append((key, (b"HGET", key + b"=", member)))
        replies = iter(self._read(commands))
        for some in fields.values():
            for (n, _), value in zip(some, next(replies), strict=True):
                found[n] = value
        for n, _, _ in ordered:
            score, value = next(replies), next(replies)
            found[n] = (value or b"") if score is not None else None
        return found

    def scan(self, start: bytes, end: bytes, limit: int) -> Rows:
        """Read rows in order. Within one index of one partition it reads what it gives, or little more."""
        rows: Rows = []
        first, last = _partition_at(start, 0), _partition_at(end, 0xFFFF)
        numbers = [first] if first == last else self._numbers(first, last)
        for number in numbers:
            rows += self._scan_partition(number, start, end, limit - len(rows))
            if len(rows) >= limit:
                break
        return rows

    def stand(self, partition: int) -> Stand:
        """Tell how far a partition has come, as the server says now."""
        key = self._layout.control(partition)
        (raw,) = self._read([(key, (b"HGET", key, STAND_FIELD))])
        self._forget_buckets(partition)
        return _stand_of(raw)

    def _read(self, commands: Sequence[tuple[bytes, Command]]) -> list[Reply]:
        replies = self._link.run(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise StoreError(f"Redis {address_of(self._settings)}: {reply}")
        return replies

    def _numbers(self, first: int, last: int) -> list[int]:
        """Find the partitions that have rows, walking all keys: for whole copies and tests only."""
        prefix = b"{" + self._settings.name.encode() + b":"
        own_feed = self._layout.control(FEED)
        found: set[int] = set()
        for key in self.all_keys(prefix + b"*}c"):
            if key == own_feed:
                found.add(FEED)
                continue
            number = key[len(prefix) :].partition(b"}")[0]
            if number.isdigit():
                found.add(int(number))
        return sorted(number for number in found if first <= number <= last)

    def all_keys(self, pattern: bytes) -> list[bytes]:
        """List keys by a pattern on all servers. Slow: walks everything."""
        found: list[bytes] = []
        open_at = {address: b"0" for address, _ in self._link.each_node((b"PING",))}
        for address in open_at:
            cursor = b"0"
            while True:
                told = dict(
                    self._link.each_node((b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"1000"))
                )
                reply = told[address][0]
                if isinstance(reply, ResponseError):
                    raise StoreError(f"Redis {address}: {reply}")
                cursor, some = reply
                found += some
                if cursor == b"0":
                    break
        return found

    def _scan_partition(self, number: int, start: bytes, end: bytes, limit: int) -> Rows:
        prefix = partition_prefix(number)
        if prefix >= end:
            return []
        low = start[2:] if start > prefix else b""
        high = end[2:] if end[:2] == prefix else _BEYOND
        rows: Rows = []
        for kind in range(low[0] if low else 0, high[0] + 1 if high else 0):
            if len(rows) >= limit or kind not in KINDS:
                continue
            from_ = low[1:] if low[:1] == bytes((kind,)) else b""
            until = high[1:] if high[:1] == bytes((kind,)) else None
            if until == b"":
                continue
            rows += self._scan_index(number, kind, from_, until, limit - len(rows))
        return rows

    def _scan_index(
        self, number: int, kind: int, low: bytes, high: bytes | None, limit: int
    ) -> Rows:
        """Read rows of one index with low <= rest of the row (< high)."""
        if kind in CONTROL:
            head = partition_prefix(number) + bytes((kind,))
            value = self.get([head])[0] if not low else None
            return [(head, value)] if value is not None else []
        if kind == ENTITY_BYTE:
            return self._scan_hashes(number, kind, _entity_groups(low, high), low, high, limit)
        if kind == SEEN_BYTE:
            groups = [bucket + bytes((n,)) for bucket in self._buckets(number) for n in range(256)]
            return self._scan_hashes(number, kind, groups, low, high, limit)
        return self._scan_ordered(number, kind, low, high, limit)

    def _scan_hashes(
        self,
        number: int,
        kind: int,
        groups: Sequence[bytes],
        low: bytes,
        high: bytes | None,
        limit: int,
    ) -> Rows:
        index = bytes((kind,))
        head, tag = partition_prefix(number) + index, self._layout.tag(number) + index
        rows: Rows = []
        wanted = [g for g in groups if g >= low[: len(g)] and (high is None or g <= high)]
        for at in range(0, len(wanted), _GROUPS_AT_ONCE):
            some = wanted[at : at + _GROUPS_AT_ONCE]
            replies = self._read([(tag + g, (b"HGETALL", tag + g)) for g in some])
            for group, flat in zip(some, replies, strict=True):
                pairs = sorted(zip(flat[::2], flat[1::2], strict=True))
                rows += [
                    (head + group + field, value)
                    for field, value in pairs
                    if group + field >= low and (high is None or group + field < high)
                ]
            if len(rows) >= limit:
                break
        return rows[:limit]

    def _scan_ordered(
        self, number: int, kind: int, low: bytes, high: bytes | None, limit: int
    ) -> Rows:
        index = bytes((kind,))
        key = self._layout.tag(number) + index
        upper = b"+" if high is None else b"(" + high
        asked = (b"ZRANGEBYLEX", key, b"[" + low, upper, b"LIMIT", b"0", b"%d" % limit)
        (members,) = self._read([(key, asked)])
        if not members:
            return []
        (values,) = self._read([(key, (b"HMGET", key + b"=", *members))])
        head = partition_prefix(number) + index
        return [
            (head + member, value or b"") for member, value in zip(members, values, strict=True)
        ]

    def _buckets(self, number: int) -> list[bytes]:
        key = self._layout.buckets(number)
        (members,) = self._read([(key, (b"ZRANGE", key, b"0", b"-1"))])
        return list(members)

    # ---- writing

    def commit(self, batches: Sequence[Batch]) -> list[int]:
        """Write the batches; all are synced, and held by the replicas asked for, when it returns."""
        if self._broken:
            raise StoreError(
                f"Redis {address_of(self._settings)}: not reopened after: {self._broken}"
            )
        if not batches:
            return []
        try:
            return self._commit(batches)
        except StoreError as error:
            self._broken = str(error)
            raise

    def _commit(self, batches: Sequence[Batch]) -> list[int]:
        fresh = [self._fresh_buckets(batch) for batch in batches]
        commands: list[tuple[bytes, Command]] = []
        for batch, buckets in zip(batches, fresh, strict=True):
            dropped = [self._dropped(*one) for one in batch.ranges]
            keys, args = plan(self._layout, batch, dropped, buckets)
            call = (b"EVALSHA", _SHA, b"%d" % len(keys), *keys, *args)
            commands.append((keys[0], call))
        replies = self._written(commands)
        stale = []
        for batch, buckets, reply in zip(batches, fresh, replies, strict=True):
            if reply == 1:
                self._known[batch.partition] = batch.stand
                self._listed.update((batch.partition, bucket) for bucket in buckets)
                if batch.ranges:
                    self._forget_buckets(batch.partition)
            else:
                stale.append(batch.partition)
                self._forget_buckets(batch.partition)
                self._known.pop(batch.partition, None)
        return stale

    def load(self, rows: Rows) -> None:
        """Write rows as they are, stands included: for copies, never beside an owner."""
        if not rows:
            return
        batch = Batch(int.from_bytes(rows[0][0][:2]), Stand(0, 0))
        batch.puts = rows
        commands = plain_commands(plan(self._layout, batch, (), self._fresh_buckets(batch)))
        replies, afters = self._link.run_whole(commands, self._wait())
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise StoreError(f"Redis {address_of(self._settings)}: {reply}")
        self._see_replicas(afters)

    def _written(self, commands: Sequence[tuple[bytes, Command]]) -> list[int]:
        replies, afters = self._link.run_whole(commands, self._wait())
        if any(isinstance(one, ResponseError) and _no_script(one) for one in replies):
            self._load_script()  # its cache was flushed; who wrote before has a number that isn't next any more
            written = [reply for reply in replies if not isinstance(reply, ResponseError)]
            if written:
                raise StoreError("Redis forgot the script in the middle of a commit")
            replies, afters = self._link.run_whole(commands, self._wait())
        for reply in (*replies, *afters):
            if isinstance(reply, ResponseError):
                raise StoreError(f"Redis {address_of(self._settings)}: {reply}")
        self._see_replicas(afters)
        return replies

    def _wait(self) -> Command | None:
        """Give the command that waits for the replicas; None when none are asked for."""
        number, timeout = self._settings.replicas_min, b"%d" % (self._settings.timeout_ms // 2)
        if not number:
            return None
        if all(server.waits_for_files for server in self.servers):
            return (b"WAITAOF", b"1", b"%d" % number, timeout)
        return (b"WAIT", b"%d" % number, timeout)

    def _see_replicas(self, answers: Sequence[Reply]) -> None:
        wanted = self._settings.replicas_min
        for answer in answers:
            held = answer[1] if isinstance(answer, list) else answer
            local = answer[0] if isinstance(answer, list) else 1
            if held < wanted or local < 1:
                raise StoreError(
                    f"Redis {address_of(self._settings)}: {held} replicas hold the commit, "
                    f"and store.redis.replicas_min is {wanted}"
                )

    def _fresh_buckets(self, batch: Batch) -> list[bytes]:
        found = {row[3:7] for row, _ in batch.puts if row[2] == SEEN_BYTE}
        return sorted(one for one in found if (batch.partition, one) not in self._listed)

    def _forget_buckets(self, partition: int) -> None:
        if self._listed:
            self._listed = {one for one in self._listed if one[0] != partition}

    def _dropped(self, start: bytes, end: bytes) -> Deletion:
        """Find what a dropped range comes to: this store's owner is the only writer, so it may read before."""
        number = int.from_bytes(start[:2])
        seen = partition_prefix(number) + bytes((SEEN_BYTE,))
        if start == seen and end[:3] == seen and len(end) == 7:
            return Deletion((), [bucket for bucket in self._buckets(number) if bucket < end[3:]])
        rows: list[bytes] = []
        while found := self.scan(start, end, 1000):
            rows += [row for row, _ in found]
            start = rows[-1] + b"\0"
        return Deletion(rows, ())

    # ---- life

    def of_feed(self, feed: int) -> RedisStore:
        """Give the same rows with the feed of another worker, over the same connections. For reading, at once."""
        other = copy(self)
        other._layout = Layout(self._settings.name, feed)
        return other

    def reopen(self) -> None:
        """Look for the servers anew, and see that they hold all that was acknowledged.

        Raises:
            StoreError: they can't be reached, or aren't durable now; try again.
            DamageError: they went back in time.
        """
        self._broken = "a reopening that failed"
        self._link.reconnect()
        self._listed.clear()
        try:
            self._look()
        except RefusedError as error:
            raise StoreError(str(error)) from error
        self._await_again()
        self._verify()
        self._broken = ""

    def close(self) -> None:
        """Drop the connections. Idempotent."""
        self._link.close()

    def drop_all(self) -> None:
        """Remove every key of the deployment: what a replay begins with."""
        keys = self.all_keys(b"{" + self._settings.name.encode() + b":*")
        for at in range(0, len(keys), 500):
            self._read([(key, (b"UNLINK", key)) for key in keys[at : at + 500]])
        self._known.clear()
        self._listed.clear()

    def read_note(self, name: str) -> bytes | None:
        """Read what was noted of the whole deployment under a name."""
        key = self._layout.note(name)
        (raw,) = self._read([(key, (b"GET", key))])
        return raw if raw is None else bytes(raw)

    def write_note(self, name: str, value: bytes) -> None:
        """Note something of the whole deployment; durable on return."""
        key = self._layout.note(name)
        _, afters = self._link.run_whole([(key, (b"SET", key, value))], self._wait())
        self._see_replicas(afters)

    def memory_bytes(self) -> int:
        """Tell how much memory the servers use, all deployments together."""
        total = 0
        for address, (info,) in self._link.each_node((b"INFO", b"memory")):
            if isinstance(info, ResponseError):
                raise StoreError(f"Redis {address}: {info}")
            lines = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
            total += int(lines.get(b"used_memory", b"0"))
        return total

    def _look(self) -> None:
        """Ask all servers what they are, and refuse those that may forget."""
        told = self._link.each_node(*ASKED)
        self.servers = [facts_of(address, replies) for address, replies in told]
        self._load_script()
        if self._settings.durability == "as_it_is":
            return
        for server in self.servers:
            trouble = trouble_of(server, self._settings.replicas_min)
            if trouble:
                raise RefusedError(
                    f"the Redis at {address_of(self._settings)} ({server.address}) may forget what it "
                    f"acknowledged: {'; '.join(trouble)}",
                    mend="set appendonly yes, appendfsync always, no-appendfsync-on-rewrite no and maxmemory-policy "
                    'noeviction there, or take it as it is with store.redis.durability = "as_it_is"',
                )

    def _load_script(self) -> None:
        for address, (reply,) in self._link.each_node((b"SCRIPT", b"LOAD", SCRIPT.encode())):
            if isinstance(reply, ResponseError):
                raise StoreError(f"Redis {address}: {reply}")

    def _await_again(self) -> None:
        """Let replicas have all that we are about to read: what the failed commit wrote may be on one server alone."""
        wait = self._wait()
        if wait is None:
            return
        marks: dict[str, tuple[bytes, Command]] = {}
        for number in self._known or {FEED: Stand(0, 0)}:
            key = self._layout.tag(number) + b"W"
            marks.setdefault(self._link.address(key), (key, (b"INCR", key)))
        for mark in marks.values():
            _, afters = self._link.run_whole([mark], wait)
            self._see_replicas(afters)

    def _verify(self) -> None:
        numbers = list(self._known)
        keys = [self._layout.control(number) for number in numbers]
        replies = self._read([(key, (b"HGET", key, STAND_FIELD)) for key in keys])
        for number, raw in zip(numbers, replies, strict=True):
            held, known = _stand_of(raw), self._known[number]
            if (held.seq, held.epoch) < (known.seq, known.epoch):
                raise DamageError(
                    f"Redis {address_of(self._settings)} went back in time: partition {number} stands at "
                    f"(epoch {held.epoch}, seq {held.seq}), and (epoch {known.epoch}, seq {known.seq}) was "
                    "acknowledged; restore a newer copy, or begin anew with what it holds by a restart"
                )


def _partition_at(key: bytes, absent: int) -> int:
    return int.from_bytes(key[:2]) if len(key) >= 2 else (key[0] << 8 if key else absent)


def _entity_groups(low: bytes, high: bytes | None) -> list[bytes]:
    first = low[0] if low else 0
    last = high[0] if high else ENTITY_GROUPS - 1
    return [bytes((n,)) for n in range(first, last + 1)]


def _stand_of(raw: bytes | None) -> Stand:
    return Stand(int.from_bytes(raw[:8]), int.from_bytes(raw[8:])) if raw else Stand(0, 0)


def _no_script(error: ResponseError) -> bool:
    return type(error).__name__ == "NoScriptError" or str(error).startswith("NOSCRIPT")
