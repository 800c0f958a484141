"""The written form of a scenario, as data: every key, what it takes, what it is for.

The reader, the JSON Schema for editors and the reference in docs/scenarios.md all come from these tables, so they can't
differ.
"""

from __future__ import annotations

__all__ = ("CLASSES", "DOCUMENT", "FORMS", "STEP_KINDS", "Field", "Form", "Kind")

from typing import Final, Literal

import msgspec

Kind = Literal[
    "name",  # an id, a topic, a stream: lower case, digits, - and _
    "template",
    "text",
    "event",
    "duration",
    "condition",
    "steps",
    "choice",
    "attributes",
    "waiters",
    "entry",
    "send",
]


class Field(msgspec.Struct, frozen=True):
    """One key of a form."""

    key: str
    kind: Kind
    says: str
    required: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""


class Form(msgspec.Struct, frozen=True):
    """A mapping: its keys, and what it is for."""

    name: str
    says: str
    fields: tuple[Field, ...]

    def field(self, key: str) -> Field | None:
        """Give the field of a key."""
        return next((field for field in self.fields if field.key == key), None)


CLASSES: Final = {"urgent": 0, "transactional": 1, "bulk": 2}
"""Classes of messages by name, as `engine.vocabulary.MessageClass` has them by number."""

_ID: Final = Field(
    "id", "name", "the step's id; never change it while journeys are under way", required=True
)

DOCUMENT: Final = Form(
    "scenario",
    "One scenario a file.",
    (
        Field("scenario", "name", "its name, unique within the tenant", required=True),
        Field("description", "text", "what it is for"),
        Field("entry", "entry", "what opens a journey", required=True),
        Field(
            "reentry",
            "choice",
            "who was in before: `never` again; `always`, but not while a journey is under way; `restart`: as "
            "always, and a new opening event replaces the journey under way",
            choices=("never", "always", "restart"),
            default="never",
        ),
        Field("steps", "steps", "the steps, one after the other", required=True),
    ),
)
ENTRY: Final = Form(
    "entry",
    "A journey opens when the event arrives and the condition holds.",
    (
        Field("event", "event", "the name of the opening event", required=True),
        Field("when", "condition", "a condition over contact and event"),
    ),
)
WAIT: Final = Form(
    "wait",
    "Wait an elapsed time: `7d`, `36h`, `1h30m`. A day is 24 hours.",
    (_ID, Field("wait", "duration", "how long", required=True)),
)
WAIT_FOR: Final = Form(
    "wait_for",
    "Wait for one of several events; the first that fits decides.",
    (
        _ID,
        Field(
            "wait_for",
            "waiters",
            "an event's name, or one or more of the forms below",
            required=True,
        ),
        Field(
            "timeout",
            "duration",
            "how long at most; without it the journey waits until an event comes",
        ),
        Field("else", "steps", "the steps to take when the time is out"),
    ),
)
WAITER: Final = Form(
    "waiter",
    "One of the events of a `wait_for`.",
    (
        Field("event", "event", "the name of the event", required=True),
        Field(
            "when",
            "condition",
            "`event` is the one that came, `journey.event` the one that opened the journey",
        ),
        Field("as", "name", "a name under `journey` for the data of the event that came"),
        Field("then", "steps", "the steps to take when this event comes"),
    ),
)
IF: Final = Form(
    "if",
    "Go one of two ways, and on with the next step after either.",
    (
        _ID,
        Field(
            "if",
            "condition",
            "a condition; without a value it counts as not fulfilled",
            required=True,
        ),
        Field("then", "steps", "the steps where it holds"),
        Field("else", "steps", "the steps where it doesn't"),
    ),
)
SEND: Final = Form(
    "send",
    "Send a message; the journey goes on at once.",
    (_ID, Field("send", "send", "a template's name, or the form below", required=True)),
)
SENDING: Final = Form(
    "sending",
    "What is sent, and how.",
    (
        Field("template", "template", "the template's name", required=True),
        Field(
            "stream",
            "name",
            "the stream; all but `transactional` need the contact's consent",
            default="marketing",
        ),
        Field("topic", "name", "the consent topic; needed on every stream but `transactional`"),
        Field(
            "class",
            "choice",
            "the priority",
            choices=tuple(CLASSES),
            default="bulk, on the stream `transactional` transactional",
        ),
        Field("expires", "duration", "give up this long after it was due"),
        Field("late", "duration", "skip it if it would go later than this after it was due"),
    ),
)
UPDATE: Final = Form(
    "update",
    "Set attributes of the contact. A text that begins with `=` is an expression; null removes.",
    (_ID, Field("update", "attributes", "attribute names with their values", required=True)),
)
END: Final = Form(
    "end",
    "End the journey here.",
    (
        Field("id", "name", "may be left out"),
        Field("end", "text", "the reason, for the record; may be empty", required=True),
    ),
)

STEP_KINDS: Final = {form.name: form for form in (WAIT, WAIT_FOR, IF, SEND, UPDATE, END)}
"""The forms of steps by the key that tells them apart."""

FORMS: Final = (DOCUMENT, ENTRY, *STEP_KINDS.values(), WAITER, SENDING)
