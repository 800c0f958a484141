"""From a file of contacts (CSV or NDJSON) to checked items, row by row; what is wrong with a row is told with it.

CSV has a header line. The column `contact` (or another, by name) is the contact's id; `version` the record's version;
`consent.TOPIC` a consent (granted or withdrawn), with `consent.TOPIC.at` and `consent.TOPIC.source`; every other column
an attribute, of which empty cells are left out. A line of NDJSON is an item of `PUT /v1/contacts`.
"""

from __future__ import annotations

__all__ = ("LINE_CHARS_MAX", "Fill", "Good", "Rejected", "read_csv", "read_ndjson")

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actors.gateway.bodies import fault_of
from actors.gateway.wire import ContactIn
from engine.errors import InputError, Place

LINE_CHARS_MAX = 1 << 20

_TRUE = frozenset({"granted", "true", "yes", "1"})
_FALSE = frozenset({"withdrawn", "false", "no", "0"})
_CONSENT = "consent."

_decoder = msgspec.json.Decoder(ContactIn)


class Fill(msgspec.Struct, frozen=True):
    """What the command line says for rows that don't say it themselves."""

    id_column: str = "contact"
    topic: str = ""  # consent of every row; "" none
    at: str = ""
    source: str = ""


class Good(msgspec.Struct, frozen=True):
    """A row that can be sent; `raw` is its JSON, without an id yet."""

    row: int
    line: int
    item: dict[str, Any]


class Rejected(msgspec.Struct, frozen=True):
    """A row that can't, and why."""

    line: int
    reason: str
    row: Any


def read_ndjson(lines: Iterable[bytes], fill: Fill) -> Iterator[Good | Rejected]:
    """Read one object a line; empty lines are skipped."""
    row = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row += 1
        yield _checked_line(row, number, line.strip(), fill)


def _checked_line(row: int, number: int, line: bytes, fill: Fill) -> Good | Rejected:
    shown = line[:2000].decode("utf-8", "replace")
    if len(line) > LINE_CHARS_MAX:
        return Rejected(number, f"longer than {LINE_CHARS_MAX} bytes", shown)
    try:
        item = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(number, f"isn't JSON: {error}", shown)
    if not isinstance(item, dict):
        return Rejected(number, "expected an object", shown)
    if fill.id_column != "contact" and fill.id_column in item:
        item["contact"] = item.pop(fill.id_column)
    return _checked(row, number, _filled(item, fill))


def read_csv(lines: Iterable[str], fill: Fill, file: str) -> Iterator[Good | Rejected]:
    """Read rows under a header line.

    Raises:
        InputError: there is no header, it has no column of contacts, or a column twice.
    """
    reader = csv.reader(lines, strict=True)
    header = _header(reader, fill, file)
    row = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            row += 1
            yield Rejected(line, f"isn't CSV: {error}", None)
            continue
        if cells is None:
            return
        if not cells:
            continue
        row += 1
        yield _row(row, line, header, cells, fill)


def _header(reader: Iterator[list[str]], fill: Fill, file: str) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"isn't CSV: {error}", Place(file, 1)) from None
    if fill.id_column not in header:
        found = ", ".join(header[:20]) or "nothing"
        mend = "name the column of the contact's id with --id"
        raise InputError(
            f"there is no column {fill.id_column!r} among {found}", Place(file, 1), mend
        )
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise InputError(f"the column {min(twice)!r} stands there twice", Place(file, 1))
    return header


def _row(row: int, line: int, header: list[str], cells: list[str], fill: Fill) -> Good | Rejected:
    if len(cells) != len(header):
        return Rejected(line, f"expected {len(header)} cells, got {len(cells)}", cells)
    named = dict(zip(header, cells, strict=True))
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return Rejected(
            line, "not UTF-8", [cell.encode("utf-8", "replace").decode() for cell in cells]
        )
    item: dict[str, Any] = {"contact": named.pop(fill.id_column).strip()}
    try:
        version = named.pop("version", "").strip()
        if version:
            item["version"] = _whole_number(version)
        item["consents"] = _consents(named)
    except ValueError as error:
        return Rejected(line, str(error), dict(zip(header, cells, strict=True)))
    item["attributes"] = {name: value for name, value in named.items() if value}
    checked = _checked(row, line, _filled(item, fill))
    if isinstance(checked, Rejected):
        return Rejected(line, checked.reason, dict(zip(header, cells, strict=True)))
    return checked


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"version: expected a whole number, got {text[:40]!r}")
    return int(text[:20])


def _consents(named: dict[str, str]) -> list[dict[str, Any]]:
    """Take the columns of consents out of a row."""
    columns = [name for name in named if name.startswith(_CONSENT)]
    cells = {name: named.pop(name).strip() for name in columns}
    consents = []
    for name, value in cells.items():
        topic = name.removeprefix(_CONSENT)
        if _of_another(name, cells) or not value:
            continue
        if value.lower() not in _TRUE | _FALSE:
            raise ValueError(f"{name}: expected granted or withdrawn, got {value[:40]!r}")
        consent: dict[str, Any] = {"topic": topic, "granted": value.lower() in _TRUE}
        if cells.get(f"{name}.at"):
            consent["at"] = cells[f"{name}.at"]
        if cells.get(f"{name}.source"):
            consent["source"] = cells[f"{name}.source"]
        consents.append(consent)
    return consents


def _of_another(name: str, cells: dict[str, str]) -> bool:
    """Tell whether a column is time or source of another column's consent."""
    stem, _, last = name.rpartition(".")
    return last in ("at", "source") and stem in cells


def _filled(item: dict[str, Any], fill: Fill) -> dict[str, Any]:
    """Add the consent that the command line says for all rows, unless the row has its own for the topic."""
    consents = item.get("consents") or []
    if not fill.topic or not isinstance(consents, list):
        return item
    if any(isinstance(one, dict) and one.get("topic") == fill.topic for one in consents):
        return item
    consent = {"topic": fill.topic, "granted": True}
    consent |= {"at": fill.at} if fill.at else {}
    consent |= {"source": fill.source} if fill.source else {}
    return item | {"consents": [*consents, consent]}


def _checked(row: int, line: int, item: dict[str, Any]) -> Good | Rejected:
    """Check an item as the gateway will."""
    try:
        fault = fault_of(msgspec.json.encode(item), _decoder, "")
    except (OverflowError, RecursionError) as error:
        return Rejected(line, str(error), None)
    if fault is None:
        return Good(row, line, item)
    return Rejected(line, f"{fault.path}: {fault.detail}" if fault.path else fault.detail, item)
