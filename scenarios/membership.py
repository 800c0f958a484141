"""Keeps a contact's segments up to date, and opens what their entries say."""

from __future__ import annotations

__all__ = ("follow_segments",)

from typing import Final

from engine.keyspace import name_of
from scenarios.draft import Draft
from scenarios.opening import open_journey
from scenarios.segments import CompiledSegment, whether_in
from scenarios.state import Membership

_ROUNDS_MAX: Final = 5  # what opens may change the contact again


def follow_segments(draft: Draft, *, everything: bool = False, enter: bool = True) -> None:
    """Look at the segments that this input may have changed; `everything`: at all of them.

    Each change is told on the feed `segment`; with `enter` it opens journeys.
    """
    for _ in range(_ROUNDS_MAX):
        changed = [
            segment
            for segment in draft.view.segments
            if (everything or _touched(draft, segment)) and _changed(draft, segment)
        ]
        if not changed:
            return
        for segment in changed:
            _turn(draft, segment, enter=enter)


def _touched(draft: Draft, segment: CompiledSegment) -> bool:
    before = draft.contact
    if segment.attributes and draft.attributes is not before.attributes:
        return True
    if draft.counts is not before.counts:
        for event in segment.events:
            if draft.counts.get(event) != before.counts.get(event):
                return True
    if segment.scores and draft.scores is not before.scores:
        return True
    if segment.mails and draft.mails is not before.mails:
        return True
    return segment.tags and draft.tags is not before.tags


def _changed(draft: Draft, segment: CompiledSegment) -> bool:
    stay = draft.segments.get(segment.name)
    return whether_in(segment, draft) is not (stay is not None and not stay.until)


def _turn(draft: Draft, segment: CompiledSegment, *, enter: bool) -> None:
    """Let the contact enter or leave."""
    stay = draft.segments.get(segment.name)
    leaves = stay is not None and not stay.until
    after = Membership(stay.since, draft.now) if leaves and stay else Membership(draft.now)
    draft.segments = {**draft.segments, segment.name: after}
    change = "left" if leaves else "entered"
    draft.record(f"segment_{change}", segment=segment.name, version=segment.segment.version)
    body = {"segment": segment.name, "change": change, "at": draft.now}
    draft.emit("segment", {**body, "contact": name_of(draft.context.key).decode()})
    for compiled, opening in draft.view.by_segment.get((segment.name, leaves), ()) if enter else ():
        draft.data = body
        if draft.holds(opening.condition, compiled.name):
            open_journey(draft, compiled, body)
