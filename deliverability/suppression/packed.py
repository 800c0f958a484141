r"""The sorted file of a view: 16 bytes an entry, looked up where it lies, without a copy in any process.

    head      "VSUP" + format (1) + 3 zero bytes + version (8) + number of records (8) + length of the scopes (8)
    scopes    a JSON list of scopes; a record has its number in it; padded to 16 bytes
    record    9 bytes of the digest + number of the scope (2) + number of the reason (1) + expires (4)

`expires` is in minutes since the epoch, rounded up; 0: never. Records are in the order of their bytes. 72 bits of a
keyed hash: among ten million entries a strange address meets one of them once in 4 * 10^14 look-ups.
"""

from __future__ import annotations

__all__ = (
    "PREFIX_BYTES",
    "RECORD_BYTES",
    "Found",
    "Packed",
    "PackedWriter",
    "empty",
    "merge",
    "pack",
    "unpack",
)

import struct
from collections.abc import Callable, Iterable, Sequence

import msgspec

from deliverability.suppression.entry import REASONS, Entry
from engine.errors import CapacityError, DamageError

RECORD_BYTES = 16
PREFIX_BYTES = 9
SCOPES_MAX = 0xFFFF
MINUTE = 60_000
_MAGIC = b"VSUP\x01\0\0\0"
_HEAD = struct.Struct(">8sQQQ")
_TAIL = struct.Struct(">HBI")
_REASON: dict[str, int] = {name: number for number, name in enumerate(REASONS)}

Buffer = bytes | bytearray | memoryview


class Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry as a view knows it."""

    scope: str
    reason: str
    expires: int = 0  # ms; 0: never

    def holds(self, now: int) -> bool:
        """Tell whether it still holds."""
        return not self.expires or self.expires > now


def pack(digest: bytes, entry: Found | Entry, scopes: dict[str, int]) -> bytes:
    """Make a record; a new scope gets the next number. Raises: CapacityError: there are too many scopes."""
    number = scopes.get(entry.scope)
    if number is None:
        if len(scopes) >= SCOPES_MAX:
            raise CapacityError("scopes of the suppression list")
        number = scopes[entry.scope] = len(scopes)
    minutes = min(-(-entry.expires // MINUTE), 0xFFFFFFFF)
    reason = _REASON.get(entry.reason, _REASON["imported"])
    return digest[:PREFIX_BYTES] + _TAIL.pack(number, reason, minutes)


def unpack(record: bytes, scopes: Sequence[str]) -> Found:
    """Read a record."""
    number, reason, minutes = _TAIL.unpack_from(record, PREFIX_BYTES)
    if number >= len(scopes):
        raise DamageError("a record of the suppression list names a scope that isn't there")
    said = REASONS[reason] if reason < len(REASONS) else "imported"
    return Found(scopes[number], said, minutes * MINUTE)


class Packed:
    """The file, mapped or in memory. Look-ups read two or three pages.

    Args:
        raw: the whole file.

    Raises: DamageError: it isn't one, or not whole.
    """

    __slots__ = ("_from", "_raw", "count", "scopes", "version")

    def __init__(self, raw: Buffer) -> None:
        if len(raw) < _HEAD.size:
            raise DamageError("the suppression file is cut off")
        magic, self.version, self.count, length = _HEAD.unpack(bytes(raw[: _HEAD.size]))
        self._from = _aligned(_HEAD.size + length)
        if magic != _MAGIC or len(raw) != self._from + self.count * RECORD_BYTES:
            raise DamageError("the suppression file has another form, or isn't whole")
        try:
            listed = bytes(raw[_HEAD.size : _HEAD.size + length])
            self.scopes: tuple[str, ...] = msgspec.json.decode(listed, type=tuple[str, ...])
        except msgspec.MsgspecError as error:
            raise DamageError(f"the scopes of the suppression file: {error}") from error
        self._raw = raw

    def record(self, number: int) -> bytes:
        """Give a record by its number."""
        start = self._from + number * RECORD_BYTES
        return bytes(self._raw[start : start + RECORD_BYTES])

    def block(self, first: int, last: int) -> Buffer:
        """Give records [first, last) as they lie, for merging."""
        return self._raw[self._from + first * RECORD_BYTES : self._from + last * RECORD_BYTES]

    def find(self, digest: bytes) -> tuple[Found, ...]:
        """Give all entries of an address."""
        wanted = digest[:PREFIX_BYTES]
        found = []
        number = self.lower_bound(wanted)
        while number < self.count:
            record = self.record(number)
            if record[:PREFIX_BYTES] != wanted:
                break
            found.append(unpack(record, self.scopes))
            number += 1
        return tuple(found)

    def lower_bound(self, wanted: bytes) -> int:
        """Give the number of the first record that isn't below.

        Digests are spread evenly, so that a guess by proportion, three times, leaves a handful for halving.
        """
        low, high = 0, self.count
        bottom, top = 0, 1 << 64
        target = int.from_bytes(wanted[:8])
        raw, start = self._raw, self._from
        guesses = 0
        while low < high:
            if guesses < 3 and high - low > 16:
                middle = low + (target - bottom) * (high - low) // max(top - bottom, 1)
                middle = min(max(middle, low), high - 1)
                guesses += 1
            else:
                middle = (low + high) // 2
            at = start + middle * RECORD_BYTES
            here = bytes(raw[at : at + PREFIX_BYTES])
            if here < wanted:
                low, bottom = middle + 1, int.from_bytes(here[:8])
            else:
                high, top = middle, int.from_bytes(here[:8]) + 1
        return low


class PackedWriter:
    """Writes a file in order, from an older one and what changed since: unchanged runs are copied as blocks.

    Args:
        write: takes the next bytes.
        version: that the file is as of.
        scopes: all that occur, in the order of their numbers.
        count: how many records will be written.
    """

    def __init__(
        self, write: Callable[[Buffer], object], version: int, scopes: Sequence[str], count: int
    ) -> None:
        listed = msgspec.json.encode(list(scopes))
        head = _HEAD.pack(_MAGIC, version, count, len(listed)) + listed
        write(head.ljust(_aligned(len(head)), b"\0"))
        self._write = write
        self._left = count

    def records(self, raw: Buffer) -> None:
        """Write whole records."""
        self._left -= len(raw) // RECORD_BYTES
        self._write(raw)

    def close(self) -> None:
        """Check that what was announced was written."""
        assert self._left == 0, f"{self._left} records of the suppression file are missing"


def merge(
    old: Packed, changes: dict[bytes, tuple[Found, ...]], now: int
) -> tuple[list[str], int, Iterable[Buffer]]:
    """Merge changes (by the digest's first bytes) into a file: scopes, number of records, and the records in order.

    Entries that expired before `now` are left out where they are changed.
    """
    scopes = {scope: number for number, scope in enumerate(old.scopes)}
    pieces: list[Buffer] = []
    count = at = 0
    for prefix in sorted(changes):
        first = old.lower_bound(prefix)
        last = first
        while last < old.count and old.record(last)[:PREFIX_BYTES] == prefix:
            last += 1
        if first > at:
            pieces.append(old.block(at, first))
            count += first - at
        at = max(at, last)
        new = sorted(pack(prefix, entry, scopes) for entry in changes[prefix] if entry.holds(now))
        pieces += new
        count += len(new)
    pieces.append(old.block(at, old.count))
    return list(scopes), count + old.count - at, pieces


def empty(version: int = 0) -> bytes:
    """Make a file without records."""
    pieces: list[bytes] = []
    PackedWriter(lambda raw: pieces.append(bytes(raw)), version, (), 0).close()
    return b"".join(pieces)


def _aligned(size: int) -> int:
    return -(-size // RECORD_BYTES) * RECORD_BYTES
