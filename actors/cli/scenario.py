"""`veredus scenario`: check scenario files, and print the JSON Schema for editors."""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.mistakes import Mistake

app = typer.Typer(name="scenario", help="Check and show scenarios.", no_args_is_help=True)

_Files = Annotated[list[Path], typer.Argument(help="Scenario files (YAML).", metavar="FILE...")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _read_text(path: Path) -> str:
    from engine.errors import InputError, Place

    try:
        return path.read_text("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"can't read the file: {reason}", Place(str(path))) from error
    except UnicodeDecodeError as error:
        raise InputError("the file isn't UTF-8", Place(str(path)), "save it as UTF-8") from error


def _mistakes_of(path: Path) -> list[Mistake]:
    from engine.errors import InputError
    from scenarios.checking import check
    from scenarios.mistakes import Mistake

    try:
        return check(_read_text(path), str(path))
    except InputError as error:
        return [Mistake(str(path), 0, 0, "", error.message, error.mend)]


@app.command("check")
def check_files(files: _Files, *, json: _Json = False) -> None:
    """Report every mistake of the files at once. Exit status 2 if there is one."""
    import msgspec

    mistakes = [mistake for path in files for mistake in _mistakes_of(path)]
    if json:
        report = {"files": [str(path) for path in files], "mistakes": mistakes}
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for mistake in mistakes:
            typer.echo(str(mistake), err=True)
        if not mistakes:
            typer.echo(f"{len(files)} file{'s' * (len(files) != 1)} without mistakes")
    if mistakes:
        if not json:
            typer.echo(f"{len(mistakes)} mistake{'s' * (len(mistakes) != 1)}", err=True)
        raise typer.Exit(2)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from scenarios.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
