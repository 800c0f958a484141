"""Every command that README and docs name is one, with the options that stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from actors.cli.main import COMMANDS, added_commands, find_command

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("deploy/**/*.md")),
]


def _named() -> Iterator[tuple[str, str]]:
    """Give each command that a page names, by page: within backticks, and lines of blocks of code."""
    for page in PAGES:
        text = page.read_text("utf-8").partition("## What is not there")[0]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        found = re.findall(r"`(?:\S*/)?veredus ([^`]+)`", prose)
        for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
            whole = block.replace("\\\n", " ")
            found += re.findall(r"^(?:\$ )?(?:\S*/)?veredus (.+)$", whole, flags=re.MULTILINE)
        for line in re.findall(r"^ {4}veredus (.+)$", prose, flags=re.MULTILINE):
            found.append(re.split(r" {2,}", line)[0])
        for command in found:
            yield page.relative_to(ROOT).as_posix(), command.partition(" #")[0].strip()


COMMAND_LINES = sorted(set(_named()))


def test_commands_are_found_at_all() -> None:
    assert len(COMMAND_LINES) > 80


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_a_command_in_the_docs_is_one(page: str, line: str) -> None:
    where = f"{page}: `veredus {line}`"
    if line.startswith(("-", "COMMAND")):
        return  # of the program itself
    words = re.sub(r"[\[\]…]", " ", line.replace("\\|", "|")).split()
    command = _command(words.pop(0))
    assert command is not None, f"{where}: no such command"
    while (below := _below(command)) and words and _is_name(words[0]):
        names = words.pop(0).split("|")
        assert set(names) <= set(below), f"{where}: {sorted(set(names) - set(below))}"
        command = below[names[0]]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    asked = {
        part.partition("=")[0]
        for word in words
        for part in word.split("|")
        if part.startswith("--")
    }
    assert asked <= options | {"--help"}, f"{where}: no {sorted(asked - options)}"


@cache
def _command(name: str) -> Any:
    """Give a command of the top level; None: there is none."""
    if name not in {*COMMANDS, *added_commands()}:
        return None
    app: Any = find_command(name)
    return typer.main.get_command(app)


def _below(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def _is_name(word: str) -> bool:
    return all(re.fullmatch(r"[a-z][a-z-]*", part) for part in word.split("|"))
