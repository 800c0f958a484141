"""The written form of a scenario, as data: every key, what it takes, what it is for.

The reader, the JSON Schema for editors and the reference in docs/scenarios.md all come from these
tables, so they can't differ.
"""

from __future__ import annotations

__all__ = ("CLASSES", "DOCUMENT", "FORMS", "PARTS", "STEP_KINDS", "Field", "Form", "Kind")

from typing import Final

from scenarios.forms import ID, Field, Form, Kind
from scenarios.language_calls import CALLING, COUPON, FINDING, PRODUCTS, TAKING, WEBHOOK
from scenarios.language_experiments import DECIDING, EXPERIMENT, GUARDING

CLASSES: Final = {"urgent": 0, "transactional": 1, "bulk": 2}
"""Classes of messages by name, as `engine.vocabulary.MessageClass` has them by number."""

_CONDITION: Final = "a condition over contact, event and journey"

DOCUMENT: Final = Form(
    "scenario",
    "One scenario a file.",
    (
        Field("scenario", "name", "its name, unique within the tenant", required=True),
        Field("description", "text", "what it is for"),
        Field("entry", "entry", "what opens a journey: one form, or a list of them", required=True),
        Field(
            "reentry",
            "reentry",
            "who was in before: `never` again; `always`, but not while a journey is under way; "
            "`restart`: as always, and a new opening event replaces the journey under way; "
            "`{after: 30d}`: as always, but only so long after the last one opened",
            choices=("never", "always", "restart"),
            default="never",
        ),
        Field(
            "key",
            "expression",
            "one journey for each value, such as `event.cart`; the re-entry rule holds for each",
        ),
        Field("goal", "watches", "what ends a journey as a success, wherever it stands"),
        Field("exit", "watches", "what ends a journey without success, wherever it stands"),
        Field(
            "priority",
            "integer",
            "which of several scenarios goes first",
            default="0",
            least=-1000,
            most=1000,
        ),
        Field(
            "group",
            "name",
            "a contact is in one scenario of a group at a time; a higher priority displaces a lower",
        ),
        Field("steps", "steps", "the steps, one after the other", required=True),
    ),
)
ENTRY: Final = Form(
    "entry",
    "What opens a journey; one of: an event, a condition that comes true, a segment, a date, a schedule, a call.",
    (
        Field("event", "event", "the name of the opening event"),
        Field("when", "condition", "a condition over contact and event that must hold, too"),
        Field(
            "becomes",
            "condition",
            "a condition over contact that an input has made true; a contact that is new hasn't changed",
        ),
        Field(
            "segment",
            "name",
            "a segment that the contact enters; with `schedule`, whose contacts it is about",
        ),
        Field(
            "on",
            "choice",
            "does entering the segment open it, or leaving?",
            choices=("enter", "leave"),
            default="enter",
        ),
        Field("date", "expression", "a date of the contact, such as `contact.birthday`"),
        Field("offset", "integer", "days after the date, or before it", least=-3660, most=3660),
        Field("at", "minute", "the time of that day in the contact's zone", default="midnight"),
        Field(
            "every",
            "choice",
            "`year`: on each anniversary of the date; 29 February is 28 February in other years",
            choices=("year",),
            default="once",
        ),
        Field(
            "schedule",
            "text",
            "minute, hour, day of the month, month and day of the week as in cron: `0 9 * * mon`",
        ),
        Field("zone", "zone", "the zone of the schedule", default="the tenant's"),
        Field(
            "by",
            "choice",
            "`api`: a call of POST /v1/scenarios/NAME/journeys; `list`: `veredus scenario enter`",
            choices=("api", "list"),
        ),
    ),
)
WATCH: Final = Form(
    "watch",
    "Watched all the time, not only at steps. Mail of the journey that isn't begun is cancelled.",
    (
        Field("name", "name", "its name in records", default="the event's name"),
        Field("event", "event", "the event that ends the journey"),
        Field("when", "condition", f"{_CONDITION}; without an event, looked at after each change"),
    ),
)
REENTRY: Final = Form(
    "reentry after",
    "Again after a time.",
    (Field("after", "duration", "how long after the last journey opened", required=True),),
)
WAIT: Final = Form(
    "wait",
    "Wait an elapsed time, `7d`, `36h`, `1h30m` (a day is 24 hours), or by the calendar.",
    (ID, Field("wait", "wait", "how long, or the form below", required=True)),
)
CALENDAR: Final = Form(
    "calendar",
    "A wait by wall time in the contact's zone: the first moment that fulfils all that is said.",
    (
        Field("for", "duration", "an elapsed time before all else"),
        Field("date", "expression", "a date of the contact or the event to begin at"),
        Field(
            "offset",
            "integer",
            "days of the calendar after the date, or before it",
            least=-3660,
            most=3660,
        ),
        Field("at", "minute", 'a time of day, such as `"09:00"`'),
        Field(
            "hour",
            "choice",
            "`best`: at the hour of the day at which this contact opens and clicks most; `at` is for those of whom "
            "fewer than five readings are known",
            choices=("best",),
        ),
        Field("from", "minute", "the window begins"),
        Field("to", "minute", "the window ends; earlier than `from` it crosses midnight"),
        Field("days", "days", "days of the week, `[mon, tue]`, `mon-fri`"),
        Field("zone", "zone", "a zone, such as `Europe/Oslo`", default="the contact's"),
        Field(
            "holidays",
            "holidays",
            "not on public holidays of a country (`PL`), or of a part of one (`DE-BY`); a window across midnight "
            "is of the day on which it begins",
        ),
        Field(
            "past",
            "choice",
            "what happens if the moment is past",
            choices=("go-on", "end"),
            default="go-on",
        ),
    ),
)
WAIT_FOR: Final = Form(
    "wait_for",
    "Wait for one of several events; the first that fits decides.",
    (
        ID,
        Field("wait_for", "waiters", "an event's name, or one or more forms below", required=True),
        Field("timeout", "duration", "how long at most; without it until an event comes"),
        Field("else", "steps", "the steps to take when the time is out"),
        Field(
            "since",
            "look_back",
            "which events count: those after the journey reached the `step`, after its `entry`, or "
            "of a time before, such as `2h`",
            choices=("step", "entry"),
            default="step",
        ),
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
        ID,
        Field("if", "condition", f"{_CONDITION}; without a value it doesn't hold", required=True),
        Field("then", "steps", "the steps where it holds"),
        Field("else", "steps", "the steps where it doesn't"),
    ),
)
SWITCH: Final = Form(
    "switch",
    "Go the way of the first case that holds.",
    (
        ID,
        Field("switch", "cases", "the cases, in order", required=True),
        Field("else", "steps", "the steps where none holds"),
    ),
)
CASE: Final = Form(
    "case",
    "One case of a `switch`.",
    (
        Field("when", "condition", _CONDITION, required=True),
        Field("then", "steps", "the steps where it holds"),
    ),
)
SPLIT: Final = Form(
    "split",
    "Go one of several ways by weights; a contact always goes the same way.",
    (
        ID,
        Field("split", "variants", "the ways", required=True),
        Field("salt", "name", "splits with the same salt agree", default="scenario and id"),
    ),
)
VARIANT: Final = Form(
    "variant",
    "One way of a `split` or `experiment`.",
    (
        Field("name", "name", "its name", required=True),
        Field("weight", "integer", "its share of the sum", default="1", most=10_000),
        Field("then", "steps", "the steps to take"),
    ),
)
FOR_EACH: Final = Form(
    "for_each",
    "Take the steps once for each item of a list.",
    (
        ID,
        Field("for_each", "expression", "a list, such as `event.products`", required=True),
        Field("as", "name", "the item's name under `journey`", default="item"),
        Field("limit", "integer", "how many items at most", default="20", least=1, most=100),
        Field("steps", "steps", "the steps for each", required=True),
    ),
)
REPEAT: Final = Form(
    "repeat",
    "Take the steps several times.",
    (
        ID,
        Field("repeat", "integer", "how many times at most", required=True, least=1, most=1000),
        Field("while", "condition", f"{_CONDITION}; looked at before each time"),
        Field("steps", "steps", "the steps", required=True),
    ),
)
SEND: Final = Form(
    "send",
    "Send a message; the journey goes on at once, also while the mail is still deferred.",
    (ID, Field("send", "send", "a template's name, or the form below", required=True)),
)
SENDING: Final = Form(
    "sending",
    "What is sent, and how. Checked again at hand-over: erased, suppressed, consent, lateness, "
    "frequency cap, quiet hours.",
    (
        Field("template", "template", "the template's name", required=True),
        Field(
            "stream",
            "name",
            "the stream; all but `transactional` need the contact's consent",
            default="marketing",
        ),
        Field("topic", "name", "the consent topic; needed on all streams but `transactional`"),
        Field(
            "class",
            "choice",
            "the priority",
            choices=tuple(CLASSES),
            default="bulk, on the stream `transactional` transactional",
        ),
        Field("expires", "duration", "give up this long after it was due"),
        Field("late", "duration", "skip it if it would go later than this after it was due"),
        Field(
            "capped",
            "choice",
            "what happens at a frequency cap: skip it, wait for room, or leave the scenario",
            choices=("skip", "wait", "leave"),
            default="skip",
        ),
        Field(
            "no_consent",
            "choice",
            "what happens without consent: skip it, or leave the scenario",
            choices=("skip", "leave"),
            default="skip",
        ),
    ),
)
UPDATE: Final = Form(
    "update",
    "Set attributes of the contact. A text that begins with `=` is an expression; null removes.",
    (ID, Field("update", "attributes", "attribute names with their values", required=True)),
)
SCORE: Final = Form(
    "score",
    "Add to a score of the contact.",
    (ID, Field("score", "score", "the form below", required=True)),
)
SCORING: Final = Form(
    "scoring",
    "Which score, and how much. `contact.score('name')` reads it.",
    (
        Field("name", "name", "the score's name", required=True),
        Field("add", "integer", "points, may be negative", required=True, least=-1_000_000),
        Field("half_life", "duration", "after this time half of it is left"),
    ),
)
TAG: Final = Form(
    "tag",
    "Put tags on the contact. `contact.tagged('name')` tells whether it has one.",
    (ID, Field("tag", "tag", "a name, a list of names, or the form below", required=True)),
)
TAGGING: Final = Form(
    "tagging",
    "Which tags.",
    (
        Field("add", "names", "tags to put on"),
        Field("remove", "names", "tags to take off"),
    ),
)
START: Final = Form(
    "start",
    "Open a journey in another scenario, by its re-entry rule, with this journey's opening event.",
    (ID, Field("start", "name", "the scenario's name", required=True)),
)
STOP: Final = Form(
    "stop",
    "End the contact's journeys in another scenario.",
    (ID, Field("stop", "name", "the scenario's name", required=True)),
)
NOTIFY: Final = Form(
    "notify",
    "Put an entry on a channel, for other systems to read: `GET /v1/notices/CHANNEL`, `veredus notices CHANNEL`.",
    (ID, Field("notify", "notify", "a channel, or the form below", required=True)),
)
NOTIFYING: Final = Form(
    "notifying",
    "What is put where.",
    (
        Field("channel", "name", "the channel", required=True),
        Field("text", "text", "a text"),
    ),
)
END: Final = Form(
    "end",
    "End the journey here.",
    (
        Field("id", "name", "may be left out"),
        Field("end", "text", "the reason, for the record; may be empty", required=True),
    ),
)

STEP_KINDS: Final = {
    form.name: form
    for form in (
        WAIT,
        WAIT_FOR,
        IF,
        SWITCH,
        SPLIT,
        EXPERIMENT,
        FOR_EACH,
        REPEAT,
        SEND,
        UPDATE,
        SCORE,
        TAG,
        START,
        STOP,
        NOTIFY,
        WEBHOOK,
        COUPON,
        PRODUCTS,
        END,
    )
}
"""The forms of steps by the key that tells them apart."""

PARTS: Final = {
    form.name: form
    for form in (
        ENTRY,
        REENTRY,
        WATCH,
        CALENDAR,
        WAITER,
        CASE,
        VARIANT,
        DECIDING,
        GUARDING,
        SENDING,
        SCORING,
        TAGGING,
        NOTIFYING,
        CALLING,
        TAKING,
        FINDING,
    )
}
"""The forms that stand inside others."""

FORMS: Final = (DOCUMENT, *STEP_KINDS.values(), *PARTS.values())
