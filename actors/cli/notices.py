"""`veredus notices`: what scenarios put on a channel."""

from __future__ import annotations

__all__ = ("app",)

import os
from typing import Annotated, NoReturn

import msgspec
import typer

from actors.backend import NoticePage
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line
from engine.errors import CapacityError

app = new_app("Show what scenarios put on a channel (step `notify`).")

_PAGE = 1000
_WAIT_MS = 20_000


@app.command()
def notices(
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="Such as that of a `notify` step.")
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    after: Annotated[str, typer.Option(metavar="CURSOR", help="Begin behind this.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, without --follow.")] = 100,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show entries of a channel, oldest first, one JSON object a line: one page with the cursor of the next, or all.

    With --json a page is one object. `coupons` is the channel on which pools tell that they run low.
    """
    with Client(find_data_dir(data, os.environ), tenant) as client:
        path = f"/v1/notices/{quoted(channel)}"
        if follow:
            _follow(client, path, after or "latest")
        page = NoticePage([], after, more=True)
        while page.more and len(page.items) < limit:
            wanted = min(_PAGE, limit - len(page.items))
            found = client.get(path, NoticePage, after=page.next, limit=wanted)
            page = NoticePage(page.items + found.items, found.next, found.more)
    if as_json:
        print_json(page)
        return
    for entry in page.items:
        print_line(msgspec.json.encode(entry.body).decode())
    more = " (more)" if page.more else ""
    print_line(f"{len(page.items)} entries{more}; next: --after {page.next}")


def _follow(client: Client, path: str, after: str) -> NoReturn:
    """Print what comes until the user interrupts, or the instance ends."""
    while True:
        try:
            page = client.get(path, NoticePage, after=after, limit=_PAGE, wait_ms=_WAIT_MS)
        except CapacityError as error:
            _pause(error.retry_after_s)
            continue
        for entry in page.items:
            print_line(msgspec.json.encode(entry.body).decode())
        after = page.next


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)
