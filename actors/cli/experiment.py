"""`veredus experiment`: how many contacts one takes, how those of an instance stand, a decision by hand."""

from __future__ import annotations

__all__ = ("app",)

import os
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from actors.text_file import read_text
from engine.errors import InputError

if TYPE_CHECKING:
    from actors.planning.experiments import ExperimentView

app = new_app("Plan experiments, report on them, decide by hand.")

_Place = Annotated[str, typer.Argument(metavar="SCENARIO/STEP", help="Which experiment.")]


class Plan(msgspec.Struct, frozen=True):
    """What an experiment takes. `contacts` are those who must enter it, the holdout's among them."""

    step: str
    metric: str
    method: str
    each: int  # contacts of each variant, the holdout aside
    contacts: int
    days: float | None = None  # until it is decided, at so many contacts a day


@app.callback()
def _experiment() -> None:
    """Plan experiments, report on them, decide by hand."""


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scenario's file.")],
    per_day: Annotated[
        float, typer.Option(metavar="N", help="So many contacts enter the scenario a day.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Tell how many contacts the experiments of a scenario take, and how long that is, before they start.

    A fixed test takes the contacts that finding its effect takes, with its power and confidence, and its time after
    the last of them. One by Thompson sampling has no such number: it ends when it knows.
    """
    from scenarios.checking import load
    from scenarios.experiments import experiments_of, needed

    found = []
    for one in experiments_of(load(read_text(file), str(file))):
        each, total = needed(one), sum(one.variants.values())
        least = min((one.variants[name] for name in one.tested), default=0)
        contacts = ceil(each * total / least) if each and least else 0
        days = contacts / per_day + one.within_ms / 86_400_000 if contacts and per_day else None
        method = one.deciding.method if one.deciding is not None else "none"
        found.append(Plan(one.step, one.metric, method, each, contacts, days))
    if not found:
        raise InputError(f"{file} has no experiment")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.step,
            one.metric,
            one.method,
            one.each or "",
            one.contacts or "",
            "" if one.days is None else f"{one.days:.1f}",
        )
        for one in found
    ]
    print_table("", ("step", "metric", "decided", "of each", "contacts", "days"), rows)


@app.command(name="list")
def list_(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List the experiments of the current versions."""
    from actors.planning.experiments import ExperimentList

    with Client(find_data_dir(data, os.environ), tenant) as client:
        told = client.get("/v1/experiments", ExperimentList)
    if as_json:
        print_json(told)
        return
    rows = [
        (
            f"{one.scenario}/{one.step}",
            one.state,
            one.winner,
            one.metric,
            sum(arm.contacts for arm in one.arms),
            one.needed * sum(arm.role != "holdout" for arm in one.arms) or "",
        )
        for one in told.experiments
    ]
    print_table("", ("experiment", "state", "winner", "metric", "contacts", "needed"), rows)


@app.command()
def show(place: _Place, tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Report on one: contacts and shares of each variant, differences, what was decided when and why."""
    from actors.planning.experiments import ExperimentView

    with Client(find_data_dir(data, os.environ), tenant) as client:
        told = client.get(_path(place), ExperimentView)
    _show(told, as_json)


@app.command()
def decide(
    place: _Place,
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="The winner.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes on record.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Decide by hand: contacts who come later get this variant, but for the holdout's share."""
    from actors.planning.experiments import ExperimentView

    body = msgspec.json.encode({"variant": variant, "reason": reason})
    with Client(find_data_dir(data, os.environ), tenant) as client:
        told = client.give("POST", f"{_path(place)}/decide", body, ExperimentView)
    _show(told, as_json)


def _path(place: str) -> str:
    scenario, slash, step = place.partition("/")
    if not slash:
        mend = "`veredus experiment list` names all"
        raise InputError(f"{place!r} isn't SCENARIO/STEP", mend=mend)
    return f"/v1/experiments/{quoted(scenario)}/{quoted(step)}"


def _show(told: ExperimentView, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    won = f", {told.winner} for contacts from now on" if told.winner else ""
    number = f"; needs {told.needed:,} of each" if told.needed else ""
    print_line(f"{told.scenario}/{told.step}: {told.state}{won}; {told.metric}{number}")
    rows = [
        (
            arm.variant,
            "out" if arm.dropped else arm.role,
            arm.contacts,
            f"{arm.converted.value:.2%} ({arm.converted.low:.2%} to {arm.converted.high:.2%})",
            _difference(arm.difference),
            "" if arm.p is None else f"{arm.p:.3g}",
            arm.complained,
            arm.unsubscribed,
        )
        for arm in told.arms
    ]
    columns = ("variant", "", "contacts", "share (95 %)", "to control", "p", "complained", "left")
    print_table("", columns, rows)
    for one in told.story:
        print_line(f"{clock(one.at)}  {one.what} ({one.actor})")


def _difference(told: tuple[float, float, float] | None) -> str:
    if told is None:
        return ""
    value, low, high = (100 * one for one in told)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
