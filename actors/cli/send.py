"""`veredus send`: one message, and what became of it."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
import typer

from actors.backend import MessageView
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.explain import summary
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line
from engine.errors import CapacityError, InputError, Place

app = new_app("Send one message and tell its fate.")

_POLL_S_MIN = 0.05
_POLL_S_MAX = 1.0
_SUCCESSES = frozenset({"delivered"})


class _Accepted(msgspec.Struct, frozen=True):
    message_id: str
    status: Literal["accepted", "repeated"]


@app.command()
def send(
    template: Annotated[str, typer.Option(help="Name of a published template.")],
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Default: the contact's own.")] = "",
    contact: Annotated[str, typer.Option(metavar="ID", help="Default: made from --to.")] = "",
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; may be repeated.")
    ] = None,
    variables: Annotated[
        str, typer.Option(metavar="JSON", help="All variables as one object.")
    ] = "",
    stream: Annotated[str, typer.Option(help="Its policy applies.")] = "transactional",
    key: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Idempotency key: the same again sends nothing twice."),
    ] = "",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for its end.")
    ] = 30.0,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send one message and tell its fate. Exit status 1 when it wasn't delivered in time."""
    if not to and not contact:
        raise InputError("whom to write to is missing", mend="give --to ADDRESS or --contact ID")
    body = {
        "contact": contact or _contact_of(to),
        "template": template,
        "variables": _variables(variables, var or []),
        "stream": stream,
        "address": to,
    }
    with Client(find_data_dir(data, os.environ), tenant) as client:
        accepted = client.give(
            "POST",
            "/v1/messages",
            msgspec.json.encode(body),
            _Accepted,
            Idempotency_Key=key or os.urandom(16).hex(),
        )
        view = _await_end(client, accepted.message_id, wait_s)
    if as_json:
        print_json(view)
    else:
        print_line(summary(view) + (f": {view.reply}" if view.reply else ""))
        if not view.final:
            print_line(f"Not at its end yet: veredus explain {view.message_id}")
    if view.state not in _SUCCESSES:
        raise typer.Exit(1)


def _contact_of(address: str) -> str:
    """Make a contact's id from an address, without containing it."""
    return f"address-{blake2b(address.lower().encode(), digest_size=10).hexdigest()}"


def _variables(text: str, pairs: list[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"isn't a JSON object: {error}", Place(path="--variables")) from None
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"expected NAME=VALUE, got {pair!r}", Place(path="--var"))
        found[name] = value
    return found


def _await_end(client: Client, message_id: str, wait_s: float) -> MessageView:
    """Ask, at growing intervals, until nothing more will be tried or the time is over."""
    deadline = time.monotonic() + wait_s
    pause = _POLL_S_MIN
    while True:
        try:
            view = client.get(f"/v1/messages/{quoted(message_id)}", MessageView)
            if view.final or time.monotonic() >= deadline:
                return view
        except CapacityError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(_POLL_S_MAX, pause * 1.5)
