"""What another version would have done with the events that came: the machine itself, run over history in its own time.

    compare(before, after, stories) -> HistoryDiff

A story is a contact with its attributes as they are now (what they were isn't kept) and its events as they arrived.
Both versions begin with nobody under way, so a difference is one of the versions and of nothing else. Sends are those
that were decided: consent, caps and quiet hours are asked later, and are the same for both.
"""

from __future__ import annotations

__all__ = ("HistoryDiff", "Story", "compare", "joined", "walked")

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from engine.keyspace import EntityKey
from engine.machine import At, Context, Record, Tell, Wake
from engine.vocabulary import Consent, Event, Send
from scenarios.compiling import CompiledScenario
from scenarios.contact import ContactMachine
from scenarios.settings import ContactSettings
from scenarios.state import Contact

_WAKES_MAX: Final = 2_000  # in one story
_EXAMPLES: Final = 10
_PATH: Final = {
    "journey_opened": (),
    "branch_taken": ("step", "branch"),
    "variant_drawn": ("step", "variant"),
    "send_decided": ("step",),
    "send_skipped": ("step", "reason"),
    "journey_ended": ("reason",),
}


class Story(msgspec.Struct, frozen=True, array_like=True):
    """A contact's events as they arrived: (when, ms; the event)."""

    key: bytes
    attributes: dict[str, Any]
    consents: dict[str, Consent]
    events: list[tuple[int, Event]]


class HistoryDiff(msgspec.Struct, frozen=True):
    """How two versions differ over the same history. Contacts, but for `mails_*`."""

    contacts: int = 0
    entered_before: int = 0
    entered_after: int = 0
    other_path: int = 0
    more_mail: int = 0
    less_mail: int = 0
    mails_before: int = 0
    mails_after: int = 0
    examples: list[str] = []  # ids of contacts whose path differs


class _Catalog:
    """A catalog that has one scenario."""

    version = 1

    def __init__(self, compiled: CompiledScenario, settings: ContactSettings) -> None:
        self._scenarios = {compiled.name: compiled}
        self._settings = settings

    def find(self, section: str, tenant: str, name: str) -> Any:  # noqa: ARG002 -- the interface
        """Give the compiled object, or None."""
        if section == "scenario-version":
            found = self._scenarios.get(name.partition("@")[0])
            return found if found and found.version == name.partition("@")[2] else None
        return self._settings if (section, name) == ("setting", "contact") else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:  # noqa: ARG002 -- the interface
        """Give all of a section."""
        return self._scenarios if section == "scenario" else {}


def walked(
    compiled: CompiledScenario, story: Story, until: int, settings: ContactSettings
) -> tuple[list[str], list[str]]:
    """Run a story; give the path that was taken, and the steps that sent."""
    # nobody is called: each call is taken at once, in both versions
    assumed = msgspec.structs.replace(settings, webhooks="assumed")
    machine, context = ContactMachine(), Context(_Catalog(compiled, assumed))
    context.key = EntityKey(story.key)
    state: Contact | None = Contact(dict(story.attributes), consents=dict(story.consents))
    path: list[str] = []
    sent: list[str] = []
    due = 0

    def decide(now: int, body: Any, number: int) -> None:
        nonlocal state, due
        context.now, context.input_id = now, number.to_bytes(8)
        transition = machine.decide(state, body, context)
        state, place = transition.state, transition.place
        due = place.due if isinstance(place, At) else 0
        for effect in transition.effects:
            if isinstance(effect, Record) and effect.fact in _PATH:
                told = [str(effect.detail.get(key, "")) for key in _PATH[effect.fact]]
                path.append(" ".join([effect.fact, *told]))
            elif isinstance(effect, Tell) and isinstance(effect.body, Send):
                sent.append(effect.body.step)

    wakes = number = 0
    for now, event in [*story.events, (until, None)]:
        while due and due <= now and wakes < _WAKES_MAX:
            wakes += 1
            number += 1
            decide(due, Wake(), number)
        if event is not None:
            number += 1
            decide(now, event, number)
    return path, sent


def compare(
    before: CompiledScenario,
    after: CompiledScenario,
    stories: Iterable[Story],
    until: int,
    settings: ContactSettings,
) -> HistoryDiff:
    """Run all stories through both versions, up to a time in ms."""
    total = HistoryDiff()
    for story in stories:
        old_path, old_sent = walked(before, story, until, settings)
        new_path, new_sent = walked(after, story, until, settings)
        other = old_path != new_path
        one = HistoryDiff(
            contacts=1,
            entered_before=bool(old_path),
            entered_after=bool(new_path),
            other_path=other,
            more_mail=len(new_sent) > len(old_sent),
            less_mail=len(new_sent) < len(old_sent),
            mails_before=len(old_sent),
            mails_after=len(new_sent),
            examples=[story.key.rpartition(b"\0")[2].decode()] if other else [],
        )
        total = joined(total, one)
    return total


def joined(one: HistoryDiff, other: HistoryDiff) -> HistoryDiff:
    """Add two up."""
    fields = [name for name in HistoryDiff.__struct_fields__ if name != "examples"]
    sums = {name: getattr(one, name) + getattr(other, name) for name in fields}
    return HistoryDiff(**sums, examples=[*one.examples, *other.examples][:_EXAMPLES])
