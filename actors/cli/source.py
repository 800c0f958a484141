"""`veredus source`: the addresses that mail comes from; take one out, bring it back."""

from __future__ import annotations

__all__ = ("app",)

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import InputError, Place

if TYPE_CHECKING:
    from engine.config import Config

app = new_app("Show sources; take one out, bring it back.")

_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Default: ./veredus.toml.")
]
_DURATION = re.compile(r"([1-9][0-9]{0,5})(m|h|d)")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class SourceLine(msgspec.Struct, frozen=True):
    """A source, its pools with weights, and why it is out (`until` 0: until it is brought back)."""

    name: str
    address: str
    ehlo_name: str
    proxy: str
    pools: dict[str, int]
    out: str = ""
    since: int = 0
    until: int = 0


@app.command("list")
def list_sources(config: _Config = None, as_json: AsJson = False) -> None:
    """Show the sources of the configuration, and which are out by command."""
    from actors.source_state import read_absences

    found = _load(config)
    out = read_absences(Path(found.data_dir))
    now = time.time_ns() // 1_000_000
    lines = []
    for source in found.source:
        absence = out.get(source.name)
        present = absence is None or absence.over(now)
        pools = {
            pool.name: member.weight
            for pool in found.pool
            for member in pool.members
            if member.source == source.name
        }
        line = SourceLine(
            source.name,
            source.address,
            source.ehlo_name or found.delivery.ehlo_name,
            source.proxy,
            pools if found.pool else {"default": 1},
        )
        if absence is not None and not present:
            line = msgspec.structs.replace(
                line, out=absence.reason, since=absence.since, until=absence.until
            )
        lines.append(line)
    if as_json:
        print_json(lines)
        return
    rows = [
        (
            line.name,
            line.address or "any",
            line.ehlo_name,
            line.proxy,
            " ".join(f"{name}:{weight}" for name, weight in line.pools.items()) or "none",
            f"out: {line.out}" + (f", until {clock(line.until)}" if line.until else "")
            if line.out
            else "in",
        )
        for line in lines
    ]
    print_table("", ("source", "address", "EHLO", "proxy", "pools", "state"), rows)


@app.command("out")
def take_out(
    name: Annotated[str, typer.Argument(help="Of the source.")],
    reason: Annotated[str, typer.Option(help="Shown by `list`.")] = "by command",
    for_: Annotated[
        str, typer.Option("--for", metavar="2h", help="Minutes, hours, days; default: until `in`.")
    ] = "",
    config: _Config = None,
) -> None:
    """Take a source out: within a second or two no new connection comes from it, and open ones end politely."""
    from actors.source_state import read_absences, write_absences
    from deliverability.routing.sources import Absence

    found = _load(config)
    _known(found, name)
    now = time.time_ns() // 1_000_000
    until = now + _duration_ms(for_) if for_ else 0
    folder = Path(found.data_dir)
    out = {key: one for key, one in read_absences(folder).items() if not one.over(now)}
    write_absences(folder, {**out, name: Absence(reason or "by command", now, until)})
    print_line(f"{name} is out" + (f" until {clock(until)}" if until else ""))


@app.command("in")
def bring_in(
    name: Annotated[str, typer.Argument(help="Of the source.")], config: _Config = None
) -> None:
    """Bring a source back."""
    from actors.source_state import read_absences, write_absences

    found = _load(config)
    _known(found, name)
    folder = Path(found.data_dir)
    out = read_absences(folder)
    out.pop(name, None)
    write_absences(folder, out)
    print_line(f"{name} is in")


def _load(file: Path | None) -> Config:
    from actors.config_file import load

    return load(file, os.environ)


def _known(config: Config, name: str) -> None:
    names = [source.name for source in config.source]
    if name not in names:
        listed = ", ".join(names) or "there are none"
        raise InputError(f"there is no source {name!r}", Place(path="source"), f"known: {listed}")


def _duration_ms(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InputError(f"expected 30m, 2h or 1d, got {text!r}", Place(path="--for"))
    return int(found.group(1)) * _UNIT_MS[found.group(2)]
