"""The page docs/commands.md, made of the commands themselves: `python -m actors.cli.reference > docs/commands.md`."""

from __future__ import annotations

__all__ = ("reference",)

import re
import sys
from typing import Any

import typer.main

from actors.cli.main import COMMANDS, added_commands, find_command

_INTRODUCTION = """\
# Commands

Made by `python -m actors.cli.reference > docs/commands.md`; a test holds it current. `veredus COMMAND --help` tells
options. Exit status: 0 done; 1 it failed, or some of it; 2 a mistake of the user; 130 interrupted. Most commands find a
running instance by its data directory (`--data`, else `./.veredus`), and listings take `--json`.

| command | |
|---|---|
"""


def reference() -> str:
    """Make the page: a row for each command, by the first sentence of its help."""
    rows = []
    lines = {name: command.help for name, command in COMMANDS.items()}
    for name in [*lines, *sorted(added_commands())]:
        app: Any = find_command(name)
        command = typer.main.get_command(app)
        rows.append(f"| **`{name}`** | {_cell(lines.get(name) or command.help)} |")
        rows += _below(name, command)
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _below(name: str, command: Any) -> list[str]:
    rows = []
    for below, one in getattr(command, "commands", {}).items():
        rows.append(f"| `{name} {below}` | {_cell(one.help)} |")
        rows += _below(f"{name} {below}", one)
    return rows


def _cell(text: str | None) -> str:
    """Give the first paragraph of a help in one line of a table."""
    first = (text or "").strip().split("\n\n")[0]
    return re.sub(r"\s+", " ", first).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
