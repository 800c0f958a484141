"""What a `webhook` step would post of a contact and an event. Nothing is posted."""

from __future__ import annotations

__all__ = ("CallPreview", "find_calling", "preview_call")

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from actors.cli.proving import library, scenario_file
from actors.planning.versions import VersionDesk
from actors.text_file import read_text
from actors.webhooks.calls import call_event
from engine.ids import call_id, journey_id
from engine.keyspace import contact_key
from engine.vocabulary import Call
from scenarios.cel.scope import Scope
from scenarios.cel.values import EvaluationError
from scenarios.checking import load as load_scenario
from scenarios.compiling import compile_scenario
from scenarios.model import Scenario, Webhook, walk
from scenarios.program import Calling, Condition
from scenarios.state import Journey


class CallPreview(msgspec.Struct, frozen=True):
    """What would be posted where. `without_value`: fields that are left out, with why."""

    scenario: str
    version: str
    step: str
    endpoint: str
    body: msgspec.Raw
    without_value: dict[str, str] = {}


def find_calling(target: str, step: str, data: Path, tenant: str) -> Scenario | None:
    """Find the scenario whose `webhook` step is meant; None: the target isn't one, or the step is of another kind.

    Raises: InputError: the scenario has mistakes.
    """
    path = Path(target)
    if not step or path.suffix == ".toml":
        return None
    if path.exists() or target in library():
        file = scenario_file(path)
        scenario = load_scenario(read_text(file), str(file))
    else:
        text = VersionDesk(data).text(tenant, target)
        if text is None:
            return None
        scenario = load_scenario(text, target)
    called = (one.id for one in walk(scenario.steps) if isinstance(one, Webhook))
    return scenario if step in called else None


def preview_call(
    scenario: Scenario,
    step: str,
    attributes: Mapping[str, Any],
    event: Mapping[str, Any],
    now_ms: int,
) -> CallPreview:
    """Make what a step would post, for a contact with these attributes and nothing else on record."""
    compiled = compile_scenario(scenario)
    calling = compiled.program[compiled.places[step]]
    assert isinstance(calling, Calling), "`find_calling` found one"
    identity = journey_id(contact_key("preview", "contact"), scenario.name, "", b"preview")
    journey = Journey(
        identity, scenario.name, scenario.version, step, 1, 0, now_ms, dict(event), since=now_ms
    )
    scope = Scope(attributes, event=event, now=now_ms)
    data: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, value in calling.values:
        if not isinstance(value, Condition):
            data[name] = value
            continue
        if value.sees is not None:
            scope.journey = value.sees(scope, journey, step, 1)
        try:
            data[name] = value.closure(scope)
        except EvaluationError as error:
            missing[name] = str(error)
    call = Call(
        call_id(identity, step, 1).hex(),
        calling.endpoint,
        "contact",
        scenario.name,
        scenario.version,
        step,
        identity.hex(),
        1,
        now_ms,
        now_ms + calling.timeout_ms,
        data,
    )
    body = msgspec.Raw(call_event(call).body)
    return CallPreview(scenario.name, scenario.version, step, calling.endpoint, body, missing)
