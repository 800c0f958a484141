"""What providers tell senders of themselves: exports of Google Postmaster Tools and Microsoft's SNDS. Pure.

Postmaster Tools: the API's JSON (`trafficStats` of one or several days), or a CSV with a header that names the same
fields. SNDS: the CSV of its data access, which has no header: address, begin and end of activity, RCPT and DATA
commands, recipients, colour, complaint rate, begin and end of the trap period, trap hits.
developers.google.com/gmail/postmaster (v1, 2025-05); sendersupport.olc.protection.outlook.com/snds (2026-03).
"""

from __future__ import annotations

__all__ = ("ProviderWord", "read_export")

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from ipaddress import ip_address
from typing import Any

import msgspec

from engine.errors import InputError, Place

EXPORT_CHARS_MAX = 16 << 20
WORDS_MAX = 100_000
_REPUTATIONS = ("HIGH", "MEDIUM", "LOW", "BAD")
_COLOURS = ("GREEN", "YELLOW", "RED")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


class ProviderWord(msgspec.Struct, frozen=True):
    """What a provider said of a domain or an address on a day (ISO). `of`: `domain NAME` or `address IP`."""

    provider: str
    of: str
    day: str
    reputation: str = ""  # Google's word
    spam_rate: float | None = None
    colour: str = ""  # Microsoft's
    trap_hits: int = 0


def read_export(text: str, file: str = "") -> list[ProviderWord]:
    """Read an export, whichever it is.

    Raises:
        InputError: it is neither; or a line can't be understood, with its number.
    """
    if len(text) > EXPORT_CHARS_MAX:
        raise InputError("the export is longer than 16 MiB", Place(file))
    stripped = text.lstrip("\ufeff \r\n\t")
    try:
        if stripped.startswith(("{", "[")):
            words = _google_json(stripped, file)
        elif _is_address(stripped.partition(",")[0].strip('" ')):
            words = list(_snds(stripped, file))
        else:
            words = list(_google_csv(stripped, file))
    except csv.Error as error:
        raise InputError(f"not a table of values: {error}", Place(file)) from None
    if len(words) > WORDS_MAX:
        raise InputError(f"the export has more than {WORDS_MAX} lines", Place(file))
    return words


def _google_json(text: str, file: str) -> list[ProviderWord]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", Place(file)) from None
    days = tree.get("trafficStats", [tree]) if isinstance(tree, dict) else tree
    if not isinstance(days, list) or not all(isinstance(day, dict) for day in days):
        raise InputError("expected `trafficStats` of Postmaster Tools", Place(file))
    return [_google(day, file, number) for number, day in enumerate(days, 1)]


def _google_csv(text: str, file: str) -> Iterator[ProviderWord]:
    rows = csv.DictReader(io.StringIO(text))
    if not rows.fieldnames or "name" not in rows.fieldnames:
        raise InputError(
            "neither an export of Postmaster Tools nor of SNDS",
            Place(file, 1),
            "Postmaster Tools: JSON, or CSV with a column `name`; SNDS: its CSV begins with an address",
        )
    for row in rows:
        yield _google(row, file, rows.line_num)


def _google(row: Mapping[str, Any], file: str, line: int) -> ProviderWord:
    found = re.fullmatch(r"domains/([a-z0-9.-]{1,253})/trafficStats/(\d{8})", str(row.get("name")))
    if found is None:
        raise InputError(
            f"expected `domains/NAME/trafficStats/DAY`, got {str(row.get('name'))[:60]!r}",
            Place(file, line),
        )
    word = str(row.get("domainReputation") or "").upper()
    rate = row.get("userReportedSpamRatio")
    return ProviderWord(
        provider="google",
        of=f"domain {found[1]}",
        day=_day(found[2], file, line),
        reputation=word if word in _REPUTATIONS else "",
        spam_rate=None if rate in (None, "") else _ratio(str(rate), file, line),
    )


def _snds(text: str, file: str) -> Iterator[ProviderWord]:
    for line, row in enumerate(csv.reader(io.StringIO(text)), 1):
        if not row:
            continue
        if len(row) < 8 or not _is_address(row[0].strip()):
            raise InputError("expected a line of SNDS: address, activity, …", Place(file, line))
        colour = row[6].strip().upper()
        hits = row[10].strip() if len(row) > 10 else ""
        yield ProviderWord(
            provider="microsoft",
            of=f"address {row[0].strip()}",
            day=_us_day(row[2], file, line),
            colour=colour if colour in _COLOURS else "",
            spam_rate=_percent(row[7]),
            trap_hits=int(hits) if hits.isdigit() and len(hits) < 10 else 0,
        )


def _percent(text: str) -> float | None:
    """Read `0.3%` or `< 0.1%`; the latter is told as no rate, since it may be nothing."""
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*%\s*", text)
    return float(found[1]) / 100 if found else None


def _ratio(text: str, file: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise InputError(f"a ratio is from 0 to 1, not {text[:40]!r}", Place(file, line))
    return value


def _day(text: str, file: str, line: int) -> str:
    found = _DAY.match(text)
    try:
        return date.fromisoformat("-".join(found.groups()) if found else text).isoformat()
    except ValueError:
        raise InputError(f"not a day: {text[:40]!r}", Place(file, line)) from None


def _us_day(text: str, file: str, line: int) -> str:
    found = re.match(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})", text)
    return _day(f"{found[3]}{int(found[1]):02}{int(found[2]):02}" if found else text, file, line)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
