"""The JSON Schema of scenario files, made from the tables of `language`, for completion in editors."""

from __future__ import annotations

__all__ = ("json_schema",)

from typing import Any, assert_never

from scenarios.calendar import DAYS
from scenarios.language import DOCUMENT, PARTS, STEP_KINDS, Field, Form

_NAME = "^[a-z0-9][a-z0-9_-]{0,63}$"
_TEMPLATE = "^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$"
_DURATION = "^([0-9]{1,9}(ms|[wdhms]))+$"
_MINUTE = "^([01]?[0-9]|2[0-4]):[0-5][0-9]$"


def json_schema() -> dict[str, Any]:
    """Make the schema. It says what the form allows; `check` finds more."""
    forms = (*PARTS.values(), *STEP_KINDS.values())
    definitions = {_name(form.name): _of_form(form) for form in forms}
    definitions["step"] = {"oneOf": [_reference(name) for name in STEP_KINDS]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Veredus scenario",
        **_of_form(DOCUMENT),
        "$defs": definitions,
    }


def _name(form: str) -> str:
    return form.replace(" ", "_")


def _reference(form: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{_name(form)}"}


def _of_form(form: Form) -> dict[str, Any]:
    return {
        "type": "object",
        "description": form.says,
        "properties": {field.key: _of_field(field) for field in form.fields},
        "required": [field.key for field in form.fields if field.required],
        "additionalProperties": False,
    }


def _of_field(field: Field) -> dict[str, Any]:
    described: dict[str, Any] = {"description": field.says}
    if field.default:
        described["description"] += f" (default: {field.default})"
    return described | _of_kind(field)


def _or(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(kinds)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _of_kind(field: Field) -> dict[str, Any]:  # noqa: C901 -- one line for each kind
    name, event = {"type": "string", "pattern": _NAME}, {"type": "string", "maxLength": 200}
    duration = {"type": "string", "pattern": _DURATION}
    match field.kind:
        case "name":
            return name
        case "names":
            return _or(name, _list(name))
        case "template":
            return {"type": "string", "pattern": _TEMPLATE}
        case "event":
            return event
        case "duration":
            return duration
        case "minute":
            return {"type": "string", "pattern": _MINUTE}
        case "days":
            day = {"type": "string", "pattern": f"^({'|'.join(DAYS)})(-({'|'.join(DAYS)}))?$"}
            return _or(day, _list(day))
        case "integer":
            return {"type": "integer", "minimum": field.least, "maximum": field.most}
        case "condition":
            return {"type": ["string", "boolean"]}
        case "text":
            return {"type": ["string", "number", "boolean", "null"]}
        case "holidays":
            return {"type": "string", "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,5})?$"}
        case "expression" | "zone":
            return {"type": "string"}
        case "choice":
            return {"enum": list(field.choices)}
        case "reentry":
            return _or({"enum": list(field.choices)}, _reference("reentry after"))
        case "look_back":
            return _or({"enum": list(field.choices)}, duration)
        case "steps":
            return {"type": ["array", "null"], "items": _reference("step")}
        case "attributes":
            return {"type": "object", "minProperties": 1}
        case "entry":
            return _or(event, _reference("entry"), _list(_or(event, _reference("entry"))))
        case "watches":
            return _or(event, _reference("watch"), _list(_or(event, _reference("watch"))))
        case "waiters":
            return _or(event, _reference("waiter"), _list(_or(event, _reference("waiter"))))
        case "wait":
            return _or(duration, _reference("calendar"))
        case "cases":
            return _list(_reference("case"))
        case "variants":
            return _list(_reference("variant"))
        case "deciding" | "guarding":
            return _reference(field.kind)
        case "percent":
            return {"type": "number", "exclusiveMinimum": 0, "maximum": 100}
        case "send":
            return _or({"type": "string", "pattern": _TEMPLATE}, _reference("sending"))
        case "score":
            return _reference("scoring")
        case "tag":
            return _or(name, _list(name), _reference("tagging"))
        case "notify":
            return _or(name, _reference("notifying"))
        case "keys":
            key = {"type": ["string", "integer"]}
            return _or(key, _list(key))
        case "products":
            return _reference("finding")
        case "coupon":
            return _or(name, _reference("taking"))
        case "webhook":
            return _or(name, _reference("calling"))
        case _:
            assert_never(field.kind)
