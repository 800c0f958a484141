"""A message's whole story: its own lines, and between them the inputs and decisions of the records that led to each.

The state knows when something happened; the records of that instant say which input caused it and what was decided.
So a story costs a few short reads, however many records there are.
"""

from __future__ import annotations

__all__ = ("whole_story",)

from typing import Any, Final

from actors.backend import Explanation, StoryLine
from actors.planning.records import entries_at, shown, what_of
from actors.worker.views import explain_of
from deliverability.message.state import MessageState
from engine.host import Host
from engine.keyspace import EntityKey, name_of

_INSTANTS_MAX: Final = 40
_SOURCES: Final = {
    "arrive": "came in",
    "wake": "its time came",
    "grant": "credit was granted",
    "answer": "the egress or the sweep answered",
    "tell": "another partition told",
}


def whole_story(host: Host, key: EntityKey, state: MessageState) -> Explanation:
    """Tell it, oldest line first: before what happened comes why. It contains no address."""
    told = explain_of(key, state)
    lines: list[StoryLine] = []
    read: set[int] = set()
    for line in told.lines:
        if line.at_ms not in read and len(read) < _INSTANTS_MAX:
            read.add(line.at_ms)
            lines += _causes(host, key, state, line.at_ms)
        lines.append(line)
    return Explanation(told.message, lines)


def _causes(host: Host, key: EntityKey, state: MessageState, at: int) -> list[StoryLine]:
    """Give inputs of an instant that concern the message, each with what was decided."""
    found = []
    contact = state.send.contact
    for entry in entries_at(host, host.keyspace.partition(key), at):
        _, source, entity, input_id, _, facts = entry
        if entity not in (key, contact):
            continue
        decided = [
            {"fact": str(name), **shown(detail)}
            for name, detail in facts
            if _concerns(detail, key, state)
        ]
        if entity == contact and source != "arrive" and not decided:
            continue  # the contact's own affairs
        detail: dict[str, Any] = {"input": input_id.decode(errors="replace")} if input_id else {}
        if decided:
            detail["decided"] = decided
        who = "contact" if entity == contact else "message"
        found.append(
            StoryLine(at, f"{_SOURCES.get(source, source)}: {what_of(entry)} ({who})", detail)
        )
    return found


def _concerns(detail: dict[str, Any], key: EntityKey, state: MessageState) -> bool:
    """Tell whether a fact is of this message, of its journey, or of nobody else's."""
    if "message" in detail:
        return bool(detail["message"] == name_of(key))
    return "journey" not in detail or detail["journey"] == state.send.journey
