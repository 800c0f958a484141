"""Reads inputs and decisions out of a store's records: for explanations, and for what history says of a version."""

from __future__ import annotations

__all__ = (
    "Decision",
    "DecisionAnswer",
    "DecisionQuestion",
    "StoryAnswer",
    "StoryQuestion",
    "decisions",
    "entries_at",
    "shown",
    "stories",
    "what_of",
)

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from engine.host import Host
from engine.inputs import HOUR
from engine.keyspace import CONTACT, EntityKey, tenant_of
from engine.rows import RECORD
from engine.store.protocol import partition_prefix
from engine.vocabulary import Event
from scenarios.history import Story
from scenarios.state import Contact

_ROWS: Final = 200  # ticks of one partition that a question looks at
_EVENTS_MAX: Final = 500  # of one story
_BUCKET_MS: Final = 24 * HOUR
_DECODE: Final = msgspec.msgpack.Decoder(list[tuple[int, str, bytes, bytes, Any, list[Any]]])

Entry = tuple[int, str, bytes, bytes, Any, list[Any]]  # now, source, entity, input id, input, facts


class DecisionQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the decisions of an entity since a time (ms); `after` is the `next` of the answer before."""

    key: bytes
    since: int
    after: bytes = b""
    related: bytes = b""  # a journey's id: decisions about it alone


class Decision(msgspec.Struct, frozen=True):
    """One input and what was decided: when, how it came, its kind, and the facts (name, detail)."""

    at: int
    source: str
    what: str
    facts: list[tuple[str, dict[str, Any]]]


class DecisionAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Decisions, oldest first; `next` empty: that is all."""

    decisions: list[Decision]
    next: bytes = b""


class StoryQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for contacts of one partition with their events since a time (ms)."""

    tenant: str
    partition: int
    since: int
    contacts: int = 50


class StoryAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Contacts with their events."""

    stories: list[Story]


def decisions(host: Host, question: DecisionQuestion) -> DecisionAnswer:
    """Find decisions of an entity in a slice of its partition's records."""
    partition = host.keyspace.partition(question.key)
    found = []
    last = question.after
    rows = 0
    for row, entry in _entries(host, partition, question.since, question.after):
        if row != last:
            last, rows = row, rows + 1
        if entry[2] != question.key:
            continue
        facts = [(str(name), shown(detail)) for name, detail in entry[5]]
        if question.related and not any(
            detail.get("journey") == question.related.hex() for _, detail in facts
        ):
            continue
        found.append(Decision(entry[0], entry[1], what_of(entry), facts))
    return DecisionAnswer(found, last if rows >= _ROWS else b"")


def shown(detail: dict[str, Any]) -> dict[str, Any]:
    """Make a fact's detail fit for JSON."""
    return {
        key: value.hex() if isinstance(value, bytes) else value for key, value in detail.items()
    }


def stories(host: Host, question: StoryQuestion) -> StoryAnswer:
    """Gather the events of some contacts from a slice of a partition's records."""
    events: dict[bytes, list[tuple[int, Event]]] = {}
    for _, entry in _entries(host, question.partition, question.since, b""):
        key = entry[2]
        if entry[1] != "arrive" or key[4] != CONTACT or tenant_of(key) != question.tenant:
            continue
        event = _event(entry)
        if event is None or (key not in events and len(events) >= question.contacts):
            continue
        mine = events.setdefault(key, [])
        if len(mine) < _EVENTS_MAX:
            mine.append((entry[0], event))
    found = []
    for key, mine in events.items():
        state = host.entry(EntityKey(key))[0]
        if isinstance(state, Contact) and not state.erased_at:
            found.append(Story(key, state.attributes, state.consents, mine))
    return StoryAnswer(found)


def _entries(host: Host, partition: int, since: int, after: bytes) -> Iterator[tuple[bytes, Entry]]:
    prefix = partition_prefix(partition) + RECORD
    start = after + b"\0" if after else prefix + _place(since)
    end = partition_prefix(partition) + bytes((RECORD[0] + 1,))
    for row, raw in host.store.scan(start, end, _ROWS):
        for entry in _DECODE.decode(raw):
            yield row, entry


def entries_at(host: Host, partition: int, at: int) -> Iterator[Entry]:
    """Read what was decided at one instant, in order."""
    prefix = partition_prefix(partition) + RECORD
    for _, raw in host.store.scan(prefix + _place(at), prefix + _place(at) + b"\xff" * 9, _ROWS):
        yield from _DECODE.decode(raw)


def _place(since: int) -> bytes:
    return (since // _BUCKET_MS).to_bytes(4) + since.to_bytes(8)


def _event(entry: Entry) -> Event | None:
    """Read an event that arrived, from its struct or from the JSON that it came as."""
    kept = entry[4]
    if isinstance(kept, list) and kept and kept[0] == "event":
        return msgspec.convert(kept, Event)
    if not isinstance(kept, bytes):
        return None
    try:
        told = msgspec.json.decode(kept)
    except msgspec.DecodeError:
        return None
    if not isinstance(told, dict) or "name" not in told:
        return None
    data = told.get("data")
    return Event(str(told["name"]), entry[0], data if isinstance(data, dict) else {})


def what_of(entry: Entry) -> str:
    """Name an input, without what is personal in it."""
    kept = entry[4]
    if isinstance(kept, list) and kept:
        return f"event {kept[1]}" if kept[0] == "event" else str(kept[0])
    event = _event(entry)
    return f"event {event.name}" if event is not None else "contact"
