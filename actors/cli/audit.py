"""`veredus audit`: who changed what, when and why; and whether the chain of hashes holds."""

from __future__ import annotations

__all__ = ("app",)

import os
from typing import Annotated

import typer

from actors.backend import AuditEntry, AuditPage
from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import DamageError

app = new_app("Show the control log and check its chain.")

_DIGEST_CHARS = 12


@app.command()
def audit(
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Begin behind this record.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show records of the control log, oldest first. Exit status 1 when its chain of hashes is broken."""
    with Client(find_data_dir(data, os.environ)) as client:
        page = client.get("/v1/audit", AuditPage, after=after, limit=limit)
    if as_json:
        print_json(page)
    else:
        print_table(
            "Control log",
            ("seq", "time", "who", "what", "subject", "tenant", "before", "after", "why"),
            [_row(entry) for entry in page.items],
        )
        state = f"broken at record {page.broken_at}" if not page.intact else "intact"
        print_line(f"Chain {state}; newest hash {page.head or '(none)'}")
        if page.more:
            print_line(f"More: --after {page.items[-1].seq}")
    if not page.intact:
        raise DamageError(f"the control log was altered at record {page.broken_at}")


def _row(entry: AuditEntry) -> tuple[object, ...]:
    return (
        entry.seq,
        clock(entry.at_ms),
        entry.actor,
        entry.action,
        entry.subject,
        entry.tenant,
        entry.before[:_DIGEST_CHARS],
        entry.after[:_DIGEST_CHARS],
        entry.reason,
    )
