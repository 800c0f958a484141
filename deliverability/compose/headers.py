"""Header fields in a known form: what a value may hold, how it is encoded and where it is folded.

Every value that comes out is printable ASCII (or, for SMTPUTF8 addresses, RFC 6532 text), has no
two spaces side by side, none at its ends, and is folded only by CRLF + one space before something
that isn't white space. So a field can't be ended by anything within a value (header injection), and
its relaxed canonical form (RFC 6376 §3.4.2) is the field with its folds taken out: `canonical`.
"""

from __future__ import annotations

__all__ = (
    "Field",
    "canonical",
    "check_field_name",
    "date",
    "flat",
    "phrase",
    "unstructured",
)

import re
from base64 import b64encode
from typing import NewType

from engine.errors import InputError, Place

Field = NewType("Field", str)
"""An encoded and folded value, safe to stand behind `Name: `."""

_BLANKS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_simple = re.compile(r"(?:[!-<>-~]|=(?!\?))(?: ?(?:[!-<>-~]|=(?!\?)))*+").fullmatch
_atoms = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
).fullmatch
_field_name = re.compile(r"[!-9;-~]{1,40}").fullmatch  # RFC 5322 §2.2; 40 leaves room for a word

_LINE = 76  # RFC 2047 §2 for lines with encoded words; below the 78 of RFC 5322 §2.1.1
_WORD_BYTES = 45  # 60 octets of base64 and 12 around it: 72 of the 75 that RFC 2047 §2 allows
_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # day 0 of the epoch was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def flat(text: str) -> str:
    """Put text on one line.

    Controls, line ends and spaces in a row become one space, none at the ends.
    """
    return _BLANKS.sub(" ", text).strip(" ")


def unstructured(text: str, used: int) -> Field:
    """Encode free text (a subject) that begins `used` octets into its line.

    RFC 5322 §2.2.1, RFC 2047 §5 (1).
    """
    if len(text) + used <= _LINE and _simple(text):
        return Field(text)
    text = flat(text)
    if text.isascii() and _simple(text):
        folded = _fold(text, used)
        if folded is not None:
            return folded
    return _encoded_words(text, used) if text else Field("")


def phrase(name: str, used: int) -> Field:
    """Encode a display name.

    RFC 5322 §3.2.5: atoms or a quoted string; RFC 2047 §5 (3) for what isn't ASCII.
    """
    if len(name) + used <= _LINE and _atoms(name) and "=?" not in name:
        return Field(name)
    name = flat(name)
    if not name:
        return Field("")
    if name.isascii() and "=?" not in name:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) + used <= _LINE:
            return Field(quoted)
    return _encoded_words(name, used)


def canonical(field: str) -> str:
    """Unfold a value of this module: RFC 6376 §3.4.2 in one replacement."""
    return field.replace("\r\n", "") if "\r\n" in field else field


def date(now_s: int) -> str:
    """Write a time (seconds since the epoch, UTC) as RFC 5322 §3.3 has it, without asking for a locale."""
    days, rest = divmod(now_s, 86400)
    year, month, day = _civil(days)
    return (
        f"{_DAYS[days % 7]}, {day:02d} {_MONTHS[month - 1]} {year:04d} "
        f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d} +0000"
    )


def check_field_name(name: str, place: Place) -> None:
    """Refuse what isn't a field name. RFC 5322 §3.6.8.

    Raises:
        InputError: with `place`.
    """
    if not _field_name(name):
        raise InputError(
            f"{name!r} isn't the name of a header field",
            place,
            "at most 40 letters, digits and hyphens",
        )


def _fold(text: str, used: int) -> Field | None:
    """Fold at spaces; None if a word doesn't fit on a line of its own."""
    lines: list[str] = []
    line, room = "", _LINE - used
    for word in text.split(" "):
        if not line:
            line = word
        elif len(line) + 1 + len(word) <= room:
            line = f"{line} {word}"
        else:
            lines.append(line)
            line, room = word, _LINE - 1
        if len(line) > room:
            return None
    return Field("\r\n ".join((*lines, line)))


def _encoded_words(text: str, used: int) -> Field:
    """RFC 2047 §2: words of at most 75 octets, cut between characters, with folds between them."""
    raw = text.encode("utf-8", "replace")
    words: list[str] = []
    at, room = 0, (_LINE - used - 12) // 4 * 3
    assert room > 3, "a field name leaves room for one character"
    while at < len(raw):
        end = min(at + min(room, _WORD_BYTES), len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # not inside a character
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(raw[at:end]).decode()}?=")
        at, room = end, _WORD_BYTES
    return Field("\r\n ".join(words))


def _civil(days: int) -> tuple[int, int, int]:
    """Days since 1970-01-01 as year, month, day (proleptic Gregorian, counted in eras of 400 years)."""
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1
