"""What `journey` is in expressions, and what a template gets."""

from __future__ import annotations

__all__ = ("journey_fields", "send_fields", "template_variables")

from collections.abc import Mapping
from typing import Any

from engine.vocabulary import data_of
from scenarios.state import Direct, Journey, JourneySend


def journey_fields(journey: Journey, step: str, visit: int) -> Mapping[str, Any]:
    """Give `journey` at a step, for an expression."""
    return {
        **journey.caught,
        "id": journey.id.hex(),
        "scenario": journey.scenario,
        "version": journey.version,
        "step": step,
        "visit": visit,
        "opened_at": journey.opened_at,
        "key": journey.key,
        "event": data_of(journey.event),
    }


def template_variables(
    attributes: Mapping[str, Any], under_way: JourneySend | Direct
) -> dict[str, Any]:
    """Give a template `contact`, `event` and `journey`; a direct message brings its own beside `contact`."""
    if isinstance(under_way, Direct):
        return {"contact": attributes, **under_way.variables}
    journey = send_fields(under_way)
    return {"contact": attributes, "event": journey["event"], "journey": journey}


def send_fields(send: JourneySend) -> dict[str, Any]:
    """Give `journey` as it was when it sent."""
    return {
        **send.caught,
        "id": send.journey.hex(),
        "scenario": send.scenario,
        "version": send.version,
        "step": send.step,
        "visit": send.visit,
        "opened_at": send.opened_at,
        "key": send.key,
        "event": data_of(send.event),
    }
