"""Lists of products, kept under their keys: what scenarios look up for conditions and for mail.

A list is published whole, as each thing in the catalog is: immutable, content-addressed, on record. Journeys see the
list that is current when they take the step `products`, and keep the rows that they found: what a mail shows later is
what was decided on.
"""

from __future__ import annotations

__all__ = ("ROWS_MAX", "ROW_BYTES_MAX", "Found", "ProductList", "Row", "find", "products_of")

from collections.abc import Mapping
from typing import Any, Final

import msgspec

ROWS_MAX: Final = 50_000
"""Rows of a list: every worker holds all of them in memory."""
ROW_BYTES_MAX: Final = 2_000
"""Of a row as JSON: journeys carry the rows that they have found."""

Row = Mapping[str, Any]


class ProductList(msgspec.Struct, frozen=True):
    """A list. `key` is the column that names a row, `columns` are all there are; a row has no value for some."""

    key: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, Any]]

    def complete(self) -> frozenset[str]:
        """Give the columns that every row has a value for."""
        return frozenset(
            column for column in self.columns if all(column in row for row in self.rows.values())
        )


class Found(msgspec.Struct, frozen=True):
    """Rows that were found, how many keys weren't in the list, and how many rows stand in for those."""

    rows: list[Row]
    absent: int = 0
    instead: int = 0


def products_of(content: bytes) -> ProductList:
    """Read what the catalog holds of a list."""
    return msgspec.json.decode(content, type=ProductList)


def find(products: ProductList | None, keys: object, limit: int, instead: tuple[str, ...]) -> Found:
    """Look keys up (a text, an integer, or a list of those), each once, in their order.

    Args:
        products: the list; None: there is none, and nothing is found.
        keys: what is no key isn't in the list.
        limit: no more rows than that.
        instead: keys that fill up what is missing to `limit`, if any of them is in the list.
    """
    wanted = keys if isinstance(keys, (list, tuple)) else (keys,)
    rows = products.rows if products is not None else {}
    found: dict[str, Row] = {}
    absent = 0
    for one in wanted:
        key = str(one) if isinstance(one, (str, int)) and not isinstance(one, bool) else ""
        row = rows.get(key)
        if row is None:
            absent += 1
        elif len(found) < limit:
            found[key] = row
    own = len(found)
    for key in instead:
        row = rows.get(key)
        if row is not None and len(found) < limit:
            found.setdefault(key, row)
    return Found(list(found.values()), absent, len(found) - own)
