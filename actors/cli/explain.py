"""`veredus explain`: a message's story."""

from __future__ import annotations

__all__ = ("app",)

import os
from typing import Annotated

import msgspec
import typer

from actors.backend import Explanation, MessageView
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table

app = new_app("Tell a message's story.")


@app.command()
def explain(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="32 hexadecimal digits.")],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell a message's story: what led to it, what was decided and why, what became of each attempt."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        story = client.get(f"/v1/messages/{quoted(message_id)}/explain", Explanation)
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


def summary(message: MessageView) -> str:
    """Tell in one line where a message stands."""
    cause = f" ({message.cause})" if message.cause else ""
    origin = f", scenario {message.scenario}, step {message.step}" if message.scenario else ""
    return (
        f"Message {message.message_id} to contact {message.contact}: {message.state}{cause}, "
        f"{message.attempts} attempts, stream {message.stream}, template {message.template}{origin}"
    )
