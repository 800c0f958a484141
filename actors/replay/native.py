"""NDJSON logs: the documented form, and any other through a map.

The documented form is one object a line, `{"id", "event", "contact", "at", "data"}`, with
`attributes` and `consents` where the log tells something about the contact. `id`, `data`,
`attributes` and `consents` may be left out.
"""

from __future__ import annotations

__all__ = ("DEPTH_MAX", "FieldPaths", "decode_object", "native_row")

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from actors.replay.cells import (
    INT_MAX,
    CellError,
    contact_cell,
    event_name_cell,
    input_id_cell,
    time_converter,
)
from actors.replay.mapping import Time
from actors.replay.rows import Getter, LogRow
from engine.errors import InputError, Place
from engine.ids import row_input_id
from engine.vocabulary import ConsentGiven, Event

DEPTH_MAX = 32
"""Objects and arrays in `data` and `attributes` nest at most so deep."""


class NativeConsent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consent as a line of the log gives it; `at` is the event's time where it is left out."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    source: str
    granted: bool = True
    at: int | str | None = None


class NativeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the documented form. `at` is ISO 8601, or ms since the epoch."""

    event: str
    contact: str
    at: int | str
    id: str | None = None
    data: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    consents: list[NativeConsent] = []


_ROW = msgspec.json.Decoder(NativeRow)
_OBJECT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_iso = time_converter(Time(column="at"))
_epoch_ms = time_converter(Time(column="at", format="epoch_ms"))


def native_row(line: bytes, place: Place, digest: bytes, number: int) -> LogRow:
    """Read one line of the documented form.

    Raises: InputError: not JSON, a field is missing, unknown or of a wrong type, or a value is out
        of bounds.
    """
    try:
        raw = _ROW.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _undecoded(error, place) from error
    contact = _checked(contact_cell, raw.contact, place, "contact")
    at = _checked(_time, raw.at, place, "at")
    event = Event(_checked(event_name_cell, raw.event, place, "event"), at, raw.data)
    _bound(raw.data, place, "data", DEPTH_MAX)
    _bound(raw.attributes, place, "attributes", DEPTH_MAX)
    given_id = None if raw.id is None else _checked(input_id_cell, raw.id, place, "id")
    input_id = given_id or row_input_id(digest, number)
    consents = tuple(_consent(given, at, place) for given in raw.consents)
    return LogRow(input_id, contact, event, raw.attributes, consents)


def decode_object(line: bytes, place: Place) -> dict[str, Any]:
    """Decode a line to be mapped; numbers become int or Decimal.

    Raises:
        InputError: it isn't a JSON object.
    """
    try:
        return _OBJECT.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _undecoded(error, place) from error


class FieldPaths:
    """The columns of a mapped NDJSON log: fields, with dots for fields inside objects.

    Which fields exist shows on each row.
    """

    def find(self, name: str) -> Getter | None:
        """Give the way to a field."""
        if not name:
            return None
        keys = name.split(".")

        def get(raw: Any) -> Any:
            for key in keys:
                if not isinstance(raw, dict):
                    return None
                raw = raw.get(key)
            return raw

        return get

    def names(self) -> list[str]:
        """Give no names: any may come."""
        return []


def _consent(given: NativeConsent, at: int, place: Place) -> ConsentGiven:
    own = at if given.at is None else _checked(_time, given.at, place, "consents.at")
    return ConsentGiven(given.topic, granted=given.granted, at=own, source=given.source)


def _time(cell: int | str) -> int:
    return _epoch_ms(cell) if isinstance(cell, int) else _iso(cell)


def _checked(convert: Any, cell: Any, place: Place, field: str) -> Any:
    try:
        return convert(cell)
    except CellError as error:
        raise InputError(str(error), Place(place.file, place.line, path=field)) from error


def _bound(value: Any, place: Place, path: str, depth: int) -> None:
    """Refuse numbers and nesting that the store's encoding can't hold."""
    if isinstance(value, int) and abs(value) > INT_MAX:
        raise InputError(
            "the number has more than 64 bits", Place(place.file, place.line, path=path)
        )
    if not isinstance(value, dict | list):
        return
    if depth == 0:
        raise InputError(
            f"nested deeper than {DEPTH_MAX}", Place(place.file, place.line, path=path)
        )
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        _bound(inner, place, f"{path}.{key}", depth - 1)


def _undecoded(error: Exception, place: Place) -> InputError:
    if isinstance(error, RecursionError):
        return InputError("nested too deeply", place)
    what, _, path = str(error).partition(" - at `$")
    return InputError(what, Place(place.file, place.line, path=path.strip("`.")))
