"""`veredus demo`: the main job on generated purchases, with a report and an inbox at the end."""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import AsJson, new_app

app = new_app("Run the main job on generated purchases, and show it.")


@app.command()
def demo(
    events: Annotated[
        Path | None,
        typer.Option("--events", help="Your own log (NDJSON) instead of the generated one."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data directory. Default: ./.veredus.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path(
        "veredus-report.html"
    ),
    contacts: Annotated[int, typer.Option(min=1, help="Contacts in the generated log.")] = 600,
    days: Annotated[int, typer.Option(min=1, help="Days in the generated log.")] = 90,
    seed: Annotated[int, typer.Option(help="Of the generated log and of the twins.")] = 7,
    workers: Annotated[int, typer.Option(help="How many; 0: one a core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Generate a shop's log, replay it with real mail to twins of providers, and leave a report and an inbox."""
    from actors.cli.output import print_line
    from actors.cli.replaying import configured, lived, summarise, write_page
    from actors.demo.content import FROM_DOMAIN, scenario_files, templates
    from actors.demo.generator import DemoSettings, write_log
    from actors.demo.guide import guide
    from actors.replay.reading import open_log
    from actors.replay.run import ReplayOptions, read_scenarios
    from deliverability.twin.presets import twin_of

    config = configured(None, data, workers, FROM_DOMAIN)
    folder = Path(config.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    log = events
    if log is None:
        log = folder / "demo.ndjson"
        write_log(DemoSettings(contacts=contacts, days=days, seed=seed), log)
    options = ReplayOptions(
        config=config,
        log=open_log(log),
        scenarios=read_scenarios(scenario_files()),
        templates=templates(),
        twin=twin_of("mixed", seed=seed),
        seed=seed,
    )
    done = lived(options)
    write_page(done, options, report, "The demo: a record shop's first months")
    summarise(done, as_json=as_json)
    if not as_json:
        print_line("")
        print_line(guide(report.absolute(), folder))
