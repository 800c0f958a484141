"""Reading a file of products: CSV with a header, or JSON objects one a line or in one array.

What one row has for a column is a text, an integer, a number or a truth value; an empty one isn't there, so that a
template must say what stands in its place. Of CSV, whole numbers become integers (money is in integer minor units),
but for those with a leading zero and for the key; all else stays the text that it is.
"""

from __future__ import annotations

__all__ = ("read_products",)

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from engine.errors import InputError, Place
from scenarios.mistakes import did_you_mean
from scenarios.products import ROW_BYTES_MAX, ROWS_MAX, ProductList

_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})").fullmatch
_KEY_CHARS_MAX: Final = 200


def read_products(text: str, file: str, key: str) -> ProductList:
    """Read a list of products, whose rows are named by the column `key`.

    Raises:
        InputError: with the line: no row or no such column, a key that is missing or comes twice, a value that is a
            list or an object, a row or a list that is too large.
    """
    rows: dict[str, dict[str, Any]] = {}
    columns: dict[str, None] = {}
    for line, row in _rows(text, file):
        columns |= dict.fromkeys(row)
        name = _key(row, file, line, key)
        if name in rows:
            raise InputError(f"the key {name!r} comes twice", Place(file, line), "a key is unique")
        kept = {column: value for column, value in row.items() if value not in (None, "")}
        kept[key] = name
        _check(kept, file, line)
        rows[name] = kept
        if len(rows) > ROWS_MAX:
            message = f"more than {ROWS_MAX:,} rows"
            raise InputError(message, Place(file, line), "leave out what no mail shows")
    if not rows:
        raise InputError("there is no product in it", Place(file), "write a header and rows")
    return ProductList(key, tuple(columns), rows)


def _key(row: Mapping[str, Any], file: str, line: int, key: str) -> str:
    if key not in row:
        known = ", ".join(row)
        mend = did_you_mean(key, row) or f"name the column with `--key`; there are {known}"
        raise InputError(f"there is no column {key!r}", Place(file, line), mend)
    value = row[key]
    name = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not 0 < len(name) <= _KEY_CHARS_MAX:
        mend = f"1 to {_KEY_CHARS_MAX} characters"
        raise InputError(f"the row has no key in {key!r}", Place(file, line), mend)
    return name


def _check(row: Mapping[str, Any], file: str, line: int) -> None:
    for column, value in row.items():
        if not _COLUMN(column):
            mend = "letters, digits and _, so that a template can name it"
            raise InputError(f"{column[:80]!r} is no name of a column", Place(file, line), mend)
        if not isinstance(value, (str, int, float, bool)):
            mend = "texts, numbers, true and false; write lists out, such as image_1 and image_2"
            raise InputError(f"{column} has a list or an object", Place(file, line), mend)
    if len(msgspec.json.encode(row)) > ROW_BYTES_MAX:
        mend = "leave out what no mail shows"
        raise InputError(f"a row larger than {ROW_BYTES_MAX:,} octets", Place(file, line), mend)


def _rows(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the rows with their lines, by what the text begins with."""
    text = text.removeprefix("\ufeff")
    start = text.lstrip()[:1]
    if start == "[":
        return _of_array(text, file)
    return _of_lines(text, file) if start == "{" else _of_csv(text, file)


def _of_array(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        yield from ((0, row) for row in msgspec.json.decode(text, type=list[dict[str, Any]]))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"no array of objects: {error}", Place(file)) from None


def _of_lines(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for line, one in enumerate(text.splitlines(), 1):
        if not one.strip():
            continue
        try:
            yield line, decoder.decode(one)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InputError(f"no JSON object: {error}", Place(file, line)) from None


def _of_csv(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    columns: list[str] = []
    try:
        for row in reader:
            if not columns:
                columns = [one.strip() for one in row]
                if len(set(columns)) < len(columns):
                    raise InputError("a column comes twice", Place(file, 1), "rename one")
            elif row and len(row) != len(columns):
                message = f"{len(row)} values for {len(columns)} columns"
                raise InputError(message, Place(file, reader.line_num), "put texts into quotes")
            elif row:
                values = map(_value, row)
                yield reader.line_num, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise InputError(f"no CSV: {error}", Place(file, reader.line_num)) from None


def _value(text: str) -> Any:
    text = text.strip()
    return int(text) if _WHOLE(text) else text
