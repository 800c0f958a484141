"""The written form of a test file, as data: every key and what it is for. The reader and docs/library.md follow it."""

from __future__ import annotations

__all__ = (
    "ACTIONS",
    "CAP",
    "CASE",
    "FILE",
    "GIVEN",
    "HISTORY",
    "NON_SENDS",
    "QUIET",
    "SETTINGS",
    "THEN",
    "THEN_LINES",
    "WHEN",
)

from typing import Final

from scenarios.language import Field, Form
from scenarios.proof.case import What

NON_SENDS: Final = (
    "no_consent",
    "suppressed",
    "late",
    "cap",
    "cancelled",
    "erased",
    "expired",
    "no_address",
    "too_many_under_way",
)
"""Why a mail that was decided didn't go."""


def _form(name: str, says: str, *fields: tuple[str, str] | tuple[str, str, bool]) -> Form:
    made = (Field(one[0], "text", one[1], required=len(one) == 3) for one in fields)
    return Form(name, says, tuple(made))


FILE: Final = _form(
    "tests",
    "A test file: `tests.yaml` beside `scenario.yaml`, or `NAME.test.yaml` beside `NAME.yaml`.",
    ("with", "files of other scenarios that run too"),
    ("given", "what is given in every case; a case adds to it"),
    ("cases", "the cases", True),
)
CASE: Final = _form(
    "case",
    "One case: what is given, what happens, what must follow.",
    ("name", "what it shows", True),
    ("given", "the contact at the beginning"),
    ("when", "what happens, each at its time"),
    ("until", "when to stop looking (default: when nothing is due any more)"),
    ("then", "what must have happened", True),
)
GIVEN: Final = _form(
    "given",
    "The contact and the settings at the beginning.",
    ("at", "when the case begins, such as `2026-03-02 09:00` in the contact's zone"),
    ("id", "the contact's id, by which splits draw"),
    ("contact", "attributes"),
    ("consents", "topics that are granted, or `topic: true` and `topic: false`"),
    ("tags", "tags"),
    ("scores", "scores with their values"),
    ("history", "events of before: they are counted, and open nothing"),
    ("coupons", "how many codes pools have, such as `spring: 0`; others have any number"),
    ("products", "lists of products, such as `shop: {LP-1: {name: Blue, price: 1200}}`"),
    ("settings", "the tenant's caps, quiet hours and zone"),
)
HISTORY: Final = _form(
    "history",
    "Events of before.",
    ("event", "the name", True),
    ("at", "when, such as `-40d`", True),
    ("times", "how often (default: 1)"),
)
SETTINGS: Final = _form(
    "settings",
    "What the tenant has decided.",
    ("zone", "the zone of contacts whose own is unknown"),
    ("caps", "frequency caps"),
    ("quiet_hours", "when nothing is handed over"),
)
CAP: Final = _form(
    "cap",
    "At most so many messages in a window or a period of the calendar.",
    ("name", "its name"),
    ("limit", "how many", True),
    ("window", "a rolling window, such as `7d`"),
    ("period", "`day`, `week` or `month` instead"),
    ("streams", "which streams (default: all that need consent)"),
    ("topics", "which topics (default: all)"),
)
QUIET: Final = _form(
    "quiet_hours",
    "No hand-over within these hours.",
    ("from", "such as `21:00`", True),
    ("to", "such as `08:00`", True),
)
WHEN: Final = _form(
    "action",
    "Something that happens: `at` and one of the others.",
    ("at", "when: `4h` after the beginning, or `2026-03-29 02:30`"),
    ("event", "an event comes"),
    ("data", "the event's data, or the fields of the answer"),
    ("put", "attributes are set, null removes"),
    ("grant", "consent to a topic is given"),
    ("withdraw", "consent to a topic is withdrawn"),
    ("suppress", "a stream is suppressed, `all` for all"),
    ("erase", "the contact is erased: `true`"),
    ("outage", "nothing is handed over for so long"),
    ("mail", "what becomes of the next mail of this step"),
    ("outcome", "`delivered`, `deferred` or `bounced`"),
    ("webhook", "what becomes of the next call of this step"),
    ("answer", "the status of its answer, such as `200`, `422`; `none`: none comes"),
    (
        "after",
        "so long after the hand-over or the call; deferred: it is tried again after this time",
    ),
)
ACTIONS: Final = (
    "event",
    "put",
    "grant",
    "withdraw",
    "suppress",
    "erase",
    "outage",
    "mail",
    "webhook",
)
THEN: Final = _form(
    "then",
    "What must have happened. `sends`, `not_sent`, `notified`, `called`, `coupons` are complete: one more fails.",
    ("sends", "mails that went, at the time of their hand-over: `{step, at, template}`, or a step"),
    ("not_sent", "mails that were decided and didn't go: `{step, reason, at}`"),
    ("notified", "entries on feeds: `{channel, at}`, or a channel"),
    ("coupons", "codes that journeys were given: `{step, at, pool}`, or a step"),
    ("called", "calls of `webhook` steps: `{step, at, endpoint}`, or a step"),
    (
        "ended",
        "how journeys ended, all of them: `{reason, at}`, or a reason; `done` is the last step's end",
    ),
    ("opened", "how many journeys were opened"),
    ("standing", "the steps at which journeys stand at the end"),
    ("contact", "attributes at the end; null: it isn't there"),
    ("tags", "all tags at the end"),
    ("scores", "scores at the end, to the hundredth"),
)
THEN_LINES: Final[dict[str, tuple[What, str, tuple[str, ...]]]] = {
    "sends": ("send", "step", ("step", "at", "template")),
    "not_sent": ("not_sent", "step", ("step", "at", "reason")),
    "notified": ("notify", "channel", ("channel", "at")),
    "coupons": ("coupon", "step", ("step", "at", "pool")),
    "called": ("call", "step", ("step", "at", "endpoint")),
    "ended": ("ended", "reason", ("reason", "at")),
}
"""Lists of lines: what they stand for, which key names them, all keys."""
