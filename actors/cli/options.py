"""What subcommands have in common: how an application is made, and options that mean the same everywhere."""

from __future__ import annotations

__all__ = ("AsJson", "Data", "Tenant", "new_app")

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data directory of the instance. Default: ./.veredus."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[
    str, typer.Option("--tenant", metavar="NAME", help="Default: the first of the configuration.")
]


def new_app(text: str) -> typer.Typer:
    """Make the application of one subcommand: plain help, no completion, our own way with errors."""
    return typer.Typer(
        help=text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=False,
    )
