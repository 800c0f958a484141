"""`veredus scenario simulate`: what a scenario will do, before the first mail leaves."""

from __future__ import annotations

__all__ = ("add_commands",)

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

_CONTACTS_MAX = 100_000_000
_LOGGED_MAX = 1_000_000


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to `veredus scenario`."""
    app.command("simulate")(simulate_scenario)


def simulate_scenario(
    file: Annotated[
        Path, typer.Argument(help="A scenario file, a folder with one, or a name of the library.")
    ],
    *,
    contacts: Annotated[
        int, typer.Option(min=1, max=_CONTACTS_MAX, help="How many contacts.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance; the same gives the same.")] = 0,
    days: Annotated[int, typer.Option(min=0, help="Days; 0: as the behaviour file says.")] = 0,
    behaviour: Annotated[
        Path | None,
        typer.Option(help="How contacts behave. Default: `behaviour.yaml` beside the scenario."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="An event log; figures of behaviour are measured on it.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", help="What the columns of the history mean (TOML).")
    ] = None,
    twins: Annotated[
        bool, typer.Option("--twins", help="Let twins of providers answer, with their quotas.")
    ] = False,
    twin_config: Annotated[
        Path | None, typer.Option(help="The twins (TOML). Default: presets by domain.")
    ] = None,
    warmup: Annotated[
        int, typer.Option(min=0, help="A new source: so many mails on its first day; 0: none.")
    ] = 0,
    processes: Annotated[
        int, typer.Option(min=0, max=1024, help="How many; 0: one a core. No result depends on it.")
    ] = 0,
    log: Annotated[
        Path | None, typer.Option(help="Write what contacts do as an event log (NDJSON).")
    ] = None,
    sent: Annotated[
        Path | None, typer.Option(help="With --log: write one line a mail handed over (NDJSON).")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a whole audience through a scenario in virtual time: the production machines, simulated contacts.

    How contacts behave stands in `behaviour.yaml`: what they do of themselves, and how they answer mail. With --history
    its figures are measured on an event log. The same seed gives the same report, byte for byte. docs/simulation.md.
    """
    import msgspec

    from actors.cli.proving import scenario_file
    from actors.simulation.run import Options, read_setting, simulate, write_trace

    setting = read_setting(
        scenario_file(file), behaviour=behaviour, twin=twin_config, seed=seed, days=days
    )
    fitted: tuple[str, ...] = ()
    if history is not None:
        from actors.simulation.history import fit_history

        setting, fitted = fit_history(setting, history, mapping)
    if log is not None:
        if contacts > _LOGGED_MAX:
            raise typer.BadParameter(
                f"at most {_LOGGED_MAX:,} contacts are logged", param_hint="--log"
            )
        rows = write_trace(setting, contacts, log, sent)
        typer.echo(f"wrote {rows:,} events to {log}", err=True)
    options = Options(
        contacts=contacts, twins=twins, processes=processes, warmup=warmup, fitted=fitted
    )
    with _progress(contacts) as progress:
        report = simulate(setting, options, progress)
    if html is not None:
        from actors.simulation.page import render

        html.write_text(render(report), encoding="utf-8")
        typer.echo(f"wrote {html}", err=True)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        from actors.simulation.showing import shown

        typer.echo(shown(report))


@contextmanager
def _progress(contacts: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many contacts are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as display:
        task = display.add_task("contacts", total=contacts)

        def done(number: int) -> None:
            display.update(task, completed=number)

        yield done
