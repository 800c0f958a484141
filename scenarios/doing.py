"""The steps that change the contact or tell others, and don't wait: score, tag, start, stop, notify."""

from __future__ import annotations

__all__ = ("do",)

from typing import assert_never

from engine.keyspace import name_of
from scenarios.draft import Draft
from scenarios.model import Notify, Score, Start, Stop, Tag
from scenarios.state import Journey, Points


def do(draft: Draft, step: Score | Tag | Start | Stop | Notify, journey: Journey) -> None:
    """Do one step of a journey."""
    match step:
        case Score():
            _score(draft, step)
        case Tag():
            _tag(draft, step)
        case Start(scenario=name):
            compiled = draft.view.current.get(name)
            if compiled is None:
                draft.record("entry_refused", scenario=name, reason="not_published")
            else:
                draft.starting.append((compiled, journey.event))
        case Stop(scenario=name):
            draft.stop(name, "stopped")
        case Notify():
            _notify(draft, step, journey)
        case _:
            assert_never(step)


def _score(draft: Draft, step: Score) -> None:
    before = draft.scores.get(step.name)
    value = (before.at(draft.now) if before else 0.0) + step.add
    points = Points(value, draft.now, step.half_life_ms)
    draft.scores = {**draft.scores, step.name: points}


def _tag(draft: Draft, step: Tag) -> None:
    tags = {name: at for name, at in draft.tags.items() if name not in step.remove}
    for name in step.add:
        tags.setdefault(name, draft.now)
    draft.tags = tags


def _notify(draft: Draft, step: Notify, journey: Journey) -> None:
    body = {
        "contact": name_of(draft.context.key).decode(),
        "scenario": journey.scenario,
        "step": step.id,
        "journey": journey.id,
        "at": draft.now,
        "text": step.text,
        "event": draft.read(journey.event),
    }
    draft.emit(f"notify.{step.channel}", body)
