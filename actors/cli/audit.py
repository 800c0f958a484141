"""`veredus audit`: who changed what, when and why; whether the chain of hashes and the conservation law hold."""

from __future__ import annotations

__all__ = ("app",)

import os
import sys
import time
from typing import Annotated

import msgspec
import typer

from actors.backend import AuditEntry, AuditPage, Conservation
from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import DamageError, StoreError

app = new_app("Show the control log and the conservation law, and check both.")

_DIGEST_CHARS = 12
_POLL_S = 0.1


class _Audit(AuditPage, frozen=True):
    """What `--json` prints: the page of the control log, and the law beside it."""

    conservation: Conservation | None = None


@app.command()
def audit(
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Begin behind this record.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    recount: Annotated[
        bool, typer.Option("--recount", help="Count everything stored, and compare.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show records of the control log, oldest first, and the conservation law.

    Exit status 1 when the chain of hashes is broken, the law doesn't hold, or a recount differs from the counters.
    """
    with Client(find_data_dir(data, os.environ)) as client:
        page = client.get("/v1/audit", AuditPage, after=after, limit=limit)
        conservation = _counted(client) if recount else _ask(client, "no")
    if as_json:
        print_json(_Audit(**msgspec.structs.asdict(page), conservation=conservation))
    else:
        _print_log(page)
        _print_law(conservation)
    _judge(page, conservation)


def _ask(client: Client, recount: str) -> Conservation:
    return client.get("/v1/conservation", Conservation, recount=recount)


def _counted(client: Client) -> Conservation:
    """Let everything be counted, which may take minutes and holds nothing up; tells how far it is on a terminal."""
    told = _ask(client, "start")
    shows = sys.stderr.isatty()
    while told.recount.state == "running":
        time.sleep(_POLL_S)
        told = _ask(client, "last")
        if shows:
            sys.stderr.write(f"\rcounting: {told.recount.rows:,} rows")
    if shows:
        sys.stderr.write("\n")
    return told


def _print_log(page: AuditPage) -> None:
    print_table(
        "Control log",
        ("seq", "time", "who", "what", "subject", "tenant", "before", "after", "why"),
        [_row(entry) for entry in page.items],
    )
    state = f"broken at record {page.broken_at}" if not page.intact else "intact"
    print_line(f"Chain {state}; newest hash {page.head or '(none)'}")
    if page.more:
        print_line(f"More: --after {page.items[-1].seq}")


def _print_law(told: Conservation) -> None:
    recount = told.recount
    rows = []
    for owner in sorted({**told.law, **recount.law}):
        counts, anew = told.law.get(owner, {}), recount.law.get(owner, {})
        for bucket in sorted({**counts, **anew}, key=lambda name: (name != "accepted", name)):
            row: tuple[object, ...] = (owner, bucket, counts.get(bucket, 0))
            rows.append((*row, anew.get(bucket, 0)) if recount.state == "done" else row)
    columns = ("tenant/stream", "bucket", "counters")
    more = ("counted anew",) if recount.state == "done" else ()
    print_table("Conservation law", (*columns, *more), rows)
    print_line("The law holds." if told.holds else "THE LAW DOESN'T HOLD.")
    if recount.state == "done":
        agrees = "agrees with" if recount.agrees else "DIFFERS FROM"
        print_line(
            f"A recount of {recount.entities:,} entities ({recount.took_ms / 1000:.1f} s) {agrees} the counters."
        )
    for finding in recount.findings:
        print_line(f"  {finding}")


def _judge(page: AuditPage, told: Conservation) -> None:
    if not page.intact:
        raise DamageError(f"the control log was altered at record {page.broken_at}")
    if not told.holds:
        raise DamageError("the conservation law doesn't hold by the counters")
    if told.recount.state == "failed":
        reason = "; ".join(told.recount.findings)
        raise StoreError(f"the recount came to no end, ask for another: {reason}")
    if told.recount.state == "done" and not told.recount.agrees:
        raise DamageError("a recount differs from the counters")


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
