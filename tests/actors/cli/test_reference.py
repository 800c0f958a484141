"""Every command says in its help what it does."""

from __future__ import annotations

from actors.cli.reference import reference


def test_every_command_says_what_it_does() -> None:
    assert not [line for line in reference().splitlines() if line.endswith("|  |")]
