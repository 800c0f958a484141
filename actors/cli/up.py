"""`veredus up`: run an instance until SIGTERM drains it."""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import new_app
from actors.cli.output import print_line

app = new_app("Run an instance until SIGTERM: intake by HTTP, partitions, egress, metrics.")


@app.command()
def up(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration. Default: ./veredus.toml if it is there."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data directory. Default: ./.veredus.")
    ] = None,
    scenarios: Annotated[
        Path | None,
        typer.Option(help="Folder of scenarios. Default: `scenarios` beside the configuration."),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="Folder of templates. Default: `templates` beside the configuration."),
    ] = None,
    twin: Annotated[
        str, typer.Option(help="In mode `twin`: a preset, or a file of yours (`.toml`).")
    ] = "plain",
    workers: Annotated[int, typer.Option(help="How many; 0: as configured.")] = 0,
) -> None:
    """Run an instance: scenarios and templates are published, then events come in by HTTP and mail goes out."""
    from actors.cli.replaying import configured
    from actors.instance.up import UpOptions, run

    made = configured(config, data, workers)
    beside = (config or Path("veredus.toml")).parent
    options = UpOptions(
        config=made,
        scenarios=scenarios or beside / "scenarios",
        templates=templates or beside / "templates",
        twin=twin,
    )
    run(options, print_line)
