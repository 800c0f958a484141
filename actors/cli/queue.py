"""`veredus queue`: what waits, and what is to be done with it; messages in doubt."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import ago, clock, print_json, print_line, print_table
from actors.health_views import WaitView
from actors.queues import (
    DoubtList,
    MarkView,
    QueueCommand,
    QueueDone,
    QueueList,
    QueueStory,
    Settled,
)
from engine.errors import InputError

app = new_app(
    "What waits, and what is to be done with it. A command is a mark: in force at once, however many messages it "
    "concerns; a sweep then touches each in the background. All are on record in the control log."
)
doubt = new_app("Messages held in doubt: begun, and nobody knows their reply.")
app.add_typer(doubt, name="doubt")

_POLL_S = 0.2

Campaign = Annotated[
    str, typer.Option(metavar="NAME", help="A campaign, a scenario, or scenario/step.")
]
Stream = Annotated[str, typer.Option(metavar="NAME", help="A stream.")]
Domain = Annotated[
    list[str] | None, typer.Option(metavar="DOMAIN", help="A recipient's domain; may be repeated.")
]
Site = Annotated[str, typer.Option(metavar="NAME", help="All domains that a site serves.")]
Pool = Annotated[str, typer.Option(metavar="NAME", help="A pool of sources.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything of the tenant.")]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; on record, and told as the cause. No address.")
]
Wait = Annotated[
    float, typer.Option("--wait", min=0, metavar="S", help="Wait so long until all are touched.")
]


@app.command("list")
def list_queues(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List queues (messages that wait for the same route), marks in force, and what is queued by stream."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/queues", QueueList)
    if as_json:
        print_json(found)
        return
    now = time.time_ns() // 1_000_000
    rows = [
        (
            line.message_class,
            line.pool,
            line.domain,
            line.state,
            f"{line.messages:,}{'+' if line.more else ''}",
            clock(line.oldest_ms) if line.oldest_ms else "",
            _until(line.wait.likely_ms, now) if line.wait is not None else "",
            _range(line.wait, now) if line.wait is not None else "",
            f"{line.wait.misses:,}" if line.wait is not None and line.wait.misses else "",
            line.wait.why if line.wait is not None else "",
        )
        for line in found.queues
    ]
    columns = ["class", "pool", "domain", "state", "messages", "oldest due"]
    if any(line.wait is not None for line in found.queues):
        columns += ["last goes in", "4 of 5 times", "expire first", "why"]
    print_table("Queues", columns, [row[: len(columns)] for row in rows])
    _print_marks(found.marks)
    for stream, number in found.queued.items():
        print_line(f"{stream}: {number:,} queued")
    if found.in_doubt:
        print_line(f"{found.in_doubt:,} held in doubt: veredus queue doubt list")


def _until(at_ms: int, now: int) -> str:
    return ago(max(at_ms - now, 0))


def _range(wait: WaitView, now: int) -> str:
    return f"{_until(wait.earliest_ms, now)} to {_until(wait.latest_ms, now)}"


@app.command()
def show(
    campaign: Campaign = "",
    stream: Stream = "",
    domain: Domain = None,
    site: Site = "",
    pool: Pool = "",
    rows_max: Annotated[
        int, typer.Option(min=1, help="Read at most so many rows a worker.")
    ] = 200_000,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a selection meets, before a command is given: by state and domain, and the oldest."""
    asked = {"campaign": campaign, "stream": stream, "domain": ",".join(domain or ())}
    asked |= {"site": site, "pool": pool}
    query = urlencode({name: value for name, value in asked.items() if value})
    path = f"/v1/queues/selection?rows_max={rows_max}" + (f"&{query}" if query else "")
    with Client(find_data_dir(data, os.environ), tenant, timeout_s=600) as client:
        story = client.get(path, QueueStory)
    if as_json:
        print_json(story)
        return
    print_line(f"{story.selection.words()}: {story.rows:,} rows read")
    if story.partial:
        print_line("Not all was read: there are more (--rows-max)")
    for state, number in story.states.items():
        print_line(f"{state}: {number:,}")
    print_table("Domains", ("domain", "messages"), list(story.domains.items()))
    rows = [
        (
            one.message_id,
            one.state,
            one.domain,
            one.stream,
            one.campaign,
            clock(one.due_ms),
            one.attempts,
        )
        for one in story.oldest
    ]
    header = ("message", "state", "domain", "stream", "campaign", "due", "attempts")
    print_table("The oldest", header, rows)


def _add(action: str, told: str) -> None:
    """Add a command that does one thing with a selection."""

    def act(
        campaign: Campaign = "",
        stream: Stream = "",
        domain: Domain = None,
        site: Site = "",
        pool: Pool = "",
        everything: Everything = False,
        reason: Reason = "",
        wait_s: Wait = 0.0,
        tenant: Tenant = "",
        data: Data = None,
        as_json: AsJson = False,
    ) -> None:
        command = _command(campaign, stream, domain, site, pool, everything, reason)
        _act(action, command, wait_s, tenant, data, as_json)

    app.command(action, help=told)(act)


_add(
    "suspend",
    "Hold messages back, those to come too, until `resume`. They expire when their time is over.",
)
_add(
    "drain",
    "Let out what is queued now, and hold back what comes later, until `resume`: before a change of a pool or site.",
)
_add(
    "cancel",
    "Cancel what is queued now. What is begun goes its way; nothing else is handed over any more.",
)
_add("bounce", "End what is queued now as bounced: it will never be taken there.")
_add("expire", "End what is queued now as expired: it is too late for it.")


@app.command()
def resume(
    campaign: Campaign = "",
    stream: Stream = "",
    domain: Domain = None,
    site: Site = "",
    pool: Pool = "",
    everything: Everything = False,
    mark: Annotated[int, typer.Option(metavar="N", help="This mark, as `list` shows it.")] = 0,
    reason: Reason = "",
    wait_s: Wait = 0.0,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Lift `suspend` and `drain`: of the same selection, of one mark, or all."""
    command = _command(campaign, stream, domain, site, pool, everything, reason)
    command = msgspec.structs.replace(command, mark=mark)
    _act("resume", command, wait_s, tenant, data, as_json)


@app.command()
def reroute(
    to_pool: Annotated[str, typer.Option(metavar="NAME", help="Whose sources send it now.")],
    campaign: Campaign = "",
    stream: Stream = "",
    domain: Domain = None,
    site: Site = "",
    pool: Pool = "",
    everything: Everything = False,
    reason: Reason = "",
    wait_s: Wait = 0.0,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let another pool send what is queued now. What is under way follows at its next attempt."""
    command = _command(campaign, stream, domain, site, pool, everything, reason)
    command = msgspec.structs.replace(command, to_pool=to_pool)
    _act("reroute", command, wait_s, tenant, data, as_json)


@doubt.command("list")
def list_doubts(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List messages held in doubt, the oldest first."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/doubts", DoubtList, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.message_id,
            one.contact,
            one.stream,
            one.domain,
            one.attempts,
            clock(one.accepted_ms),
            one.last,
        )
        for one in found.items
    ]
    header = ("message", "contact", "stream", "domain", "attempts", "accepted", "last")
    print_table("In doubt", header, rows)
    if found.more:
        print_line("There are more.")


@doubt.command("settle")
def settle(
    message_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[MESSAGE_ID]...", help="As `list` shows them.")
    ] = None,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send again, at the price of a possible duplicate.")
    ] = False,
    delivered: Annotated[bool, typer.Option("--delivered", help="Take it for delivered.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All that are in doubt now.")] = False,
    reason: Reason = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give the word on messages in doubt: to send them again, or to take them for delivered."""
    if resend == delivered:
        raise InputError("what became of them is missing", mend="say --resend or --delivered")
    if bool(message_ids) == everything:
        raise InputError("which messages is missing", mend="give ids, or --all")
    body = msgspec.json.encode({"resend": resend, "reason": reason})
    failed = 0
    with Client(find_data_dir(data, os.environ), tenant) as client:
        for name in message_ids or _all_doubts(client):
            told = client.give("POST", f"/v1/doubts/{quoted(name)}", body, Settled)
            failed += not told.done
            if as_json:
                print_line(msgspec.json.encode(told).decode())
            else:
                print_line(
                    f"{told.message_id}: {told.state}{'' if told.done else ' (not in doubt)'}"
                )
    if failed:
        raise typer.Exit(1)


def _all_doubts(client: Client) -> Iterator[str]:
    """Give them page by page: those that are settled leave the list, those that can't be stay at its head."""
    given: set[str] = set()
    while True:
        found = client.get("/v1/doubts", DoubtList, limit=1000)
        fresh = [one.message_id for one in found.items if one.message_id not in given]
        yield from fresh
        given.update(fresh)
        if not fresh or not found.more:
            return


def _command(
    campaign: str,
    stream: str,
    domain: list[str] | None,
    site: str,
    pool: str,
    everything: bool,
    reason: str,
) -> QueueCommand:
    return QueueCommand(
        campaign=campaign,
        stream=stream,
        domain=domain or [],
        site=site,
        pool=pool,
        everything=everything,
        reason=reason,
    )


def _act(
    action: str, command: QueueCommand, wait_s: float, tenant: str, data: Data, as_json: bool
) -> None:
    with Client(find_data_dir(data, os.environ), tenant) as client:
        body = msgspec.json.encode(command)
        done = client.give("POST", f"/v1/queues/{action}", body, QueueDone)
        swept = _await_sweep(client, done, wait_s) if wait_s else None
    if as_json:
        print_json(done)
    elif done.lifted:
        print_line(f"{done.selection.words()}: lifted {', '.join(map(str, done.lifted))}")
    else:
        told = "" if swept is None else ", all touched" if swept else ", not all touched yet"
        print_line(f"{action} {done.selection.words()}: in force as mark {done.number}{told}")
    if swept is False:
        raise typer.Exit(1)


def _await_sweep(client: Client, done: QueueDone, wait_s: float) -> bool:
    """Wait until every message has looked at the mark."""
    deadline = time.monotonic() + wait_s
    while True:
        marks = client.get("/v1/queues", QueueList).marks
        if all(mark.swept for mark in marks if mark.number <= (done.number or 1 << 62)):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def _print_marks(marks: list[MarkView]) -> None:
    if not marks:
        return
    rows = [
        (
            mark.number,
            mark.action + (f" to {mark.to_pool}" if mark.to_pool else ""),
            mark.selection.words(),
            clock(mark.at_ms),
            mark.actor,
            mark.reason,
            "yes" if mark.swept else "under way",
        )
        for mark in marks
    ]
    header = ("mark", "what", "of", "since", "who", "why", "swept")
    print_table("Marks in force", header, rows)
