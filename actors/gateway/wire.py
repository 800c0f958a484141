"""What requests say, as strict Structs, and how each becomes inputs of the engine. Pure."""

from __future__ import annotations

__all__ = (
    "ADDRESS_PATTERN",
    "FORMS",
    "QUICK",
    "REVERSE_PATH_PATTERN",
    "ConsentBody",
    "ConsentIn",
    "ContactIn",
    "EraseIn",
    "EventIn",
    "Fault",
    "FaultsError",
    "Name",
    "Time",
    "arrivals_of_contact",
    "consent_arrival",
    "erase_arrival",
    "event_arrival",
    "ms_of",
    "name_fault",
)

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from actors.backend import Arrival
from engine.vocabulary import ConsentGiven, ContactPut, Data, Erase, Event
from scenarios.merging import Merge

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MS_MIN = 100_000_000_000  # March 1973: a lower number is one of seconds, by mistake
_MS_MAX = 253_402_300_799_999  # the end of the year 9999

_NAME_PATTERN = r"^[^\x00-\x1f\x7f]{1,200}$(?!\n)"
ADDRESS_PATTERN = r"^$|^[^@\s]+@[^@\s]+$(?!\n)"
REVERSE_PATH_PATTERN = r"^$|^<>$(?!\n)|^[^@\s<>]+@[^@\s<>]+$(?!\n)"

FORMS = {
    _NAME_PATTERN: "1 to 200 characters without control characters",
    ADDRESS_PATTERN: "an address such as name@example.org",
    REVERSE_PATH_PATTERN: "an address such as bounces@example.org, or <>",
}
"""What a pattern asks for, in words."""

Name = Annotated[str, Meta(pattern=_NAME_PATTERN, description=FORMS[_NAME_PATTERN])]
_Text = Annotated[str, Meta(max_length=1000)]
_Version = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Time = (
    Annotated[
        int,
        Meta(ge=_MS_MIN, le=_MS_MAX, description="milliseconds since 1970-01-01T00:00:00Z"),
    ]
    | Annotated[datetime, Meta(tz=True, description="RFC 3339, with an offset")]
    | None
)


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Input of strangers: no unknown fields."""


class EventIn(_Strict, frozen=True, kw_only=True, gc=False):  # JSON has no cycles
    """Something that happened to a contact. `at` is when; left out, it is the time of arrival."""

    id: Name
    name: Name
    contact: Name
    at: Time = None
    data: dict[str, Any] = {}

    def payload(self) -> Data:
        """Give the data as the engine keeps it."""
        return self.data


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PlainName = Annotated[str, Meta(min_length=1, max_length=200)]


class _PlainEventIn(EventIn, frozen=True, kw_only=True, gc=False):
    """An event whose data stays text, in a body that was looked at for what this form doesn't see."""

    id: _PlainName
    name: _PlainName
    contact: _PlainName
    data: msgspec.Raw = msgspec.Raw(b"{}")  # type: ignore[assignment]  # the same JSON, not decoded

    def payload(self) -> Data:
        """Give the data as the engine keeps it: text that is one object."""
        return bytes(self.data)


def _is_fine(item: _PlainEventIn, *, escaped: bool) -> bool:
    if escaped and _CONTROL.search(f"{item.id}{item.name}{item.contact}"):
        return False
    return bytes(item.data)[:1] == b"{"


class Quick(NamedTuple):
    """A faster form of an item; `fine` looks at what its type doesn't say, `escaped` where strings have escapes."""

    decode: Callable[[bytes | msgspec.Raw], Any]
    fine: Callable[..., bool]


QUICK: Mapping[Any, Quick] = {EventIn: Quick(msgspec.json.Decoder(_PlainEventIn).decode, _is_fine)}
"""The faster forms, by the form that they stand for."""


class ConsentBody(_Strict, frozen=True, kw_only=True):
    """What a contact said about a topic, and where that is on record."""

    topic: Name
    granted: bool
    at: Time = None
    source: _Text = ""


class ConsentIn(ConsentBody, frozen=True, kw_only=True):
    """A consent with the id that makes repeating the request harmless; left out, one is made."""

    id: Name | None = None


class ContactIn(_Strict, frozen=True, kw_only=True):
    """Attributes to set (null removes one), and consents. A `version` lower than the stored one is ignored."""

    contact: Name
    id: Name | None = None
    attributes: dict[Name, Any] = {}
    version: _Version | None = None
    consents: Annotated[list[ConsentBody], Meta(max_length=100)] = []


class EraseIn(_Strict, frozen=True, kw_only=True):
    """Why a contact is erased; the body may be left out."""

    id: Name | None = None
    reason: _Text = ""


class MergeIn(_Strict, frozen=True, kw_only=True):
    """Into which contact one is merged, and why."""

    into: Name
    id: Name | None = None
    reason: _Text = ""


class Fault(msgspec.Struct, frozen=True):
    """One mistake in a request: which item and field, and what was expected."""

    path: str
    detail: str


class FaultsError(Exception):
    """A request has mistakes; nothing of it was taken."""

    def __init__(self, faults: list[Fault], more: bool = False) -> None:
        self.faults = faults
        self.more = more
        super().__init__(f"{len(faults)} mistakes")


MakeId = Callable[[], str]


def ms_of(time: int | datetime | None, now: int) -> int:
    """Give a time in ms; none is now."""
    if time is None:
        return now
    if isinstance(time, datetime):
        return (time - _EPOCH) // _MS
    return time


def event_arrival(item: EventIn, tenant: str, now: int, raw: bytes) -> Arrival:
    """Make the input of an event. Budget: part of `events` in `bench/`, about 1 µs."""
    at = min(ms_of(item.at, now), now)  # a client's clock that is ahead changes nothing
    return Arrival(tenant, item.contact, item.id, at, Event(item.name, at, item.payload()), raw)


def arrivals_of_contact(
    item: ContactIn, tenant: str, now: int, make_id: MakeId, raw: bytes
) -> list[Arrival]:
    """Make the inputs of a contact: its attributes (unless only consents were given), then each consent."""
    input_id = item.id or make_id()
    arrivals = []
    if item.attributes or item.version is not None or not item.consents:
        body = ContactPut(item.attributes, item.version)
        arrivals.append(Arrival(tenant, item.contact, input_id, now, body, raw))
    for number, consent in enumerate(item.consents):
        consent_id = (
            f"{input_id}\x1fconsent\x1f{number}"  # no id from outside has a control character
        )
        arrivals.append(_consent(consent, tenant, item.contact, consent_id, now))
    return arrivals


def consent_arrival(
    item: ConsentIn, tenant: str, contact: str, now: int, make_id: MakeId
) -> Arrival:
    """Make the input of one consent."""
    return _consent(item, tenant, contact, item.id or make_id(), now)


def _consent(item: ConsentBody, tenant: str, contact: str, input_id: str, now: int) -> Arrival:
    at = min(ms_of(item.at, now), now)  # else a grant of tomorrow would outlive today's withdrawal
    body = ConsentGiven(item.topic, item.granted, at, item.source)
    # The age of a consent is no reason to refuse it: a withdrawal of last year counts. So the input's time is now.
    return Arrival(tenant, contact, input_id, now, body)


def erase_arrival(item: EraseIn, tenant: str, contact: str, now: int, make_id: MakeId) -> Arrival:
    """Make the input that erases a contact."""
    return Arrival(tenant, contact, item.id or make_id(), now, Erase(item.reason))


def merge_arrival(item: MergeIn, tenant: str, contact: str, now: int, make_id: MakeId) -> Arrival:
    """Make the input that merges a contact into another."""
    return Arrival(tenant, contact, item.id or make_id(), now, Merge(item.into, item.reason))


def name_fault(name: str) -> str:
    """Say what is wrong with a name, or nothing."""
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return f"expected {FORMS[_NAME_PATTERN]}"
    return ""
