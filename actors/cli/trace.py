"""`veredus trace`: what is said in single sessions, without secrets, content or mailboxes."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.client import find_data_dir
from actors.cli.options import AsJson, Data, new_app
from actors.cli.output import print_json, print_line
from engine.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deliverability.smtp.redaction import TraceLine

app = new_app("Show what is said in single sessions with a site, redacted.")

_POLL_S = 0.2
_QUIET_S = 2.0


@app.command()
def trace(
    site: Annotated[
        str, typer.Option("--site", help="A site, a host, or a domain (relay: in mode relay).")
    ],
    sessions: Annotated[int, typer.Option(min=1, max=100, help="How many to show.")] = 1,
    for_s: Annotated[
        float, typer.Option("--for", min=1, max=3600, help="Seconds to wait for them.")
    ] = 60.0,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Open one session now (EHLO, TLS, QUIT; no mail); no instance is needed.",
        ),
    ] = False,
    pool: Annotated[str, typer.Option(help="With --probe: whose sources are used.")] = "default",
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="With --probe.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the next sessions with a site; new ones only, so idle connections have to end first.

    Content is shown by its length, AUTH not at all, mailboxes by their domain. Exit status 1 when a probe failed, or
    no session came.
    """
    if probe:
        _probe(site, pool, config, as_json)
        return
    if not _attached(find_data_dir(data, os.environ), site, sessions, for_s, as_json):
        print_line(f"no session with {site} began within {for_s:g} s")
        raise typer.Exit(1)


def _probe(domain: str, pool: str, file: Path | None, as_json: bool) -> None:
    import uvloop

    from actors.config_file import load
    from actors.one_session import knock, way_to
    from actors.worker.tracing import SessionTap, TraceHead
    from deliverability.routing.hops import Hop
    from deliverability.routing.sources import SourceSpec
    from engine.errors import TransportError

    config = load(file, os.environ)

    def tap_of(route: str, _domain: str, source: SourceSpec, hop: Hop) -> SessionTap:
        now = time.time_ns() // 1_000_000
        head = TraceHead(route, source.name, hop.name, hop.address, hop.port, now)
        _show(msgspec.to_builtins(head), as_json)
        return SessionTap(show)

    def show(lines: Sequence[TraceLine]) -> None:
        for line in lines:
            _show(msgspec.to_builtins(line), as_json)

    async def run() -> str:
        try:
            way = await way_to(config, Path(config.data_dir), domain, pool, tap_of)
        except TransportError as error:
            return str(error)
        return await knock(way)

    why_not = uvloop.run(run())  # asyncio's own loop may hang in STARTTLS
    if why_not:
        print_line(why_not)
        raise typer.Exit(1)


def _attached(data_dir: Path, site: str, sessions: int, for_s: float, as_json: bool) -> int:
    """Ask the instance, and show what it writes. Returns how many sessions came."""
    from actors.worker.tracing import Wanted, trace_folder

    folder = trace_folder(data_dir)
    if not data_dir.is_dir():
        raise RefusedError(f"there is no data directory {data_dir}", mend="give --data, or --probe")
    folder.mkdir(mode=0o700, exist_ok=True)
    until = time.time() + for_s
    request, made = folder / "wanted.json", folder / "wanted.new"
    made.write_bytes(msgspec.json.encode(Wanted(site, sessions, int(until * 1000))))
    made.replace(request)
    shown: dict[Path, int] = {}
    try:
        _follow(folder, shown, sessions, until, as_json)
    finally:
        request.unlink(missing_ok=True)
        for file in shown:
            file.unlink(missing_ok=True)
    return len(shown)


def _follow(
    folder: Path, shown: dict[Path, int], sessions: int, until: float, as_json: bool
) -> None:
    """Show lines as they come, until the sessions that were asked for say no more."""
    news = time.monotonic()
    while time.time() < until:
        for file in sorted(folder.glob("*.jsonl")):
            if file not in shown and len(shown) >= sessions:
                continue
            raw = file.read_bytes()[shown.get(file, 0) :]
            whole = raw[: raw.rfind(b"\n") + 1]
            shown[file] = shown.get(file, 0) + len(whole)
            for line in whole.splitlines():
                news = time.monotonic()
                _show(msgspec.json.decode(line), as_json)
        if len(shown) >= sessions and time.monotonic() - news > _QUIET_S:
            return
        time.sleep(_POLL_S)


def _show(line: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(line)
    elif "direction" in line:
        print_line(f"{line['at_ms']:>7} ms {line['direction']} {line['text']}")
    else:
        source = line["source"] or "any source"
        where = f"{line['host']} [{line['address']}]:{line['port']}"
        print_line(f"{line['route']}: from {source} to {where}")
