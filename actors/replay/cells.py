"""What a single cell of an event log may be, and the value that it stands for.

A cell is text (CSV) or a JSON value (NDJSON). Each converter takes one and gives the value or
raises `CellError`; file, line and column are added by the caller, who knows them.
"""

from __future__ import annotations

__all__ = (
    "CONTACT_BYTES_MAX",
    "EVENT_NAME_MAX",
    "INPUT_ID_BYTES_MAX",
    "INT_MAX",
    "Cell",
    "CellError",
    "address_cell",
    "contact_cell",
    "event_name_cell",
    "field_converter",
    "input_id_cell",
    "pick_domain",
    "shown",
    "time_converter",
    "time_ms",
    "zone_cell",
    "zone_of",
)

import re
from collections.abc import Callable
from collections.abc import Mapping as Lookup
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from typing import Any, assert_never
from zoneinfo import ZoneInfo

from actors.replay.mapping import Field, Time

Cell = Any
"""str, int, Decimal, bool, None, or a JSON array or object."""

CONTACT_BYTES_MAX = 256
EVENT_NAME_MAX = 128
INPUT_ID_BYTES_MAX = 128
ADDRESS_MAX = 254  # RFC 5321 §4.5.3.1.3: a path has at most 256 octets, its two brackets included
LOCAL_PART_MAX = 64  # RFC 5321 §4.5.3.1.1
DIGITS_MAX = 40
INT_MAX = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_TIMES_CACHED = 4096
_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class CellError(ValueError):
    """The cell isn't what was expected; the message says what was, without saying where."""


def shown(value: object) -> str:
    """Render a value for a message: quoted, short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def contact_cell(cell: Cell) -> str:
    """Take a contact id: text or a whole number, without control characters (a NUL would split keys)."""
    return _name(cell, "a contact id", CONTACT_BYTES_MAX)


def event_name_cell(cell: Cell) -> str:
    """Take an event's name."""
    return _name(cell, "an event name", EVENT_NAME_MAX)


def input_id_cell(cell: Cell) -> bytes:
    """Take an input id; its UTF-8 bytes are the id."""
    return _name(cell, "an input id", INPUT_ID_BYTES_MAX).encode()


def zone_cell(cell: Cell) -> str:
    """Take the name of a time zone of the IANA database."""
    name = _name(cell, "a time zone", 64)
    zone_of(name)
    return name


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # KeyError: ZoneInfoNotFoundError
        raise CellError(f"{shown(name)} is no time zone such as `Europe/Warsaw`") from error


def address_cell(address: str) -> str:
    """Check the outline of a forward-path; the composer checks the rest. RFC 5321 §4.1.2."""
    local, at, domain = address.rpartition("@")
    outline = (
        at and 0 < len(local.encode()) <= LOCAL_PART_MAX and len(address.encode()) <= ADDRESS_MAX
    )
    if not outline or not _DOMAIN.fullmatch(domain.lower()):
        raise CellError(f"{shown(address)} is no address such as `name@example.org`")
    if _UNPRINTABLE.search(local) or any(sign in local for sign in ' <>()[],;:"\\@'):
        raise CellError(f"{shown(address)} has characters that an address here may not have")
    return address


def pick_domain(contact: str, domains: Lookup[str, int]) -> str:
    """Choose by the hash of the contact id, in proportion to the weights; always the same for a contact."""
    draw = int.from_bytes(blake2b(contact.encode(), digest_size=8).digest()) % sum(domains.values())
    for domain, weight in domains.items():
        draw -= weight
        if draw < 0:
            return domain
    raise AssertionError("the draw is below the sum of the weights")


def field_converter(field: Field) -> Callable[[Cell], Any]:
    """Make the converter of a data field or attribute."""
    match field.type:
        case "string":
            return _string
        case "int":
            return _int
        case "float":
            return _float
        case "bool":
            return _bool
        case "money":
            return lambda cell: _minor_units(cell, field.decimals)
        case _:
            assert_never(field.type)


def time_converter(rule: Time) -> Callable[[Cell], int]:
    """Make the converter of the time column, to ms since the epoch.

    Raises:
        CellError: the rule itself contradicts itself (format, time of day, zone).
    """
    zone = zone_of(rule.zone)
    at = _time_of_day(rule.at)
    if rule.format in ("epoch_s", "epoch_ms"):
        if at is not None:
            raise CellError("`at` is for formats without a time of day, not for epochs")
        return _epoch_converter(1000 if rule.format == "epoch_s" else 1)
    if rule.format != "iso8601":
        _check_format(rule.format, at)

    @lru_cache(maxsize=_TIMES_CACHED)
    def convert(text: str) -> int:
        return time_ms(_civil(text, rule.format, at), zone)

    return lambda cell: convert(_string(cell).strip())


def time_ms(moment: datetime, zone: ZoneInfo) -> int:
    """Give ms since the epoch; a moment without an offset is civil time of `zone`."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return _in_range((aware - _EPOCH) // _MS)


def _civil(text: str, form: str, at: time | None) -> datetime:
    iso = form == "iso8601"
    try:
        moment = datetime.fromisoformat(text) if iso else datetime.strptime(text, form)  # noqa: DTZ007 -- the map names the zone
    except (ValueError, OverflowError) as error:
        expected = "ISO 8601 such as `2026-03-01T12:00:00Z`" if iso else f"`{form}`"
        raise CellError(f"{shown(text)} is no time of the form {expected}") from error
    if at is None:
        return moment
    if moment.time() != time(0):
        raise CellError(f"{shown(text)} has a time of day, and the map gives one too (`at`)")
    return moment.replace(hour=at.hour, minute=at.minute, second=at.second)


def _epoch_converter(factor: int) -> Callable[[Cell], int]:
    def convert(cell: Cell) -> int:
        return _in_range(
            int(_decimal(cell, "a number of seconds or milliseconds since 1970") * factor)
        )

    return convert


def _in_range(ms: int) -> int:
    if not 0 <= ms < 253_402_300_800_000:  # the year 10000
        raise CellError("the time isn't between 1970 and 9999")
    return ms


def _time_of_day(text: str) -> time | None:
    if not text:
        return None
    try:
        at = time.fromisoformat(text)
    except ValueError as error:
        raise CellError(f"{shown(text)} is no time of day such as `12:00`") from error
    if at.tzinfo is not None or at.microsecond:
        raise CellError(
            f"{shown(text)} is no time of day such as `12:00`; the zone has a key of its own"
        )
    return at


def _check_format(form: str, at: time | None) -> None:
    """Try the format on a moment, so that its mistake is the map's and not the first row's."""
    sample = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        back = datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007 -- only compared
    except (ValueError, re.error) as error:
        raise CellError(f"{shown(form)} is no format that Python's strptime reads") from error
    if back.date() != sample.date():
        raise CellError(f"{shown(form)} doesn't hold year, month and day")
    if at is not None and back.time() != time(0):
        raise CellError("the format has a time of day, so `at` can't give one too")


def _name(cell: Cell, what: str, bytes_max: int) -> str:
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise CellError(f"{shown(cell)} is not {what} (text)")
    text = str(cell)
    if not text:
        raise CellError(f"empty, and {what} is needed")
    if len(text.encode()) > bytes_max:
        raise CellError(f"{what} has at most {bytes_max} bytes")
    if _UNPRINTABLE.search(text):
        raise CellError(f"{shown(text)} has control characters")
    return text


def _string(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int | Decimal) and not isinstance(cell, bool):
        return str(cell)
    raise CellError(f"{shown(cell)} is no text")


def _decimal(cell: Cell, what: str) -> Decimal:
    text = str(cell).strip() if isinstance(cell, str | int | Decimal) else ""
    if len(text) > DIGITS_MAX or isinstance(cell, bool):
        raise CellError(f"{shown(cell)} is not {what}")
    try:
        number = Decimal(text) if not isinstance(cell, str) or _DECIMAL.fullmatch(text) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
        raise CellError(f"{shown(cell)} is not {what}")
    return number


def _int(cell: Cell) -> int:
    number = _decimal(cell, "a whole number")
    if number != number.to_integral_value():
        raise CellError(f"{shown(cell)} is not a whole number")
    return _bounded(int(number))


def _float(cell: Cell) -> float:
    return float(_decimal(cell, "a number such as 12.5"))


def _bool(cell: Cell) -> bool:
    value = cell if isinstance(cell, bool) else _BOOLEANS.get(str(cell).strip().lower())
    if value is None:
        raise CellError(f"{shown(cell)} is neither true nor false (also 1, 0, yes, no)")
    return value


def _minor_units(cell: Cell, decimals: int) -> int:
    """29.33 becomes 2933, in decimal arithmetic: what doesn't fit exactly is refused, never rounded."""
    units = _decimal(cell, "an amount such as 29.33").scaleb(decimals)
    if units != units.to_integral_value():
        raise CellError(f"{shown(cell)} has more than {decimals} decimals")
    return _bounded(int(units))


def _bounded(number: int) -> int:
    if abs(number) > INT_MAX:
        raise CellError("the number has more than 64 bits")
    return number
