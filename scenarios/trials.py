"""A contact in experiments: which variant it was assigned, once for good, and what it did after that.

Assignment is a hash of contact and salt, so that retries, replays and other runs agree. What the contact did counts
once, within the experiment's time, and is told on the feed `experiment`, from which the counts are made.
"""

from __future__ import annotations

__all__ = ("Measured", "assign", "measure", "measured_by")

from bisect import bisect_right
from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import msgspec

from engine.vocabulary import Event
from scenarios.experiments import Ruling
from scenarios.state import Trial

if TYPE_CHECKING:  # a draft knows compiled scenarios, and those contain acts
    from scenarios.draft import Draft
    from scenarios.program import Splitting

_TRIALS_MAX: Final = (
    50  # of a contact; the oldest is forgotten, and would be drawn anew to the same
)
_CONVERTED, _COMPLAINED, _UNSUBSCRIBED = 1, 2, 4
_GUARDED: Final = {"mail.complained": _COMPLAINED, "mail.unsubscribed": _UNSUBSCRIBED}
_TOLD: Final = {
    _CONVERTED: "converted",
    _COMPLAINED: "complained",
    _UNSUBSCRIBED: "unsubscribed",
}


class Measured(msgspec.Struct, frozen=True):
    """An experiment that an event is about: its key and scenario, the time after assignment (ms), the mark it sets."""

    key: str
    scenario: str
    within_ms: int
    mark: int


def measured_by(key: str, scenario: str, metric: str, within_ms: int) -> Mapping[str, Measured]:
    """Tell which events an experiment is measured by, its guard rails included."""
    events = {event: Measured(key, scenario, within_ms, mark) for event, mark in _GUARDED.items()}
    if metric:
        mark = events[metric].mark if metric in events else 0
        events[metric] = Measured(key, scenario, within_ms, mark | _CONVERTED)
    return events


def assign(draft: Draft, step: Splitting) -> tuple[int, int]:
    """Give the place of this contact's variant among those of the step, and the number drawn (-1: it had one)."""
    known = draft.trials.get(step.key)
    if known is not None and known.variant in step.names:
        return step.names.index(known.variant), -1
    key, salt = draft.context.key, step.hash_key
    draw = int.from_bytes(blake2b(key, key=salt, digest_size=8).digest()) % step.bounds[-1]
    at = bisect_right(step.bounds, draw)
    ruling = draft.view.rulings.get(step.key)
    if ruling is not None and step.names[at] != step.holdout:
        second = blake2b(key, key=salt, digest_size=8, person=b"ruling").digest()
        at = _ruled(step, ruling, at, int.from_bytes(second))
    _note(draft, step, step.names[at])
    return at, draw


def _ruled(step: Splitting, ruling: Ruling, at: int, draw: int) -> int:
    """Choose by what was decided meanwhile: the winner, or by other weights."""
    if ruling.winner:
        return step.names.index(ruling.winner) if ruling.winner in step.names else at
    names = [name for name in step.names if ruling.weights.get(name)]
    bounds = list(accumulate(ruling.weights[name] for name in names))
    return step.names.index(names[bisect_right(bounds, draw % bounds[-1])]) if names else at


def _note(draft: Draft, step: Splitting, variant: str) -> None:
    kept = draft.trials
    if len(kept) >= _TRIALS_MAX:
        oldest = min(kept, key=lambda key: (kept[key].at, key))
        kept = {key: trial for key, trial in kept.items() if key != oldest}
    draft.trials = {**kept, step.key: Trial(variant, draft.now)}
    _tell(draft, step.key, variant, "assigned")


def measure(draft: Draft, event: Event, measured: tuple[Measured, ...]) -> None:
    """Count an event for the experiments that this contact is in, each thing once."""
    for one in measured:
        trial = draft.trials.get(one.key)
        if trial is None or draft.now > trial.at + one.within_ms:
            continue
        mark = one.mark & ~trial.marks
        if not mark or (event.name.startswith("mail.") and not _of_scenario(draft, event, one)):
            continue
        changed = msgspec.structs.replace(trial, marks=trial.marks | mark)
        draft.trials = {**draft.trials, one.key: changed}
        for bit, what in _TOLD.items():
            if mark & bit:
                _tell(draft, one.key, trial.variant, what)


def _of_scenario(draft: Draft, event: Event, one: Measured) -> bool:
    """Whether an event of mail is about the experiment's scenario, and not a scanner's doing."""
    fields = draft.read(event.data)
    return fields.get("scenario") == one.scenario and fields.get("by") != "scanner"


def _tell(draft: Draft, key: str, variant: str, what: str) -> None:
    draft.emit("experiment", {"experiment": key, "variant": variant, "what": what, "at": draft.now})
