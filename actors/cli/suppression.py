"""`veredus suppression`: whom no mail may go to. Add, remove, list, import, export, check."""

from __future__ import annotations

__all__ = ("app",)

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from actors.cli.client import Client, find_data_dir
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from actors.suppression.wire import Addition, Checked, EntryView, ListPage, Removal, Told
from deliverability.suppression.formats import (
    FORMS,
    Form,
    Listed,
    Mistake,
    read_list,
    write_list,
)
from engine.errors import InputError, Place

app = new_app("To whom no mail may go: add, remove, list, import, export, check.")

_BATCH = 1000
_PAGE = 2000
_DAY_MS = 86_400_000
_SHOWN = 20  # mistakes of an import that are told one by one
_Scope = Annotated[
    str,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="operator, tenant/T, stream/T/NAME or topic/T/NAME. Default: the tenant.",
    ),
]
_Why = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="Goes on record. No address in it.")
]
_Form = Annotated[
    str,
    typer.Option(
        "--form", metavar="FORM", help="csv, ses, sendgrid, mailgun, postmark, sparkpost."
    ),
]


@app.command("add")
def add_command(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS…]", help="ann@example.org, @example.org for a domain; - reads lines."
        ),
    ] = None,
    scope: _Scope = "",
    reason: Annotated[
        str, typer.Option("--reason", help="manual, spam-trap, complaint, …")
    ] = "manual",
    days: Annotated[
        int, typer.Option("--days", min=0, help="How long it holds; 0: until removed.")
    ] = 0,
    roles: Annotated[
        bool,
        typer.Option(
            "--roles", help="All role addresses (abuse@, postmaster@, …) of every domain."
        ),
    ] = False,
    why: _Why = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put addresses on the list. No mail to them begins later than 2 seconds after this returns."""
    expires = int(time.time() * 1000) + days * _DAY_MS if days else 0
    items = [
        Addition(address=one, scope=scope, reason=reason, source="cli", expires_ms=expires)
        for one in _given(addresses or ())
    ]
    with _client(data, tenant) as client:
        told = Told(0, 0)
        if roles:
            told = client.give("POST", _path("/roles", within=scope, reason=why), b"", Told)
        if items:
            more = _send(client, "POST", items, why)
            told = Told(told.addresses + more.addresses, more.version)
    _tell(told, "on the list", as_json=as_json)


@app.command("remove")
def remove_command(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS…", help="- reads lines.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="Only this one. Default: all.")
    ] = "",
    why: _Why = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take addresses off the list. Whoever complained or unsubscribed should not be taken off without their word."""
    items = [Removal(address=one, scope=scope) for one in _given(addresses)]
    with _client(data, tenant) as client:
        _tell(_send(client, "DELETE", items, why), "off the list", as_json=as_json)


@app.command("check")
def check_command(
    address: Annotated[str, typer.Argument(help="The address, or - for one on standard input.")],
    stream: Annotated[str, typer.Option("--stream", help="As a message of this stream.")] = "",
    topic: Annotated[str, typer.Option("--topic", help="As a message on this topic.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether mail may go to an address, and what says no. Exit status 1 when it may not."""
    asked = next(iter(_given([address])), "")
    body = msgspec.json.encode({"address": asked, "stream": stream, "topic": topic})
    with _client(data, tenant) as client:
        checked = client.give("POST", "/v1/suppressions/check", body, Checked)
    if as_json:
        print_json(checked)
    elif checked.suppressed:
        _table(checked.entries)
    else:
        print_line("Nothing on the list says no.")
    raise typer.Exit(1 if checked.suppressed else 0)


@app.command("list")
def list_command(
    reason: Annotated[str, typer.Option("--reason", help="Only this reason.")] = "",
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="Only this scope.")] = "",
    after: Annotated[
        str, typer.Option("--after", metavar="ID", help="Begin behind this one.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="At most so many.")] = 100,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List entries. Addresses are kept as keyed hashes; shown is the address only where the list keeps it sealed."""
    with _client(data, tenant) as client:
        query: dict[str, str | int] = {"after": after, "limit": limit, "why": reason}
        page = client.get("/v1/suppressions", ListPage, **query, within=scope)
    if as_json:
        print_json(page)
        return
    _table(page.items)
    if page.more:
        print_line(f"More: --after {page.next}")


@app.command("import")
def import_command(
    files: Annotated[list[Path], typer.Argument(help="Lists; - reads standard input.")],
    form: _Form = "csv",
    scope: _Scope = "",
    reason: Annotated[
        str, typer.Option("--reason", help="Where the list says none, such as for SendGrid's.")
    ] = "imported",
    why: _Why = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Import another sender's list. What can't be read is told and skipped; exit status 1 then. Safe to repeat."""
    checked = _form(form)
    mistakes: list[Mistake] = []
    taken, batch = 0, list[Addition]()
    with _client(data, tenant) as client:
        owner = client.get("/v1/suppressions", ListPage, limit=1).tenant
        record = why or f"import of {checked}"
        for item in _read(files, checked, owner, scope, reason):
            if isinstance(item, Mistake):
                mistakes.append(item)
                continue
            batch.append(item)
            if len(batch) >= _BATCH:
                taken += _send(client, "POST", batch, record).addresses
                batch.clear()
        taken += _send(client, "POST", batch, record).addresses
    if as_json:
        print_json({"taken": taken, "mistakes": mistakes[:1000], "skipped": len(mistakes)})
    else:
        typer.echo(f"{taken:,} on the list, {len(mistakes):,} skipped")
        for one in mistakes[:_SHOWN]:
            typer.echo(f"  line {one.line}: {one.detail}", err=True)
    raise typer.Exit(1 if mistakes else 0)


@app.command("export")
def export_command(
    form: _Form = "csv",
    reason: Annotated[str, typer.Option("--reason", help="Only this reason.")] = "",
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="Only this scope.")] = "",
    tenant: Tenant = "",
    data: Data = None,
) -> None:
    """Write the list in a form, to standard output. Entries whose address isn't kept are counted on standard error."""
    checked = _form(form)
    hidden = 0

    def entries() -> Iterator[Listed]:
        nonlocal hidden
        for one in _all(client, reason, scope):
            if not one.address:
                hidden += 1
                continue
            said = (one.reason, one.scope, one.source, one.evidence)
            yield Listed(one.address, *said, one.created_ms, one.expires_ms)

    with _client(data, tenant) as client:
        for piece in write_list(entries(), checked):
            sys.stdout.write(piece)
    if hidden:
        typer.echo(f"{hidden:,} entries are kept as hashes only and were left out", err=True)


# ---- inside


def _client(data: Path | None, tenant: str) -> Client:
    return Client(find_data_dir(data, os.environ), tenant)


def _given(addresses: Iterable[str]) -> Iterator[str]:
    for one in addresses:
        if one == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield one


def _path(end: str, **query: str) -> str:
    asked = urlencode({name: value for name, value in query.items() if value})
    return f"/v1/suppressions{end}" + (f"?{asked}" if asked else "")


def _send(client: Client, method: str, items: Sequence[Addition | Removal], why: str) -> Told:
    """Send in batches, each taken whole or not at all."""
    addresses = version = 0
    for first in range(0, len(items), _BATCH):
        body = msgspec.json.encode(items[first : first + _BATCH])
        told = client.give(method, _path("", reason=why), body, Told)
        addresses, version = addresses + told.addresses, told.version
    return Told(addresses, version)


def _all(client: Client, reason: str, scope: str) -> Iterator[EntryView]:
    after, more = "", True
    while more:
        query: dict[str, str | int] = {"after": after, "limit": _PAGE, "why": reason}
        page = client.get("/v1/suppressions", ListPage, **query, within=scope)
        yield from page.items
        after, more = page.next, page.more


def _read(
    files: Sequence[Path], form: Form, tenant: str, scope: str, reason: str
) -> Iterator[Addition | Mistake]:
    """Read lists; what the list itself says of scope and reason goes first."""
    for file in files:
        for item in read_list(_text(file), form, tenant, reason):
            if isinstance(item, Mistake):
                yield item
                continue
            yield Addition(
                address=item.address,
                scope=item.scope or scope,
                reason=item.reason,
                evidence=item.evidence,
                source=item.source or f"import:{form}",
                created_ms=item.created,
                expires_ms=item.expires,
            )


def _text(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(file=str(file))) from None


def _form(text: str) -> Form:
    for form in FORMS:
        if form == text:
            return form
    raise InputError(
        f"there is no form {text!r}", Place(path="--form"), f"one of {', '.join(FORMS)}"
    )


def _tell(told: Told, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_line(f"{told.addresses:,} {what}")


def _table(entries: Iterable[EntryView]) -> None:
    print_table(
        "Suppressed",
        ("id", "address", "scope", "reason", "source", "since", "until", "evidence"),
        [
            (
                one.id,
                one.address,
                one.scope,
                one.reason,
                one.source,
                clock(one.created_ms),
                clock(one.expires_ms or None),
                one.evidence,
            )
            for one in entries
        ],
    )
