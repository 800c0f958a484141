"""`veredus quarantine`: inputs that couldn't be decided; look at them, decide them again, or drop them."""

from __future__ import annotations

__all__ = ("app",)

import os
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from actors.backend import QuarantineDetail, QuarantineEntry, QuarantinePage, Repaired
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import InputError

app = new_app("Inputs that couldn't be decided: the partition went on without them.")

_PAGE = 500
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")]
_All = Annotated[bool, typer.Option("--all", help="All that are in quarantine now.")]
_Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Goes on record in the control log.")
]


@app.command("list")
def list_all(
    after: Annotated[str, typer.Option(metavar="ID", help="Begin behind this one.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List inputs in quarantine, by partition and number."""
    with Client(find_data_dir(data, os.environ)) as client:
        page = _read(client, after, limit)
    if as_json:
        print_json(page)
        return
    print_table(
        "Quarantine",
        ("id", "time", "kind", "tenant", "entity", "source", "input", "reason"),
        [_row(entry) for entry in page.items],
    )
    if page.more:
        print_line(f"More: --after {page.items[-1].id}")


@app.command()
def show(
    entry: Annotated[str, typer.Argument(metavar="ID")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show an input in quarantine, decoded. It may contain personal data."""
    with Client(find_data_dir(data, os.environ)) as client:
        detail = client.get(f"/v1/quarantine/{quoted(entry)}", QuarantineDetail)
    if as_json:
        print_json(detail)
        return
    line = detail.entry
    for name, value in (
        ("id", line.id),
        ("time", clock(line.at_ms)),
        ("entity", f"{line.kind} {line.tenant}/{line.entity}"),
        ("source", line.source),
        ("input id", line.input_id),
        ("reason", line.reason),
    ):
        print_line(f"{name:<9} {_printable(value)}")
    print_line(msgspec.json.format(msgspec.json.encode(detail.input)).decode())


@app.command()
def replay(
    entries: _Ids = None,
    everything: _All = False,
    reason: _Reason = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Decide inputs again, in the order given. Exit status 1 when any failed; it stays, with its new reason."""
    _repair("POST", "/replay", entries, everything, reason, data, as_json)


@app.command()
def drop(
    entries: _Ids = None,
    everything: _All = False,
    reason: _Reason = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Drop inputs for good, on record in the control log. What they had stopped stays stopped."""
    _repair("DELETE", "", entries, everything, reason, data, as_json)


def _repair(
    method: str,
    suffix: str,
    entries: list[str] | None,
    everything: bool,
    reason: str,
    data: Data,
    as_json: bool,
) -> None:
    if bool(entries) == everything:
        raise InputError("which inputs is missing", mend="give ids, or --all")
    query = f"?{urlencode({'reason': reason})}" if reason else ""
    failed = 0
    with Client(find_data_dir(data, os.environ)) as client:
        for entry in entries or [found.id for found in _everything(client)]:
            path = f"/v1/quarantine/{quoted(entry)}{suffix}{query}"
            told = client.give(method, path, b"", Repaired)
            failed += not told.done
            if as_json:
                print_line(msgspec.json.encode(told).decode())
            else:
                print_line(f"{told.id}: {'done' if told.done else _printable(told.reason)}")
    if failed:
        raise typer.Exit(1)


def _everything(client: Client) -> Iterator[QuarantineEntry]:
    after = ""
    while True:
        page = client.get("/v1/quarantine", QuarantinePage, after=after, limit=_PAGE)
        yield from page.items
        if not page.more:
            return
        after = page.items[-1].id


def _read(client: Client, after: str, limit: int) -> QuarantinePage:
    """Read up to `limit` entries, page by page."""
    page = QuarantinePage([], more=True)
    while page.more and len(page.items) < limit:
        wanted = min(_PAGE, limit - len(page.items))
        behind = page.items[-1].id if page.items else after
        found = client.get("/v1/quarantine", QuarantinePage, after=behind, limit=wanted)
        page = QuarantinePage(page.items + found.items, found.more)
    return page


def _row(entry: QuarantineEntry) -> tuple[object, ...]:
    return (
        entry.id,
        clock(entry.at_ms),
        entry.kind,
        entry.tenant,
        entry.entity,
        entry.source,
        entry.input_id,
        entry.reason,
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
