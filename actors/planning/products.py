"""Lists of products of an instance: imported whole, each import a version on record."""

from __future__ import annotations

__all__ = (
    "Product",
    "ProductLine",
    "ProductLists",
    "import_products",
    "list_products",
    "product",
)

import re
from typing import Any

import msgspec

from actors.planning.versions import Author, VersionDesk
from engine.catalog import digest_of
from engine.errors import InputError
from scenarios.products import ProductList, products_of

SECTION = "products"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}").fullmatch


class ProductLine(msgspec.Struct, frozen=True):
    """A list: how many rows it has, its columns, those that not every row has, and the digest of its content."""

    name: str
    key: str
    rows: int
    columns: list[str]
    gaps: list[str]
    version: str


class ProductLists(msgspec.Struct, frozen=True):
    """The lists of a tenant."""

    products: list[ProductLine]


class Product(msgspec.Struct, frozen=True):
    """A row of a list."""

    name: str
    key: str
    row: dict[str, Any]


def import_products(
    desk: VersionDesk, tenant: str, name: str, products: ProductList, author: Author
) -> ProductLine:
    """Put a list in the place of the one of that name, or make it; the same again changes nothing.

    Raises: InputError: this is no name of a list.
    """
    if not _NAME(name):
        raise InputError("this is no name of a list", mend="lower case, digits, - and _")
    content = msgspec.json.encode(products, order="sorted")
    if desk.content(tenant, SECTION, name) != content:
        entry = [(SECTION, name, content)]
        desk.put(tenant, entry, f"products {tenant}/{name}", "import", author)
    return _line(name, content)


def list_products(desk: VersionDesk, tenant: str) -> ProductLists:
    """List the lists of a tenant by name."""
    names = sorted(
        item.name for item in desk.head().items if (item.section, item.tenant) == (SECTION, tenant)
    )
    found = [(name, desk.content(tenant, SECTION, name)) for name in names]
    return ProductLists([_line(name, content) for name, content in found if content is not None])


def product(desk: VersionDesk, tenant: str, name: str, key: str) -> Product | None:
    """Show a row; None: there is no such list or row."""
    content = desk.content(tenant, SECTION, name)
    row = products_of(content).rows.get(key) if content is not None else None
    return Product(name, key, row) if row is not None else None


def _line(name: str, content: bytes) -> ProductLine:
    made = products_of(content)
    whole = made.complete()
    gaps = [column for column in made.columns if column not in whole]
    version = digest_of(content)[:16]
    return ProductLine(name, made.key, len(made.rows), list(made.columns), gaps, version)
