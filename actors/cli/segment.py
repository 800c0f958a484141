"""`veredus segment`: check, publish, list, refresh, count."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line, print_table
from actors.text_file import read_text

app = new_app("Check, publish, list and count segments.")

_Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record. No address in it.")]


@app.callback()
def _segment() -> None:
    """Check, publish, list and count segments."""


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Segment files.")],
    types: Annotated[
        Path | None, typer.Option(help="The tenant's type schema of contacts and events.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report every mistake of segment files. Exit status 2 if there is one."""
    from scenarios.segments import check_segment
    from scenarios.types import read_types

    schema, mistakes = read_types(read_text(types), str(types)) if types is not None else (None, [])
    for file in files:
        mistakes += check_segment(read_text(file), str(file), schema)
    if as_json:
        print_json({"files": [str(file) for file in files], "mistakes": mistakes})
    else:
        for mistake in mistakes:
            typer.echo(str(mistake), err=True)
    if mistakes:
        raise typer.Exit(2)
    if not as_json:
        print_line(f"{len(files)} without mistakes")


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Segment files.")],
    reason: _Reason = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Publish segments; a run looks at every contact, and opens nothing by it."""
    from actors.planning.desk import RunList

    runs = []
    with Client(find_data_dir(data, os.environ), tenant) as client:
        for file in files:
            body = {"text": read_text(file), "file": str(file), "reason": reason}
            runs += client.give("POST", "/v1/segments", msgspec.json.encode(body), RunList).runs
    if as_json:
        print_json(RunList(runs))
        return
    for run in runs:
        print_line(f"{run.subject} is published; run {run.id} looks at every contact")
    if not runs:
        print_line("all are current already")


@app.command(name="list")
def list_segments(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List segments, with how many contacts are in each."""
    from actors.planning.desk import Segments

    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/segments", Segments)
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.contacts, one.when, one.description) for one in found.segments]
    print_table("", ("segment", "contacts", "when", ""), rows)


@app.command()
def refresh(
    reason: _Reason = "", tenant: Tenant = "", data: Data = None, as_json: AsJson = False
) -> None:
    """Look at every contact anew, and open what changes say: windows and scores that time alone has changed."""
    from actors.planning.runs import Run

    with Client(find_data_dir(data, os.environ), tenant) as client:
        body = msgspec.json.encode({"reason": reason})
        run = client.give("POST", "/v1/segments/refresh", body, Run)
    if as_json:
        print_json(run)
    else:
        print_line(f"run {run.id} looks at every contact")


@app.command()
def recount(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Count all segments anew over a snapshot of the stores, in a process of its own.

    `differ` are contacts for whom the condition now says something else than what is kept: time alone has changed
    it. `veredus segment refresh` looks at them anew.
    """
    from actors.planning.recount import Done

    with Client(find_data_dir(data, os.environ), tenant, timeout_s=3600.0) as client:
        done = client.give("POST", "/v1/segments/recount", b"", Done)
    if as_json:
        print_json(done)
        return
    rows = [(one.name, one.holds, one.stored, one.differ) for one in done.segments]
    print_table("", ("segment", "holds for", "kept", "differ"), rows)
    print_line(f"{done.contacts:,} contacts in {done.wall_s:.1f} s")


@app.command()
def count(
    when: Annotated[str, typer.Argument(metavar="CONDITION", help="A condition over contact.")],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Count the contacts for whom a condition holds now; nothing is published."""
    from actors.planning.desk import Members

    with Client(find_data_dir(data, os.environ), tenant) as client:
        body = msgspec.json.encode({"when": when})
        found = client.give("POST", "/v1/segments/count", body, Members)
    if as_json:
        print_json(found)
    else:
        print_line(f"{found.inside:,} of {found.contacts:,} contacts")
