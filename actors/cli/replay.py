"""`veredus replay`: an event log through scenarios, in its own time, with mail that is really sent."""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import AsJson, new_app

app = new_app(
    "Run an event log through scenarios, in its own time; mail goes to twins unless configured."
)


@app.command()
def replay(
    events: Annotated[
        Path, typer.Argument(metavar="EVENTS", help="NDJSON or CSV, may be gzipped.")
    ],
    scenario: Annotated[
        list[Path], typer.Option("--scenario", help="A scenario; may be repeated.")
    ],
    mapping: Annotated[
        Path | None, typer.Option("--map", help="What the columns mean (TOML).")
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="Folder of templates. Default: `templates` beside the scenarios."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration. Default: ./veredus.toml if it is there."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data directory. Default: ./.veredus.")
    ] = None,
    sent: Annotated[
        Path | None, typer.Option(help="Write one line a message sent (NDJSON).")
    ] = None,
    received: Annotated[
        Path | None, typer.Option(help="Write one line a mail that the twin accepted (NDJSON).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report (HTML, and JSON beside it).")
    ] = None,
    twin: Annotated[
        str,
        typer.Option(
            help="A twin: `mixed`, `plain`, `gmail-like`, …, or a file of yours (`.toml`)."
        ),
    ] = "mixed",
    every_mail: Annotated[
        bool, typer.Option("--every-mail", help="The twin takes every mail in the end.")
    ] = False,
    twin_pace: Annotated[
        int,
        typer.Option(
            metavar="MS",
            min=0,
            max=60_000,
            help="So long the twin thinks before it answers a mail.",
        ),
    ] = 0,
    workers: Annotated[int, typer.Option(help="How many; 0: as configured.")] = 0,
    split: Annotated[
        bool, typer.Option("--split", help="Let an actor of its own send: roles are split.")
    ] = False,
    kills: Annotated[int, typer.Option(help="Kill workers so many times on the way.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the twin's chance, and of the kills.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run EVENTS through the scenarios. Time is the log's; after the last event it goes on until nothing is due."""
    from actors.cli.replaying import (
        configured,
        demand_kills,
        lived,
        split_roles,
        summarise,
        write_page,
    )
    from actors.replay.mapping import load_mapping
    from actors.replay.reading import open_log
    from actors.replay.run import ReplayOptions, read_scenarios, templates_for
    from actors.twin.choosing import twin_named

    made = configured(config, data, workers)
    if split:
        made = split_roles(made)
    options = ReplayOptions(
        config=made,
        log=open_log(events, load_mapping(mapping) if mapping is not None else None),
        scenarios=read_scenarios(scenario),
        templates=templates_for(scenario, templates, made),
        twin=twin_named(twin, seed=seed, every_mail_in_the_end=every_mail, pace_ms=twin_pace),
        sent=sent,
        received=received,
        kills=kills,
        seed=seed,
    )
    done = lived(options)
    if report is not None:
        write_page(done, options, report, "Replay")
    summarise(done, as_json=as_json)
    demand_kills(done.kills, kills)
