"""How the list gets to other nodes: what a node asks, what the source answers, and what the source can tell. Pure.

A node asks for what came after the place (version and stamp) that it has. The answer is a run of frames that goes on
exactly there, or, where the source doesn't know that place any more, the sorted file as of now, which is fetched in
pages. An answer with nothing new says as much as one with news: that up to a moment there is nothing else.

**Why no clock is compared.** The source reads the list after it was asked, and says how long after (`waited_ms`, on
its own monotonic clock, whose rate is that of all others). So whatever was acknowledged before the moment of asking,
plus that wait, is in the answer: the node knows as of when it knows, by its own clock alone. A question or an answer
that is lost, late, doubled or overtaken only leaves a view older than it might be, and an old view begins nothing.
"""

from __future__ import annotations

__all__ = (
    "NEWS_BYTES_MAX",
    "PAGE_BYTES",
    "WAIT_MS",
    "Asked",
    "Backlog",
    "News",
    "PageAsked",
    "Snapshot",
    "stamp_of",
)

from bisect import bisect_right

import msgspec

from deliverability.suppression.frames import frames

PAGE_BYTES = 1 << 20
NEWS_BYTES_MAX = 1 << 20  # of one answer, or one frame where that is longer
WAIT_MS = 400  # a question waits so long for news: with the way there and back far below the age that a view may have


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A node's question for what came after a place; `version` -1: it has nothing. `wait_ms`: if there is no news."""

    list_id: str
    version: int
    stamp: int
    wait_ms: int = WAIT_MS


class PageAsked(msgspec.Struct, frozen=True, array_like=True):
    """A node's question for a page of the sorted file as of a version, from byte `at` on."""

    list_id: str
    version: int
    at: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The sorted file as of a version. `digest`: SHA-256 of the whole."""

    version: int
    size: int
    digest: bytes


class News(msgspec.Struct, frozen=True, array_like=True):
    """What came after `after`, up to `version` and `stamp`; or, with `snapshot`, that this can't be told.

    `more`: there is more, ask again; what is known as of a moment is known only without.
    """

    list_id: str
    after: int
    version: int
    stamp: int
    frames: bytes = b""
    more: bool = False
    waited_ms: int = 0
    snapshot: Snapshot | None = None


def stamp_of(snapshot: Snapshot) -> int:
    """Give the stamp of a place that no frame leads to: the sorted file itself."""
    return int.from_bytes(snapshot.digest[:4])


class Backlog:
    """The frames that a source can tell: those since the sorted file in use, and those since the one before it.

    Args:
        list_id: names the list.
        version: of the sorted file in use.
    """

    def __init__(self, list_id: str, version: int) -> None:
        self.list_id = list_id
        self.version = version
        self.stamp = 0
        self._raw: list[bytes] = []
        self._versions: list[int] = []  # of the frames, ascending
        self._stamps: dict[int, set[int]] = {}
        self._bases: list[int] = [version]  # of the sorted file before the one in use, and of that

    def append(self, raw: bytes) -> int:
        """Take what was read of the changes file. Returns how many bytes of it were whole frames."""
        start = 0
        for frame in frames(raw):
            if not self._versions or frame.version > self._versions[-1]:
                self._raw.append(raw[start : frame.end])
                self._versions.append(frame.version)
            self._stamps.setdefault(frame.version, set()).add(frame.stamp)
            if frame.version >= self.version:
                self.version, self.stamp = frame.version, frame.stamp
            start = frame.end
        return start

    def rebase(self, version: int) -> None:
        """Hear that there is a newer sorted file; frames older than the one before it are forgotten."""
        self._bases = [*self._bases[-1:], version]
        first = bisect_right(self._versions, self._bases[0])
        for old in self._versions[:first]:
            if old != self._bases[0]:
                self._stamps.pop(old, None)
        del self._raw[:first], self._versions[:first]
        self.version = max(self.version, version)

    def know(self, snapshot: Snapshot) -> None:
        """Hear the digest of a sorted file: nodes that have it can be told what came since."""
        stamp = stamp_of(snapshot)
        self._stamps.setdefault(snapshot.version, set()).add(stamp)
        if snapshot.version == self.version and not self.stamp:
            self.stamp = stamp

    def answer(self, asked: Asked) -> News | None:
        """Tell what came after a place; None: it isn't known here, the node needs a snapshot."""
        if asked.list_id != self.list_id or asked.stamp not in self._stamps.get(asked.version, ()):
            return None
        if asked.version < self._bases[0]:
            return None
        first = last = bisect_right(self._versions, asked.version)
        size = 0
        while last < len(self._raw) and (not size or size + len(self._raw[last]) <= NEWS_BYTES_MAX):
            size += len(self._raw[last])
            last += 1
        told = b"".join(self._raw[first:last])
        if first == last:
            return News(self.list_id, asked.version, asked.version, asked.stamp)
        stamp = int.from_bytes(self._raw[last - 1][4:8])
        version, more = self._versions[last - 1], last < len(self._raw)
        return News(self.list_id, asked.version, version, stamp, told, more)
