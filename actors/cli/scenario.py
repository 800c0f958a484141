"""`veredus scenario`: check, test, show and compare scenario files, and begin one from the library."""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli.publishing import add_publishing
from actors.cli.simulating import add_commands
from actors.text_file import read_text

if TYPE_CHECKING:
    from scenarios.mistakes import Mistake
    from scenarios.model import Scenario
    from scenarios.proof.suite import Proof
    from scenarios.types import TypeSchema

app = typer.Typer(
    name="scenario", help="Check, test, show and compare scenarios.", no_args_is_help=True
)

_Files = Annotated[list[Path], typer.Argument(help="Scenario files (YAML).", metavar="FILE...")]
_File = Annotated[Path, typer.Argument(help="A scenario file (YAML).")]
_Types = Annotated[
    Path | None, typer.Option("--types", help="The tenant's type schema of contacts and events.")
]
_Folder = Annotated[
    Path | None,
    typer.Option("--templates", metavar="DIR", help="Check the templates that steps send, too."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _types_from(path: Path | None) -> TypeSchema | None:
    """Read the type schema; its mistakes are shown, and end the command."""
    from scenarios.types import read_types

    if path is None:
        return None
    types, mistakes = read_types(read_text(path), str(path))
    _stop_at(mistakes)
    return types


def _stop_at(mistakes: list[Mistake]) -> None:
    for mistake in mistakes:
        typer.echo(str(mistake), err=True)
    if mistakes:
        raise typer.Exit(2)


def _mistakes_of(path: Path, types: TypeSchema | None) -> list[Mistake]:
    from engine.errors import InputError
    from scenarios.checking import check
    from scenarios.mistakes import Mistake

    try:
        return check(read_text(path), str(path), types)
    except InputError as error:
        return [Mistake(str(path), 0, 0, "", error.message, error.mend)]


def _mistakes_of_templates(
    files: list[Path], folder: Path, types: TypeSchema | None
) -> list[Mistake]:
    from actors.publishing import templates_beside
    from actors.template_uses import template_mistakes
    from engine.config import Tenant
    from engine.errors import InputError
    from scenarios.mistakes import Mistake

    try:
        templates = templates_beside([], folder, Tenant(from_address="news@example.net"))
        return [
            mistake
            for path in files
            for mistake in template_mistakes(
                read_text(path),
                str(path),
                templates,
                types,
                mend_absent="add its files to the folder",
            )
        ]
    except InputError as error:
        return [Mistake(error.place.file or str(folder), 0, 0, "", error.message, error.mend)]


def _mistakes_of_endpoints(files: list[Path], config: Path) -> list[Mistake]:
    import os

    from actors.config_file import load
    from actors.endpoint_uses import endpoint_mistakes
    from engine.errors import UserError
    from scenarios.mistakes import Mistake

    try:
        known = {name for tenant in load(config, os.environ).tenant for name in tenant.endpoint}
        return [
            mistake
            for path in files
            for mistake in endpoint_mistakes(read_text(path), str(path), known)
        ]
    except UserError as error:
        return [Mistake(error.place.file or str(config), 0, 0, "", error.message, error.mend)]


def _load_or_exit(path: Path) -> Scenario:
    from engine.errors import InputError
    from scenarios.checking import examine

    try:
        scenario, mistakes = examine(read_text(path), str(path))
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    _stop_at(mistakes)
    assert scenario is not None
    return scenario


@app.command("check")
def check_files(
    files: _Files,
    *,
    types: _Types = None,
    templates: _Folder = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check that it has the endpoints which steps call, too."),
    ] = None,
    json: _Json = False,
) -> None:
    """Report every mistake of the files at once. Exit status 2 if there is one.

    With `--templates` also what templates use and no step gives, and templates that aren't there.
    """
    import msgspec

    from engine.errors import InputError

    try:
        schema = _types_from(types)
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    mistakes = [mistake for path in files for mistake in _mistakes_of(path, schema)]
    if templates is not None:
        mistakes += _mistakes_of_templates(files, templates, schema)
    if config is not None:
        mistakes += _mistakes_of_endpoints(files, config)
    if json:
        report = {"files": [str(path) for path in files], "mistakes": mistakes}
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        raise typer.Exit(2 if mistakes else 0)
    for mistake in mistakes:
        typer.echo(str(mistake), err=True)
    if mistakes:
        typer.echo(_counted(len(mistakes), "mistake"), err=True)
        raise typer.Exit(2)
    typer.echo(f"{_counted(len(files), 'file')} without mistakes")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


@app.command("fmt")
def format_files(
    files: _Files,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit status 1 if a file would change.")
    ] = False,
) -> None:
    """Lay files out in one way: keys in the order of the language, comments kept."""
    from engine.errors import InputError
    from scenarios.formatting import format_scenario

    changed = 0
    for path in files:
        try:
            before = read_text(path)
            after = format_scenario(before, str(path))
        except InputError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        if after != before:
            changed += 1
            typer.echo(f"{'would change' if check else 'changed'} {path}")
            if not check:
                path.write_text(after, "utf-8")
    if check and changed:
        raise typer.Exit(1)


@app.command("graph")
def draw_graph(
    file: _File,
    *,
    form: Annotated[str, typer.Option("--as", help="`mermaid` or `svg`.")] = "mermaid",
    counts: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT", help="Show its counts: what `scenario simulate --json` printed."
        ),
    ] = None,
) -> None:
    """Draw a scenario, as Mermaid text or SVG on standard output; with counts of a run on its edges."""
    from actors.cli.run_counts import counts_of
    from scenarios.graph import graph_of, mermaid, svg

    if form not in {"mermaid", "svg"}:
        raise typer.BadParameter("it is `mermaid` or `svg`", param_hint="--as")
    graph = graph_of(_load_or_exit(file))
    run = counts_of(graph, read_text(counts), str(counts)) if counts is not None else None
    typer.echo(svg(graph, run) if form == "svg" else mermaid(graph, run), nl=False)


@app.command("diff")
def show_differences(
    before: Annotated[Path, typer.Argument(help="The old file.")],
    after: Annotated[Path, typer.Argument(help="The new file.")],
    *,
    json: _Json = False,
) -> None:
    """Show what changed in meaning, and where journeys of removed steps would go."""
    import msgspec

    from scenarios.difference import differences, places_for_removed, told

    old, new = _load_or_exit(before), _load_or_exit(after)
    changes, places = differences(old, new), places_for_removed(old, new)
    if json:
        versions = {"before": old.version, "after": new.version}
        report = {**versions, "changes": changes, "places_for_removed": places}
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        return
    typer.echo(f"{old.version} -> {new.version}")
    for change in changes:
        typer.echo(told(change))
    for step, place in places.items():
        typer.echo(f"journeys at {step} would {f'move to {place}' if place else 'end'}")
    if not changes:
        typer.echo("no difference in meaning")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from scenarios.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command("test")
def prove_scenarios(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Scenarios, test files, folders, or names of the library (`library`: all of it).",
            metavar="PATH...",
        ),
    ],
    *,
    min_coverage: Annotated[
        float, typer.Option(help="Percent of steps and branches that the cases must take.")
    ] = 100.0,
    mutate: Annotated[
        bool, typer.Option("--mutate", help="Damage each scenario; its cases must notice.")
    ] = False,
    json: _Json = False,
) -> None:
    """Run given/when/then cases in virtual time. Exit status 1 if one fails, or too little is covered."""
    import msgspec

    from actors.cli.proving import found
    from scenarios.proof.showing import as_values, shown

    proofs = _proofs(found(paths), mutate=mutate)
    if json:
        report = [as_values(proof, file) for file, proof in proofs]
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for file, proof in proofs:
            typer.echo(shown(proof, file))
        typer.echo(_summary([proof for _, proof in proofs]))
    low = any(proof.coverage.percent < min_coverage for _, proof in proofs)
    if low or any(proof.failed or proof.survivors for _, proof in proofs):
        raise typer.Exit(1)


def _proofs(tests: list[Path], *, mutate: bool) -> list[tuple[str, Proof]]:
    """Prove one after the other; all files are read first, so that their mistakes are shown together."""
    from actors.cli.proving import read_subject
    from scenarios.proof.suite import prove

    read = [read_subject(test) for test in tests]
    _stop_at([mistake for _, mistakes in read for mistake in mistakes])
    return [
        (str(subject.file), prove(subject.scenario, subject.suite, subject.beside, mutate=mutate))
        for subject, _ in read
        if subject is not None
    ]


def _summary(proofs: list[Proof]) -> str:
    cases = sum(len(proof.verdicts) for proof in proofs)
    failed = sum(len(proof.failed) for proof in proofs)
    said = f"{_counted(len(proofs), 'scenario')}, {_counted(cases, 'case')}, {failed} failed"
    if any(proof.mutants is not None for proof in proofs):
        survived = sum(len(proof.survivors) for proof in proofs)
        said += f", {sum(proof.mutants or 0 for proof in proofs)} mutants, {survived} survived"
    return said


@app.command("list")
def list_library(*, json: _Json = False) -> None:
    """List the library: scenarios to begin with."""
    import msgspec

    from actors.cli.proving import library
    from scenarios.checking import load

    shelf = {
        name: load((at / "scenario.yaml").read_text("utf-8")) for name, at in library().items()
    }
    if json:
        report = [{"name": name, "description": one.description} for name, one in shelf.items()]
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        return
    for name, one in shelf.items():
        typer.echo(f"{name:<20} {one.description}")


@app.command("new")
def begin_from_library(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; by default a folder of its name.")
    ] = None,
    *,
    source: Annotated[str, typer.Option("--from", help="Which one: `veredus scenario list`.")],
) -> None:
    """Copy a scenario of the library, with its tests and templates, as a start. Nothing is overwritten."""
    from actors.cli.proving import copy_scenario

    written = copy_scenario(source, folder or Path(source))
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"now change it, and try: veredus scenario test {folder or source}")


add_commands(app)
add_publishing(app)
