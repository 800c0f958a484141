"""What a contact does with its mail, kept as it happens: the last mails and whether they were read, hours of reading.

Kept only where a scenario or segment asks: `contact.last_mails('opened', 5)` needs the last five mails, a wait with
`hour: best` the hours. Each is a few octets and one step an event, whatever came before. What scanners and programs
fetch in advance is no reading.
"""

from __future__ import annotations

__all__ = (
    "CLICKED",
    "MAILS_MAX",
    "MAIL_FACTS",
    "OPENED",
    "best_minute",
    "note_delivered",
    "note_read",
    "with_best_hour",
)

from typing import TYPE_CHECKING, Final

import msgspec

from engine.vocabulary import Event, OutcomeNotice
from scenarios.cel.functions import CLICKED, MAIL_FACTS, MAILS_MAX, OPENED
from scenarios.model import Calendar
from scenarios.program import Sending
from scenarios.state import JourneySend, LastMail
from scenarios.zones import local_time

if TYPE_CHECKING:  # acts are compiled into what a draft knows
    from scenarios.draft import Draft

HOURS_KNOWN: Final = 5
"""Readings from which on the best hour is known."""
_HOURS_MAX: Final = 200  # readings after which all are halved, so that newer ones weigh more
_READERS: Final = frozenset(
    {"", "person", "proxy"}
)  # a mailbox provider's proxy fetches when a person opens
_MARKS: Final = {"mail.opened": OPENED, "mail.clicked": OPENED | CLICKED}


def note_delivered(draft: Draft, notice: OutcomeNotice) -> None:
    """Remember a mail of a scenario that was accepted, on a stream that needs consent."""
    kept = draft.view.mails_asked
    send = draft.sends.get(notice.message_id) if kept else None
    if send is None or notice.kind != "delivered" or not _counts(draft, send):
        return
    draft.mails = (*draft.mails, LastMail(notice.message_id, notice.at))[-kept:]


def _counts(draft: Draft, send: JourneySend) -> bool:
    compiled = draft.view.version(send.scenario, send.version)
    at = compiled.places.get(send.step) if compiled is not None else None
    step = compiled.program[at] if compiled is not None and at is not None else None
    free = draft.view.settings.streams_without_consent
    return not isinstance(step, Sending) or step.send.stream not in free


def note_read(draft: Draft, event: Event) -> None:
    """Note an open or a click; without a message's id it is of the newest mail."""
    mark = _MARKS.get(event.name)
    if mark is None:
        return
    fields = draft.read(event.data)
    if str(fields.get("by") or "") not in _READERS:
        return
    if draft.mails:
        _mark(draft, fields.get("message_id"), mark)
    if draft.view.asks_hours:
        at = event.at if event.historical else draft.now
        hours = list(draft.hours or (0,) * 24)
        hours[local_time(at, draft.zone()).hour] += 1
        if sum(hours) > _HOURS_MAX:
            hours = [count // 2 for count in hours]
        draft.hours = tuple(hours)


def _mark(draft: Draft, message: object, mark: int) -> None:
    mails = draft.mails
    for at in range(len(mails) - 1, -1, -1):
        one = mails[at]
        if message is None or one.message_id.hex() == message:
            marked = msgspec.structs.replace(one, marks=one.marks | mark)
            draft.mails = (*mails[:at], marked, *mails[at + 1 :])
            return


def best_minute(hours: tuple[int, ...], otherwise: int) -> int:
    """Give the minute of the day at which the hour begins around which this contact reads most.

    Neighbouring hours count half, so that one odd reading doesn't decide; of equal ones the earliest. With fewer than
    `HOURS_KNOWN` readings it is `otherwise`.
    """
    if sum(hours) < HOURS_KNOWN:
        return otherwise
    weights = [
        2 * count + hours[hour - 1] + hours[(hour + 1) % 24] for hour, count in enumerate(hours)
    ]
    return max(range(24), key=lambda hour: (weights[hour], -hour)) * 60


def with_best_hour(draft: Draft, calendar: Calendar) -> Calendar:
    """Give the calendar with this contact's hour in it."""
    minute = best_minute(draft.hours, calendar.at_minute)
    draft.record("best_hour", minute=minute, readings=sum(draft.hours))
    return msgspec.structs.replace(calendar, at_minute=minute, best_hour=False)
