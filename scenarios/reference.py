"""The reference of the language as Markdown, made from the tables of `language`."""

from __future__ import annotations

__all__ = ("reference_markdown",)

from scenarios.cel.functions import FUNCTIONS, METHODS
from scenarios.language import DOCUMENT, PARTS, STEP_KINDS, Field, Form


def reference_markdown() -> str:
    """Write the reference: the document, the steps, the parts, the functions of expressions."""
    parts = ["### The file", _form(DOCUMENT), "### Steps"]
    parts += [f"#### `{name}`\n\n{_form(form)}" for name, form in STEP_KINDS.items()]
    parts.append("### Forms inside them")
    parts += [f"#### {form.name}\n\n{_form(form)}" for form in PARTS.values()]
    parts += ["### Functions of expressions", _functions()]
    return "\n\n".join(parts) + "\n"


def _form(form: Form) -> str:
    head = "| key | takes | what it is for |\n|---|---|---|"
    return "\n".join([form.says, "", head, *(_row(field) for field in form.fields)])


def _row(field: Field) -> str:
    notes = field.says
    if field.required:
        notes += " (required)"
    elif field.default:
        notes += f" (default: {field.default})"
    return f"| `{field.key}` | {_takes(field)} | {notes} |"


def _takes(field: Field) -> str:
    if field.choices:
        return ", ".join(f"`{choice}`" for choice in field.choices)
    if field.kind == "integer":
        return f"integer, {field.least} to {field.most}"
    return field.kind.replace("_", " ")


def _functions() -> str:
    rows = ["| call | gives | what it does |", "|---|---|---|"]
    rows += [f"| `{name}(a)` | {one.gives} | {one.says} |" for name, one in FUNCTIONS.items()]
    for name, one in METHODS.items():
        arguments = "b" if len(one.takes) > 1 else ""
        rows.append(f"| `a.{name}({arguments})` | {one.gives} | {one.says} |")
    rows += [
        "| `contact.count('event')` | int | how often the event happened, this one included |",
        "| `contact.count('event', '90d')` | int | how often in the last 90 days; at most 500 are known |",
        "| `contact.days_since('event')` | int | whole days since it last happened |",
        "| `contact.score('name')` | double | the score now, after its decay |",
        "| `contact.tagged('name')` | bool | does the contact have the tag? |",
        "| `contact.in_segment('name')` | bool | is the contact in the segment, as of its last change? |",
        "| `contact.last_mails('opened', 5)` | int | how many of the last 5 were `opened`, `clicked`, or `delivered` |",
        "| `has(a.b)` | bool | is the field there? |",
        "| `list.all(x, c)`, `.exists(x, c)`, `.exists_one(x, c)` | bool | does it hold for all, one? |",
        "| `list.filter(x, c)`, `.map(x, e)` | list | the items for which it holds; each made anew |",
    ]
    return "\n".join(rows)
