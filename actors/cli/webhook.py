"""`veredus webhook`: outcomes brought to an endpoint of one's own."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line
from actors.webhooks.signing import make_secret
from actors.webhooks.views import WebhookTried, WebhookView
from engine.errors import InputError, Place

app = new_app(
    "Outcomes brought to an endpoint of yours, signed (Standard Webhooks). Set [tenant.webhook] in the configuration."
)

_SECRET_BYTES = 32


@app.command("test")
def post_test(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Post a signed test event now. Exit status 1 when it isn't answered with 2xx."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        tried = client.give("POST", "/v1/webhook/test", b"", WebhookTried)
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
    print_line(view.url)
    last = f", the last {clock(view.last_delivered_ms)}" if view.last_delivered_ms else ""
    print_line(f"{view.delivered:,} taken{last}; {view.given_up:,} given up")
    since = f" since {clock(view.oldest_ms)}" if view.oldest_ms is not None else ""
    print_line(f"{view.waiting:,} wait{since}")
    if view.last_failure:
        print_line(f"last failure {clock(view.last_failure_ms)}: {view.last_failure}")


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
