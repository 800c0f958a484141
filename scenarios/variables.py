"""What `journey` is in expressions, and what a template gets."""

from __future__ import annotations

__all__ = ("send_fields", "sight_of", "template_variables")

from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.vocabulary import data_of
from scenarios.cel.scope import JOURNEY_FIELDS, Scope
from scenarios.program import Sees
from scenarios.state import Direct, Journey, JourneySend

_Getter = Callable[[Scope, Journey, str, int], Any]

_GETTERS: Final[Mapping[str, _Getter]] = {
    "id": lambda _, journey, __, ___: journey.id.hex(),
    "scenario": lambda _, journey, __, ___: journey.scenario,
    "version": lambda _, journey, __, ___: journey.version,
    "step": lambda _, __, step, ___: step,
    "visit": lambda _, __, ___, visit: visit,
    "opened_at": lambda _, journey, __, ___: journey.opened_at,
    "key": lambda _, journey, __, ___: journey.key,
    "event": lambda scope, journey, _, __: scope.read(journey.event),
}
assert set(_GETTERS) == set(JOURNEY_FIELDS)


def sight_of(fields: set[str] | None) -> Sees:
    """Give what makes `journey` for an expression that looks at these fields of it; None: at all there are.

    The fields that every journey has come before those of the same name that it has caught.
    """
    if fields == {"key"}:
        return lambda _, journey, __, ___: {"key": journey.key}
    own = [(name, get) for name, get in _GETTERS.items() if fields is None or name in fields]
    caught = None if fields is None else fields - set(_GETTERS)

    def see(scope: Scope, journey: Journey, step: str, visit: int) -> Mapping[str, Any]:
        seen: dict[str, Any] = {}
        if caught is None:
            seen.update(journey.caught)
        for name in caught or ():
            if name in journey.caught:
                seen[name] = journey.caught[name]
        for name, get in own:
            seen[name] = get(scope, journey, step, visit)
        return seen

    return see


def template_variables(
    attributes: Mapping[str, Any], under_way: JourneySend | Direct
) -> dict[str, Any]:
    """Give a template `contact`, `event` and `journey`; a direct message brings its own beside `contact`.

    `journey.event` is `event`, and as large as all else together: the message carries it once, and the composer
    (`deliverability.compose`) lets it be found under both names.
    """
    if isinstance(under_way, Direct):
        return {"contact": attributes, **under_way.variables}
    journey = send_fields(under_way)
    return {"contact": attributes, "event": journey.pop("event"), "journey": journey}


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
