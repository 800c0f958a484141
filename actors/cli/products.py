"""`veredus products`: lists of products for conditions and mail."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line, print_table
from actors.planning.products import Product, ProductLine, ProductLists
from actors.text_file import read_text
from engine.errors import InputError

app = new_app("Lists of products for conditions and mail (step `products`).")

_List = Annotated[str, typer.Argument(metavar="LIST", help="The list's name.")]
_SECONDS = 60
_BYTES_MAX = 7_000_000


@app.command("import")
def import_products(
    name: _List,
    source: Annotated[
        str, typer.Argument(metavar="FILE|URL", help="CSV with a header, or JSON objects.")
    ],
    key: Annotated[str, typer.Option(help="The column that names a row.")] = "sku",
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes on record.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a list in the place of the one of that name, or make it. Each import is a version, on record.

    Journeys see it from then on; rows that they have found already stay as they were. Run it by cron for a feed.
    """
    body = {"text": _text(source), "key": key, "file": source, "reason": reason}
    with Client(find_data_dir(data, os.environ), tenant) as client:
        path = f"/v1/products/{quoted(name)}"
        line = client.give("POST", path, msgspec.json.encode(body), ProductLine)
    if as_json:
        print_json(line)
        return
    print_line(f"{line.name}: {line.rows:,} products, version {line.version}")
    if line.gaps:
        print_line(f"  not in every row: {', '.join(line.gaps)}")


def _text(source: str) -> str:
    """Read a file, or fetch what an address gives. Raises: InputError."""
    if not source.startswith(("https://", "http://")):
        return read_text(Path(source))
    import httpx

    try:
        answer = httpx.get(source, timeout=_SECONDS, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise InputError(
            f"{source} can't be fetched: {error}", mend="or save it, and name the file"
        ) from None
    if len(answer.content) > _BYTES_MAX:
        raise InputError(f"{source} is larger than {_BYTES_MAX:,} octets")
    return answer.text


@app.command("list")
def list_products(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List the lists, with their columns; those that not every row has are in brackets."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/products", ProductLists)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.name,
            one.rows,
            one.key,
            ", ".join(f"({c})" if c in one.gaps else c for c in one.columns),
            one.version,
        )
        for one in found.products
    ]
    print_table("", ("list", "products", "key", "columns", "version"), rows)


@app.command()
def show(
    name: _List,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of a row.")],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show a row."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get(f"/v1/products/{quoted(name)}", Product, key=key)
    if as_json:
        print_json(found)
        return
    for column, value in found.row.items():
        print_line(f"{column}: {value}")
