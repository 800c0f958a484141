"""The page of commands is made of the commands."""

from __future__ import annotations

from pathlib import Path

from actors.cli.reference import reference


def test_the_page_of_commands_is_current() -> None:
    """If it isn't: `python -m actors.cli.reference > docs/commands.md`."""
    page = Path(__file__).parents[3] / "docs" / "commands.md"
    assert reference() == page.read_text("utf-8")
