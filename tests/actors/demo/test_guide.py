"""The guide names what was made and commands that can be copied."""

from __future__ import annotations

from pathlib import Path

from actors.demo.guide import guide


def test_the_guide_names_the_files_and_the_next_commands() -> None:
    text = guide(Path("out/report.html"), Path("out/inbox"))
    for part in (
        "out/report.html",
        "veredus twin --inbox --data out/inbox",
        "veredus demo --events",
        "veredus scenario check",
        "docs/event-log.md",
        "veredus init",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120
