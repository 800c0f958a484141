"""`veredus coupons`: pools of codes, each given once."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from actors.coupon_views import CodeView, Pools, PoolView
from actors.text_file import read_text
from engine.errors import InputError, Place

app = new_app("Pools of coupon codes, each given once (step `coupon`).")

_Pool = Annotated[str, typer.Argument(metavar="POOL", help="The pool's name.")]
_LOT = 5_000
_CODE_CHARS_MAX = 100


@app.command("import")
def import_codes(
    pool: _Pool,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One code a line.")],
    low: Annotated[
        int | None,
        typer.Option(min=0, help="Tell when so many are left (`veredus notices coupons`)."),
    ] = None,
    expires: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="Give none from then on, such as 2027-01-31T20:00+01:00."
        ),
    ] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put codes into a pool, which is made if there is none. Safe to repeat: no code is in it twice, or given twice."""
    codes = list(_codes(file))
    view, until = None, _moment(expires)
    with Client(find_data_dir(data, os.environ), tenant) as client:
        for first in range(0, len(codes), _LOT):
            lot = {"codes": codes[first : first + _LOT], "low": low, "expires_at": until}
            body = msgspec.json.encode(lot)
            view = client.give("POST", f"/v1/coupons/{quoted(pool)}", body, PoolView)
    assert view is not None, "an empty file is a mistake"
    _show(view, as_json)


def _moment(text: str) -> str | None:
    """Check a time with its zone; a date alone is taken for its end in UTC. Raises: InputError."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None and len(text) == len("2027-01-31"):
        at = (at + timedelta(days=1)).replace(tzinfo=UTC)
    if at is None or at.tzinfo is None:
        mend = "write 2027-01-31 (to its end, UTC) or 2027-01-31T20:00+01:00"
        raise InputError(f"{text!r} is no time with a zone", mend=mend)
    return at.isoformat()


def _codes(file: Path) -> list[str]:
    """Read the codes. Raises: InputError: a line is none, or there is none at all."""
    codes = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        code = line.strip()
        if not code:
            continue
        if len(code) > _CODE_CHARS_MAX or any(one.isspace() for one in code):
            mend = f"one code a line, without spaces, at most {_CODE_CHARS_MAX} characters"
            raise InputError("this is no code", Place(str(file), number), mend)
        codes.append(code)
    if not codes:
        raise InputError("there is no code in it", Place(str(file)), "write one a line")
    return codes


@app.command("list")
def list_pools(tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """List the pools: those that were filled, and those that published scenarios take from."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/coupons", Pools)
    if as_json:
        print_json(found)
        return
    now = time.time_ns() // 1_000_000
    rows = [
        (
            one.pool,
            one.added,
            one.given,
            one.left,
            clock(one.expires_ms) if one.expires_ms else "",
            one.trouble(now),
        )
        for one in found.pools
    ]
    print_table("", ("pool", "codes", "given", "left", "expires", ""), rows)


@app.command()
def status(pool: _Pool, tenant: Tenant = "", data: Data = None, as_json: AsJson = False) -> None:
    """Tell how many codes a pool had, gave and has left."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        view = client.get(f"/v1/coupons/{quoted(pool)}", PoolView)
    _show(view, as_json)


@app.command()
def close(
    pool: _Pool,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes on record.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a pool give nothing more, until codes are imported again."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        body = msgspec.json.encode({"reason": reason})
        view = client.give("POST", f"/v1/coupons/{quoted(pool)}/close", body, PoolView)
    _show(view, as_json)


@app.command()
def who(
    pool: _Pool,
    code: Annotated[str, typer.Argument(metavar="CODE", help="A code of it.")],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell to whom a code was given, when and by which step."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        view = client.get(f"/v1/coupons/{quoted(pool)}/codes/{quoted(code)}", CodeView)
    if as_json:
        print_json(view)
    elif view.at_ms is None:
        print_line("given to nobody yet")
    else:
        holder = view.holder or "(erased)"
        print_line(f"{holder}, {clock(view.at_ms)}, by {view.scenario} {view.step}")


def _show(view: PoolView, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    closed = ", closed" if view.closed else ""
    print_line(f"{view.pool}: {view.left:,} left of {view.added:,}, {view.given:,} given{closed}")
    if view.expires_ms:
        print_line(f"  gives none from {clock(view.expires_ms)} on")
    if view.low:
        print_line(f"  tells when {view.low:,} are left")
    if view.known:
        print_line(f"  {view.known:,} codes came again and weren't added")
    if view.refused:
        print_line(f"  {view.refused:,} asked in vain")
