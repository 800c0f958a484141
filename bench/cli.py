"""`veredus bench CASE`: measure, then a table, JSON, or a page with charts. Progress goes to standard error."""

from __future__ import annotations

__all__ = ("app",)

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_table
from bench.cases import CASES, measure
from bench.frame import Report, say
from engine.errors import InputError, VeredusError
from engine.settings_text import did_you_mean

STORES = ("rocksdb", "redis")

app = new_app("Measure against ceilings.")


@app.command()
def bench(
    case: Annotated[str, typer.Argument(help=f"One of {', '.join(CASES)}, or all.")],
    quick: Annotated[bool, typer.Option("--quick", help="Within a minute; rougher.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts.")] = None,
    flame: Annotated[
        Path | None,
        typer.Option(
            "--flame", help="Of pipeline: write what the workers did, for speedscope.app."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is generated.")] = 1,
    store: Annotated[
        str, typer.Option(help="redis: `events` is measured over a Redis of its own too.")
    ] = "rocksdb",
    as_json: AsJson = False,
) -> None:
    """Measure a case and the ceiling it is held against, alternating; `all` runs every case in turn."""
    if case != "all" and case not in CASES:
        near = did_you_mean(case, [*CASES, "all"])
        mend = near or f"there are {', '.join(CASES)} and all"
        raise InputError(f"there is no case {case!r}", mend=mend)
    if store not in STORES:
        raise InputError(f"there is no store {store!r}", mend=f"one of {', '.join(STORES)}")
    if flame is not None and case != "pipeline":
        raise InputError("--flame is of the case pipeline", mend="veredus bench pipeline --flame F")
    names = list(CASES) if case == "all" else [case]
    reports = []
    for name in names:
        say(f"{name}: {CASES[name]}")
        alone = case != "all"
        reports.append(
            measure(name, quick=quick, seed=seed, store=store, flame=flame)
            if alone
            else _apart(name, quick=quick, seed=seed)
        )
    if html is not None:
        from bench.page import page

        html.write_text(page(reports, datetime.now(UTC)), encoding="utf-8")
        say(f"written to {html}")
    if as_json:
        print_json(reports[0] if case != "all" else _joined(reports))
    else:
        for report in reports:
            _print(report)


def _apart(case: str, *, quick: bool, seed: int) -> Report:
    """Run a case in a process of its own, so that one doesn't feel what another left behind."""
    command = [sys.executable, "-m", "bench", case, "--json", "--seed", str(seed)]
    root = Path(__file__).resolve().parent.parent
    flags = ["--quick"] if quick else []
    done = subprocess.run([*command, *flags], stdout=subprocess.PIPE, check=False, cwd=root)
    if done.returncode:
        raise VeredusError(f"the case {case} ended with status {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Report)


def _joined(reports: list[Report]) -> Report:
    """Make one object of all cases."""
    first = reports[0]
    return Report(
        case="all",
        results=[result for report in reports for result in report.results],
        machine=first.machine,
        versions=first.versions,
        settings={report.case: report.settings for report in reports},
        calibration=first.calibration,
    )


def _print(report: Report) -> None:
    rows = [
        (one.name, one.ratio, one.value, one.unit, one.min, one.max, one.ceiling)
        for one in report.results
    ]
    print_table(report.case, ("figure", "ratio", "median", "unit", "min", "max", "ceiling"), rows)
