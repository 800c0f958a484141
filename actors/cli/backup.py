"""`veredus backup`: a verified copy of a whole deployment, down or running, in a folder or in object storage."""

from __future__ import annotations

__all__ = ("app",)

import contextlib
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_line, progress

app = new_app("Copy a deployment, and read the copy back.")


@app.command()
def backup(
    to: Annotated[
        str, typer.Argument(metavar="PLACE", help="A folder, or s3://, gs://, az:// bucket/prefix.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="Default: ./veredus.toml.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="While the instance runs, as of one moment.")
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="HOST:PORT",
            help="With --live on Redis: a server that was a replica, and follows nobody now.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Copy rows, catalog, blobs, ledgers and control log of one moment; it counts once it was read back."""
    from actors.cli.homes import held, home_of, live_home_of
    from actors.config_file import load
    from actors.operations.backup import back_up, open_place

    settings = load(config, os.environ)
    folder = Path(settings.data_dir)
    holding = contextlib.nullcontext() if live else held(folder)
    home_is = live_home_of(settings, server) if live else home_of(settings)
    with holding, home_is as home, progress("copying") as seen:
        place = open_place(to, make=True)
        done = back_up(home, folder, place, time.time_ns() // 1_000_000, seen)
    if as_json:
        print_json(done)
    else:
        print_line(
            f"{done.partitions} partitions, {done.rows:,} rows, {done.files} files, {done.bytes:,} bytes "
            f"are in {to}, and read back as written"
        )
