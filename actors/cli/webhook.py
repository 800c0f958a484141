"""`veredus webhook`: outcomes, and calls of scenarios, brought to endpoints of one's own."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line
from actors.webhooks.signing import make_secret
from actors.webhooks.views import EndpointView, WebhookTried, WebhookView
from engine.errors import InputError, Place

app = new_app(
    "Outcomes and calls of scenarios brought to endpoints of yours, signed (Standard Webhooks). Set [tenant.webhook] "
    "and [tenant.endpoint.NAME] in the configuration."
)

_SECRET_BYTES = 32


@app.command("test")
def post_test(
    endpoint: Annotated[
        str,
        typer.Argument(metavar="[ENDPOINT]", help="One that scenarios call. Default: outcomes'."),
    ] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Post a signed test event now. Exit status 1 when it isn't answered with 2xx."""
    path = "/v1/webhook/test" + (f"?endpoint={quoted(endpoint)}" if endpoint else "")
    with Client(find_data_dir(data, os.environ), tenant) as client:
        tried = client.give("POST", path, b"", WebhookTried)
    if as_json:
        print_json(tried)
    else:
        answer = f"{tried.status or 'no answer'} {tried.reason}".strip()
        print_line(f"{'taken' if tried.taken else 'not taken'}: {answer}, {tried.took_ms} ms")
    if not tried.taken:
        raise typer.Exit(1)


@app.command()
def status(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Tell how it stands: what was taken, what waits, the last failure."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        view = client.get("/v1/webhook", WebhookView)
    if as_json:
        print_json(view)
        return
    if view.url:
        _show(EndpointView("outcomes", **{k: getattr(view, k) for k in _OF_OUTCOMES}))
    for one in view.endpoints:
        _show(one)


_OF_OUTCOMES = tuple(name for name in WebhookView.__struct_fields__ if name != "endpoints")


def _show(one: EndpointView) -> None:
    print_line(f"{one.name}: {one.url}")
    last = f", the last {clock(one.last_delivered_ms)}" if one.last_delivered_ms else ""
    more = f"; {one.refused:,} refused" if one.refused else ""
    more += f"; {one.dropped:,} no longer wanted" if one.dropped else ""
    print_line(f"  {one.delivered:,} taken{last}; {one.given_up:,} given up{more}")
    since = f" since {clock(one.oldest_ms)}" if one.oldest_ms is not None else ""
    print_line(f"  {one.waiting:,} wait{since}")
    if one.last_failure:
        print_line(f"  last failure {clock(one.last_failure_ms)}: {one.last_failure}")


@app.command()
def secret(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there, readable by its owner alone."),
    ] = None,
) -> None:
    """Make a secret; both ends keep it."""
    made = make_secret(os.urandom(_SECRET_BYTES))
    if out is None:
        print_line(made)
        return
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"can't be made: {error.strerror}", Place(file=str(out))) from None
    with os.fdopen(file, "w") as writer:
        writer.write(made + "\n")
