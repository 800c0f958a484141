"""A node's copy of the list, kept up with a source that may be slow, silent, or a new one. Pure; a `Shelf` keeps it.

    nothing ──answer: snapshot──▶ fetching ──last page, digest right──▶ following ──frames──▶ following
                                   ▲    └── gone, or digest wrong: ask anew ──▶          │
                                   └──────── place not known at the source ──────────────┘

Answers may come late, twice and in any order: frames are taken only where they go on exactly at the place that the
copy has; what leaves a gap is dropped and asked for again.
"""

from __future__ import annotations

__all__ = ("Counts", "Held", "Mirror", "Question", "Shelf")

from typing import Protocol

import msgspec

from deliverability.suppression.broadcast import Asked, News, PageAsked, Snapshot, stamp_of
from deliverability.suppression.frames import frames


class Held(msgspec.Struct, frozen=True):
    """The place in the list's history that a copy has."""

    version: int = -1
    stamp: int = 0


class Shelf(Protocol):
    """Keeps the copy. What it has taken is there for the processes of the node at once."""

    def held(self) -> Held:
        """Tell what is kept, after an opening."""

    def part(self, snapshot: Snapshot) -> int:
        """Tell how many bytes of a snapshot are here; those of any other are dropped."""

    def write(self, snapshot: Snapshot, at: int, raw: bytes) -> None:
        """Keep a page of it."""

    def finish(self, snapshot: Snapshot) -> bool:
        """Check the whole and put it in use; False: it was damaged and is dropped."""

    def append(self, raw: bytes, held: Held, changes: int) -> None:
        """Keep whole frames, with so many changes, that lead to a place."""

    def heard(self, version: int, as_of: int) -> None:
        """Let all know that everything acknowledged before a moment is in versions up to this one."""


class Question(msgspec.Struct, frozen=True):
    """What to ask now. `life`: answers to questions of an earlier one say nothing any more."""

    body: Asked | PageAsked
    life: int


class Counts(msgspec.Struct):
    """What happened, for logs and tests."""

    snapshots: int = 0
    damaged: int = 0
    gaps: int = 0
    frames: int = 0


class Mirror:
    """Decides what to ask and what to do with the answers. Times in ms on the node's monotonic clock."""

    def __init__(self, list_id: str, shelf: Shelf) -> None:
        self._list_id = list_id
        self._shelf = shelf
        self._held = shelf.held()
        self._fetching: tuple[Snapshot, int] | None = None  # and how much of it is here
        self._life = 0
        self._behind = False  # the last answer said that there is more
        self.counts = Counts()

    @property
    def version(self) -> int:
        """The version of the copy; -1: there is none."""
        return self._held.version

    def question(self) -> Question:
        """Tell what to ask."""
        if self._fetching is not None:
            snapshot, at = self._fetching
            return Question(PageAsked(self._list_id, snapshot.version, at), self._life)
        held = self._held
        asked = Asked(self._list_id, held.version, held.stamp)
        if self._behind:
            asked = msgspec.structs.replace(asked, wait_ms=0)
        return Question(asked, self._life)

    def news(self, question: Question, asked_at: int, news: News) -> None:
        """Take an answer to a question that was asked at a time."""
        if question.life != self._life or news.list_id != self._list_id:
            return
        if news.snapshot is not None:
            self._fetch(news.snapshot)
            return
        if not self._take(news):
            return
        self._behind = news.more
        if not news.more:
            self._shelf.heard(self._held.version, asked_at + news.waited_ms)

    def page(self, question: Question, raw: bytes) -> None:
        """Take a page; an empty one: the source has that file no more."""
        asked, fetching = question.body, self._fetching
        if question.life != self._life or fetching is None or not isinstance(asked, PageAsked):
            return
        snapshot, at = fetching
        if asked.version != snapshot.version or asked.at != at:
            return  # a page that came twice
        if not raw or at + len(raw) > snapshot.size:
            self._begin_again()
            return
        self._shelf.write(snapshot, at, raw)
        self._fetching = (snapshot, at + len(raw))
        self._finish_if_whole()

    # ---- inside

    def _take(self, news: News) -> bool:
        """Take frames that go on where the copy ends. False: they don't, and say nothing."""
        held = self._held
        if news.after > held.version:
            self.counts.gaps += 1
            return False
        start, changes, place = 0, 0, None
        if news.after == held.version:
            place = held
        taken = []
        for frame in frames(news.frames):
            if place is not None:
                taken.append(news.frames[start : frame.end])
                changes += len(frame.changes)
                place = Held(frame.version, frame.stamp)
            elif (frame.version, frame.stamp) == (held.version, held.stamp):
                place = held  # the rest of an answer that another one overtook
            start = frame.end
        if start != len(news.frames):
            self.counts.gaps += 1
            return False
        if place is None:
            return news.version <= held.version  # all of it is here already
        if taken:
            self._shelf.append(b"".join(taken), place, changes)
            self.counts.frames += len(taken)
            self._held = place
        return True

    def _fetch(self, snapshot: Snapshot) -> None:
        self._life += 1
        self._behind = False
        self._fetching = (snapshot, self._shelf.part(snapshot))
        self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        assert self._fetching is not None, "a page belongs to a snapshot"
        snapshot, at = self._fetching
        if at < snapshot.size:
            return
        if self._shelf.finish(snapshot):
            self.counts.snapshots += 1
            self._held = Held(snapshot.version, stamp_of(snapshot))
        else:
            self.counts.damaged += 1
        self._begin_again()

    def _begin_again(self) -> None:
        self._fetching = None
        self._life += 1
