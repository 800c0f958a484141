"""`veredus health`: how each source is doing at each provider, what is limited, and why."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import ago, print_json, print_line, print_table
from actors.health_views import HealthLine, HealthView, Imported
from engine.errors import InputError, Place

app = new_app(
    "How each source is doing at each provider: score, pace, deferrals, blocks, complaints; what is limited, and why."
)

_EXPORT_BYTES = 16 << 20


@app.callback(invoke_without_command=True)
def health(
    context: typer.Context,
    provider: Annotated[
        str, typer.Option(metavar="NAME", help="Only this provider, with all that is known of it.")
    ] = "",
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page, with curves of a day and a month."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show health. The worst comes first; a score below 70 wants a look, below 40 pacing slows down by itself."""
    if context.invoked_subcommand is not None:
        return
    with Client(find_data_dir(data, os.environ)) as client:
        asked = {"curves": "true"} if html is not None else {}
        view = client.get("/v1/health/lanes", HealthView, **asked)
    lines = [one for one in view.lines if provider in ("", one.provider)]
    if html is not None:
        from actors.health_page.page import write_page

        write_page(msgspec.structs.replace(view, lines=lines), html)
    if as_json:
        print_json(view if not provider else lines)
        return
    if not view.is_paced:
        print_line("Mail isn't paced (pacing.mode); what follows is what feedback counted.")
    if not lines:
        print_line(
            "Nothing was sent yet." if not provider else f"Nothing is known of {provider!r}."
        )
        return
    _table(lines)
    if provider:
        for one in lines:
            _detail(one, view.at_ms)
        return
    for text in view.limited:
        print_line(f"  {text}")
    if html is not None:
        print_line(f"Wrote {html}")


@app.command("import")
def import_export(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="Exports: JSON or CSV."),
    ],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take over what Google Postmaster Tools (JSON or CSV) or Microsoft SNDS (CSV) say of us. Safe to repeat."""
    taken = 0
    with Client(find_data_dir(data, os.environ)) as client:
        for path in files:
            with path.open("rb") as file:
                raw = file.read(_EXPORT_BYTES + 1)
            if len(raw) > _EXPORT_BYTES:
                raise InputError("the export is longer than 16 MiB", Place(str(path)))
            asked = urlencode({"file": path.name})
            told = client.give("POST", f"/v1/health/exports?{asked}", raw, Imported, "text/plain")
            taken += told.taken
    if as_json:
        print_json(Imported(taken))
        return
    print_line(f"{taken:,} lines taken over")


def _table(lines: list[HealthLine]) -> None:
    rows = []
    for one in lines:
        lane = one.lane
        complained = sum(line.complained for line in one.streams)
        rows.append(
            (
                _score(one.score),
                one.provider,
                one.source or "default",
                lane.phase if lane is not None else "",
                f"{lane.per_hour:,.0f}" if lane is not None else "",
                f"{lane.hour.delivered:,}" if lane is not None else "",
                f"{lane.hour.deferred:,}" if lane is not None else "",
                f"{lane.day.bounced:,}" if lane is not None else "",
                f"{lane.day.blocked:,}" if lane is not None else "",
                f"{complained:,}",
                lane.connections if lane is not None else "",
                one.reasons[0].says if one.reasons else "",
            )
        )
    columns = (
        "score",
        "provider",
        "source",
        "phase",
        "per hour",
        "sent/h",
        "deferred/h",
        "bounced/d",
        "blocked/d",
        "complaints/d",
        "conns",
        "why",
    )
    print_table("Health", columns, rows)


def _detail(one: HealthLine, now: int) -> None:
    print_line("")
    for reason in one.reasons:
        print_line(f"  -{reason.takes:<3} {reason.says}")
    for line in one.streams:
        print_line(
            f"  {line.tenant} {line.stream}: {line.delivered:,} delivered, {line.deferred:,} deferred, "
            f"{line.bounced:,} bounced, {line.complained:,} complained, {line.unsubscribed:,} unsubscribed in a day"
        )
    lane = one.lane
    if lane is None:
        return
    print_line(f"  {lane.phase} for {ago(now - lane.since_ms)}: {lane.reason}")
    if lane.ceiling is not None:
        print_line(f"  ceiling found: {lane.ceiling:,.0f} an hour, stopped {lane.trips} times")
    if lane.hour.causes:
        print_line(
            f"  of late: {', '.join(f'{n:,} {cause}' for cause, n in lane.hour.causes.items())}"
        )
    if lane.greylist != "none":
        print_line(f"  greylisting: {lane.greylist}, wants {ago(lane.greylist_delay_ms)}")
    if lane.warmup is not None:
        warm = lane.warmup
        print_line(
            f"  warm-up: {warm.phase}, day {warm.day}, {warm.used:,} of {warm.volume:,} used: {warm.reason}"
        )
    if lane.eta_told:
        print_line(
            f"  waiting times: {lane.eta_held} of {lane.eta_told} fell into their 80 % interval"
        )
    for path in lane.paths:
        print_line(f"  {path.site}: {path.connections} connections")
        for limit in path.limits:
            print_line(f"    {limit.name} = {limit.value}  ({limit.place})")
        for hold in path.holds:
            print_line(f"    {hold}")


def _score(score: int) -> str:
    """Put a score into a word, too: colours don't survive a pipe."""
    return f"{score:>3} {'bad' if score < 40 else 'poor' if score < 70 else 'good'}"
