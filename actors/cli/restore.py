"""`veredus restore`: bring a deployment back from a copy, into an empty data directory or an empty Redis."""

from __future__ import annotations

__all__ = ("app",)

import os
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_line, progress

app = new_app("Bring a deployment back from a copy.")


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="PLACE", help="Where `veredus backup` put it.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Says where it goes. Default: ./veredus.toml."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Stores to make in RocksDB; 0: as there were.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Load all rows and files of a copy, compare them with its digests, and say so last of all."""
    from actors.cli.homes import empty_home, held, settled
    from actors.config_file import load
    from actors.operations.backup import open_place, read_manifest
    from actors.operations.backup import restore as load_all

    settings = load(config, os.environ)
    folder = Path(settings.data_dir)
    place = open_place(source)
    manifest = read_manifest(place)
    stores = workers or settings.workers.count or manifest.feeds or 1
    with held(folder):
        with (
            empty_home(settings, manifest.partitions, stores) as home,
            progress("loading") as seen,
        ):
            done = load_all(place, manifest, home, folder, seen)
        settled(settings, manifest.partitions, stores)
    if as_json:
        print_json(done)
    else:
        print_line(
            f"{done.partitions} partitions, {done.rows:,} rows and {done.files} files are in {folder}"
        )
