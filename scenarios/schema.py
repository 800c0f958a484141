"""The JSON Schema of scenario files, made from the tables of `language`, for completion in editors."""

from __future__ import annotations

__all__ = ("json_schema",)

from typing import Any, assert_never

from scenarios.language import DOCUMENT, ENTRY, SENDING, STEP_KINDS, WAITER, Field, Form

_NAME = "^[a-z0-9][a-z0-9_-]{0,63}$"
_TEMPLATE = "^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$"
_DURATION = "^([0-9]{1,9}(ms|[wdhms]))+$"


def json_schema() -> dict[str, Any]:
    """Make the schema. It says what the form allows; `check` finds more."""
    definitions = {form.name: _of_form(form) for form in (ENTRY, WAITER, SENDING)}
    for form in STEP_KINDS.values():
        definitions[form.name] = _of_form(form)
    steps = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in STEP_KINDS]}
    definitions["step"] = steps
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Veredus scenario",
        **_of_form(DOCUMENT),
        "$defs": definitions,
    }


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


def _of_kind(field: Field) -> dict[str, Any]:
    match field.kind:
        case "name":
            return {"type": "string", "pattern": _NAME}
        case "template":
            return {"type": "string", "pattern": _TEMPLATE}
        case "event":
            return {"type": "string", "minLength": 1, "maxLength": 200}
        case "duration":
            return {"type": "string", "pattern": _DURATION}
        case "condition" | "text":
            return {"type": ["string", "null"] if field.kind == "text" else ["string", "boolean"]}
        case "choice":
            return {"enum": list(field.choices)}
        case "steps":
            return {"type": ["array", "null"], "items": {"$ref": "#/$defs/step"}}
        case "attributes":
            return {"type": "object", "minProperties": 1}
        case "entry":
            return {"$ref": "#/$defs/entry"}
        case "waiters":
            waiter = {"$ref": "#/$defs/waiter"}
            return {"anyOf": [{"type": "string"}, waiter, {"type": "array", "items": waiter}]}
        case "send":
            return {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/sending"}]}
        case _:
            assert_never(field.kind)
