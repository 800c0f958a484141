"""`veredus scenario simulate` and `backtest`: what a scenario will do, and what it would have done."""

from __future__ import annotations

__all__ = ("add_commands",)

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.moving import Places, Policy, Spread, read_moving

if TYPE_CHECKING:
    from actors.simulation.change import Change
    from actors.simulation.run import Options
    from actors.simulation.world import Setting

_CONTACTS_MAX = 100_000_000
_LOGGED_MAX = 1_000_000


_Scenario = Annotated[
    Path, typer.Argument(help="A scenario file, a folder with one, or a name of the library.")
]
_Map = Annotated[
    Path | None, typer.Option("--map", help="What the columns of the history mean (TOML).")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to `veredus scenario`."""
    app.command("simulate")(simulate_scenario)
    app.command("backtest")(backtest_scenario)


def simulate_scenario(
    file: _Scenario,
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
    mapping: _Map = None,
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
    replacing: Annotated[
        Path | None,
        typer.Option(
            metavar="OLD",
            help="The version that is live: tell what this one does to those under way.",
        ),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="With --replacing: when it is published, `2026-03-17 09:00` UTC. Default: midway.",
        ),
    ] = "",
    policy: Policy = "stay",
    place: Places = None,
    spread: Spread = "1h",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts.")] = None,
    json: _Json = False,
) -> None:
    """Run a whole audience through a scenario in virtual time: the production machines, simulated contacts.

    How contacts behave stands in `behaviour.yaml`: what they do of themselves, and how they answer mail. With --history
    its figures are measured on an event log. The same seed gives the same report, byte for byte. docs/simulation.md.

    With --replacing each contact under way lives twice, with the change and without it: where journeys go, who gets
    more or less mail, what goes in the first hour.
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
    if replacing is not None:
        if twins or warmup:
            name = "--twins" if twins else "--warmup"
            raise typer.BadParameter("doesn't go with --replacing", param_hint=name)
        change = _change(setting, scenario_file(replacing), on, read_moving(policy, place, spread))
        _live_change(setting, change, options, html, json=json)
        return
    with _progress(contacts) as progress:
        report = simulate(setting, options, progress)
    if html is not None:
        from actors.simulation.page import render

        _write_page(html, render(report))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        from actors.simulation.showing import shown

        typer.echo(shown(report))


def _change(setting: Setting, file: Path, on: str, moving: dict[str, Any]) -> Change:
    """Read the live version and what becomes of its journeys. Raises: InputError."""
    from actors.planning.versions import proposed_places
    from actors.simulation.change import change_of
    from actors.text_file import read_text
    from scenarios.checking import load
    from scenarios.migration import Migration

    before = load(read_text(file), str(file))
    places = proposed_places(before, setting.scenario, moving["places"])
    migration = Migration(moving["policy"], places)
    return change_of(setting, before, on, migration, moving["spread_ms"])


def _live_change(
    setting: Setting, change: Change, options: Options, html: Path | None, *, json: bool
) -> None:
    import msgspec

    from actors.simulation.change_page import change_shown, render_change
    from actors.simulation.run import simulate_change

    with _progress(options.contacts) as progress:
        report = simulate_change(setting, change, options, progress)
    if html is not None:
        _write_page(html, render_change(report))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        typer.echo(change_shown(report))


def _write_page(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8")
    typer.echo(f"wrote {path}", err=True)


def backtest_scenario(
    file: _Scenario,
    *,
    history: Annotated[Path, typer.Option(help="An event log: NDJSON or CSV, may be gzipped.")],
    mapping: _Map = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Another scenario that runs too; may be repeated."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="Caps and quiet hours: a tenant's contact_file (TOML).")
    ] = None,
    sent: Annotated[
        Path | None, typer.Option(help="Write one line a mail that would have gone (NDJSON).")
    ] = None,
    json: _Json = False,
) -> None:
    """Run what really happened through a scenario: what it would have sent, to whom, compared with the history.

    Time is the log's, the machines are those of production, nothing is sent. If the log has mail (`mail.sent`,
    `mail.delivered`), the mails of both are compared by contact and day. docs/simulation.md.
    """
    import msgspec

    from actors.cli.proving import scenario_file
    from actors.simulation.history import backtest_history

    found, mails = backtest_history(
        scenario_file(file),
        history,
        mapping,
        beside=[scenario_file(one) for one in beside or ()],
        settings=settings,
    )
    if sent is not None:
        encode = msgspec.json.Encoder().encode
        sent.write_bytes(b"".join(encode(one) + b"\n" for one in mails))
        typer.echo(f"wrote {len(mails):,} mails to {sent}", err=True)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        from actors.simulation.showing import backtest_shown

        typer.echo(backtest_shown(found))


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
