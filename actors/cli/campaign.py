"""`veredus campaign`: one send to a segment as of a moment, from its creation to its report."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from actors.text_file import read_text
from engine.errors import RefusedError

if TYPE_CHECKING:
    from actors.planning.campaigns import CampaignReport

app = new_app("Send once to a segment: create, test, start, pause, cancel, report.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record. No address in it.")]
_LOOK_S = 0.5


@app.callback()
def _campaign() -> None:
    """Send once to a segment: create, test, start, pause, cancel, report."""


@app.command()
def create(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A campaign file; docs/campaigns.md.")
    ],
    reason: _Reason = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Create a campaign, or replace one that wasn't started. Nothing is sent before `start`."""
    from actors.planning.campaigns import CampaignReport

    body = msgspec.json.encode({"text": read_text(file), "file": str(file), "reason": reason})
    with Client(find_data_dir(data, os.environ), tenant) as client:
        made = client.give("POST", "/v1/campaigns", body, CampaignReport)
    if as_json:
        print_json(made)
    else:
        whom = f"segment {made.segment}" if made.segment else "all contacts"
        print_line(f"campaign {made.name} to {whom}; `veredus campaign start {made.name}`")


@app.command(name="test")
def send_test(
    name: _Name,
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="WHO", help="A contact or an address; may be repeated."),
    ],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send each variant now to some contacts or addresses, outside of the campaign and its counts."""
    from actors.planning.desk import Tested

    with Client(find_data_dir(data, os.environ), tenant) as client:
        path = f"/v1/campaigns/{quoted(name)}/test"
        told = client.give("POST", path, msgspec.json.encode({"to": to}), Tested)
    if as_json:
        print_json(told)
        return
    rows = [(who, message) for who, message in told.messages.items()]
    print_table("", ("to, variant", "message"), [*rows, *told.refused.items()])


def _steer(
    name: str,
    action: str,
    asked: dict[str, str],
    tenant: str,
    data: Path | None,
    as_json: bool,
) -> None:
    from actors.planning.campaigns import CampaignReport

    with Client(find_data_dir(data, os.environ), tenant) as client:
        path = f"/v1/campaigns/{quoted(name)}/{action}"
        steered = client.give("POST", path, msgspec.json.encode(asked), CampaignReport)
    if as_json:
        print_json(steered)
    else:
        _tell(steered)


@app.command()
def start(
    name: _Name,
    reason: _Reason = "",
    override: Annotated[
        str,
        typer.Option(metavar="WHY", help="Start it though preflight blocks it; goes on record."),
    ] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start a campaign: now, or at the time in its file. Its templates must pass preflight (but to a twin)."""
    asked = {"reason": reason} | ({"override": override} if override else {})
    _steer(name, "start", asked, tenant, data, as_json)


def _add(action: str, told: str) -> None:
    """Add a command that steers a campaign."""

    def steer(
        name: _Name,
        reason: _Reason = "",
        tenant: Tenant = "",
        data: Data = None,
        as_json: AsJson = False,
    ) -> None:
        _steer(name, action, {"reason": reason}, tenant, data, as_json)

    app.command(action, help=told)(steer)


_add("pause", "Hold a campaign: its fan-out, its waits, and its mail that isn't begun.")
_add("resume", "Let a paused campaign go on; mail that was held asks again within four minutes.")
_add("cancel", "End a campaign: what isn't begun is cancelled, what is under way goes its way.")


@app.command()
def status(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Default: all campaigns.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show where campaigns stand, or one of them."""
    from actors.planning.campaigns import CampaignReport
    from actors.planning.desk import CampaignList

    with Client(find_data_dir(data, os.environ), tenant) as client:
        if name:
            told = client.get(f"/v1/campaigns/{quoted(name)}", CampaignReport)
            if as_json:
                print_json(told)
            else:
                _tell(told)
            return
        found = client.get("/v1/campaigns", CampaignList)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.name,
            f"{one.state}, paused" if one.paused else one.state,
            one.segment or "all contacts",
            clock(one.start_at or None),
        )
        for one in found.campaigns
    ]
    print_table("", ("campaign", "state", "to", "starts"), rows)


@app.command()
def report(
    name: _Name,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finished.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --wait: how long at most.")
    ] = 3600.0,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a campaign came to, so far or in the end. Exit status 1 if it doesn't add up."""
    from actors.planning.campaigns import CampaignReport

    deadline = time.monotonic() + timeout
    with Client(find_data_dir(data, os.environ), tenant) as client:
        while True:
            told = client.get(f"/v1/campaigns/{quoted(name)}", CampaignReport)
            if told.finished or not wait:
                break
            if time.monotonic() > deadline:
                raise RefusedError(f"campaign {name} isn't finished: {_line(told)}")
            time.sleep(_LOOK_S)
    if as_json:
        print_json(told)
    else:
        _show(told)
    if not told.adds_up:
        raise typer.Exit(1)


def _line(told: CampaignReport) -> str:
    state = f"{told.state}, paused" if told.paused else told.state
    why = f" ({told.why})" if told.why else ""
    delivered = told.ends.get("delivered", 0)
    return (
        f"{told.name}: {state}{why}; {told.given:,} given, {told.sent:,} sent, {delivered:,} delivered, "
        f"{told.under_way + told.waiting:,} under way"
    )


def _tell(told: CampaignReport) -> None:
    print_line(_line(told))
    for line in told.outlook:
        print_line(f"  {line}")


def _show(told: CampaignReport) -> None:
    _tell(told)
    rows: list[tuple[str, int]] = [("given", told.given), ("  entered", told.entered)]
    rows += [(f"  refused: {reason}", number) for reason, number in told.refused.items()]
    rows += [("sent", told.sent)]
    rows += [(f"not sent: {reason}", number) for reason, number in told.unsent.items()]
    rows += [(f"left before: {reason}", number) for reason, number in told.left.items()]
    rows += [(f"  {end}", number) for end, number in told.ends.items()]
    rows += [("waiting", told.waiting), ("under way", told.under_way)]
    rows += [("opened", told.opened), ("clicked", told.clicked)]
    rows += [("complained", told.complained), ("unsubscribed", told.unsubscribed)]
    print_table("", ("", "contacts"), rows)
    if len(told.parts) > 1:
        parts = [
            (step, part.sent, part.delivered, part.opened, part.clicked)
            for step, part in told.parts.items()
        ]
        print_table("By step", ("step", "sent", "delivered", "opened", "clicked"), parts)
    story = [(clock(one.at), one.what, one.actor) for one in told.story]
    print_table("", ("time", "what", "by"), story)
    if not told.adds_up:
        print_line("It doesn't add up.")
