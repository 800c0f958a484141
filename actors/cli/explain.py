"""`veredus explain`: a message's story, or what was decided about a contact and its journeys."""

from __future__ import annotations

__all__ = ("app",)

import os
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from actors.backend import Explanation, MessageView
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import InputError

if TYPE_CHECKING:
    from actors.planning.desk import Decisions

app = new_app("Tell a message's story, or what was decided about a contact.")

_MESSAGE_ID = re.compile(r"[0-9a-f]{32}")


@app.command()
def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A message's id (32 hexadecimal digits), or a contact's."
        ),
    ],
    contact: Annotated[
        bool, typer.Option("--contact", help="It is a contact's id, whatever it looks like.")
    ] = False,
    journey: Annotated[
        str, typer.Option(metavar="ID", help="Of a contact: what concerns this journey alone.")
    ] = "",
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Of a contact: not before this time; RFC 3339.")
    ] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell why: a message's story, or each decision about a contact.

    Of a message: what led to it, what was decided, what became of each attempt. Of a contact: which version of a
    scenario decided, which values a condition looked at, which branch was taken, which number was drawn.
    """
    with Client(find_data_dir(data, os.environ), tenant) as client:
        if contact or journey or not _MESSAGE_ID.fullmatch(what):
            _explain_contact(client, what, journey, _since_ms(since), as_json)
            return
        story = client.get(f"/v1/messages/{quoted(what)}/explain", Explanation)
    if as_json:
        print_json(story)
        return
    print_line(summary(story.message))
    rows = [
        (
            clock(line.at_ms),
            line.what,
            msgspec.json.encode(line.detail).decode() if line.detail else "",
        )
        for line in story.lines
    ]
    print_table("", ("time", "what", "detail"), rows)


def _since_ms(text: str) -> int:
    from datetime import datetime

    if not text:
        return 0
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise InputError(f"`{text[:40]}` is no time", mend="write `2027-03-20T09:00Z`") from None


def _explain_contact(
    client: Client,
    contact: str,
    journey: str,
    since: int,
    as_json: bool,
) -> None:
    from actors.planning.desk import Decisions

    path = f"/v1/contacts/{quoted(contact)}/decisions"
    found = client.get(path, Decisions, since=since, journey=journey)
    if as_json:
        print_json(found)
    else:
        print_table("", ("time", "by", "what", "detail"), _rows(found))


def _rows(found: Decisions) -> list[tuple[str, str, str, str]]:
    rows = []
    for one in found.decisions:
        first = (clock(one.at), one.what)
        for fact, detail in one.facts or [("", {})]:
            rows.append((*first, fact, _told(detail)))
            first = ("", "")
    return rows


def _told(detail: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for key, value in detail.items()
    )


def summary(message: MessageView) -> str:
    """Tell in one line where a message stands."""
    cause = f" ({message.cause})" if message.cause else ""
    origin = f", scenario {message.scenario}, step {message.step}" if message.scenario else ""
    return (
        f"Message {message.message_id} to contact {message.contact}: {message.state}{cause}, "
        f"{message.attempts} attempts, stream {message.stream}, template {message.template}{origin}"
    )
