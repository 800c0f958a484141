"""`veredus outcomes`: what becomes of mail."""

from __future__ import annotations

__all__ = ("app",)

import os
from typing import Annotated, NoReturn

import msgspec
import typer

from actors.backend import OutcomeEntry, OutcomePage
from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line
from engine.errors import CapacityError

app = new_app("Show what becomes of mail.")

_PAGE = 1000
_WAIT_MS = 20_000


@app.command()
def outcomes(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="Begin behind this; with --follow default: now.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, without --follow.")] = 100,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show outcomes, oldest first: one page with the cursor of the next, or all that come (--follow).

    With --json a page is one object; --follow prints one object a line.
    """
    with Client(find_data_dir(data, os.environ), tenant) as client:
        if follow:
            _follow(client, after or "latest", as_json)
        page = _read(client, after, limit)
    if as_json:
        print_json(page)
        return
    for entry in page.items:
        print_line(_line(entry))
    more = " (more)" if page.more else ""
    print_line(f"{len(page.items)} outcomes{more}; next: --after {page.next}")


def _read(client: Client, after: str, limit: int) -> OutcomePage:
    """Read up to `limit` outcomes, page by page."""
    page = OutcomePage([], after, more=True)
    while page.more and len(page.items) < limit:
        wanted = min(_PAGE, limit - len(page.items))
        found = client.get("/v1/outcomes", OutcomePage, after=page.next, limit=wanted)
        page = OutcomePage(page.items + found.items, found.next, found.more)
    return page


def _follow(client: Client, after: str, as_json: bool) -> NoReturn:
    """Print what comes until the user interrupts, or the instance ends."""
    while True:
        try:
            page = client.get(
                "/v1/outcomes", OutcomePage, after=after, limit=_PAGE, wait_ms=_WAIT_MS
            )
        except CapacityError as error:
            _pause(error.retry_after_s)
            continue
        for entry in page.items:
            print_line(msgspec.json.encode(entry).decode() if as_json else _line(entry))
        after = page.next


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _line(entry: OutcomeEntry) -> str:
    end = "final" if entry.final else f"attempt {entry.attempt}"
    words = (
        clock(entry.at_ms),
        f"{entry.kind:<11}",
        f"{end:<9}",
        entry.message_id,
        entry.contact,
        entry.stream,
        "/".join(filter(None, (entry.scenario, entry.step))),
        entry.cause,
        entry.reply,
    )
    line = "  ".join(word for word in words if word)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
