"""A restart of `up` undoes no command, and takes what is new in the folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from actors.instance.starting import UP_REASON, starting
from actors.planning.versions import Author, Migrating, VersionDesk
from actors.publishing import Publication, publish
from actors.worker.assembly import secret_of
from actors.worker.rendering import letterheads
from engine.store.catalog_files import CatalogFiles
from scenarios.migration import Migration
from tests.actors.operations.living import config_of

FILE = "scenarios/hello.yaml"


def text(wait: str) -> str:
    """A scenario whose versions differ in a wait."""
    return f"scenario: hello\nentry: signup\nsteps:\n  - {{id: pause, wait: {wait}}}\n"


def up(folder: Path, content: str) -> list[str]:
    """Publish as `up` does; give what it says."""
    config = config_of(folder)
    chosen = starting(folder, "default", {FILE: content})
    publish(
        config,
        letterheads(config, secret_of),
        [Publication("default", chosen.texts, {})],
        now=1,
        actor="test",
        reason=UP_REASON,
    )
    return chosen.overtaken


def command(folder: Path, content: str, policy: str = "stay") -> None:
    """Publish as a command does."""
    migrating = msgspec.convert({"policy": policy}, Migrating)
    VersionDesk(folder).publish(
        "default", content, "by command", migrating, Author("someone", "why", 2)
    )


def current(folder: Path) -> str | None:
    return VersionDesk(folder).text("default", "hello")


def test_a_restart_keeps_what_a_command_published(tmp_path: Path) -> None:
    assert up(tmp_path, text("1h")) == []
    command(tmp_path, text("2h"))
    [line] = up(tmp_path, text("1h"))
    assert FILE in line
    assert current(tmp_path) == text("2h")


def test_a_restart_keeps_a_rollback(tmp_path: Path) -> None:
    up(tmp_path, text("1h"))
    command(tmp_path, text("2h"))
    command(tmp_path, text("1h"))  # a rollback publishes an older text
    up(tmp_path, text("2h"))
    assert current(tmp_path) == text("1h")


def test_a_text_that_was_never_published_goes_in(tmp_path: Path) -> None:
    up(tmp_path, text("1h"))
    command(tmp_path, text("2h"))
    assert up(tmp_path, text("3h")) == []
    assert current(tmp_path) == text("3h")


def test_a_file_taken_back_in_git_goes_in_where_no_command_came_between(tmp_path: Path) -> None:
    up(tmp_path, text("1h"))
    up(tmp_path, text("2h"))
    assert up(tmp_path, text("1h")) == []
    assert current(tmp_path) == text("1h")


def test_what_a_command_chose_for_journeys_under_way_is_not_about_the_next_version(
    tmp_path: Path,
) -> None:
    up(tmp_path, text("1h"))
    command(tmp_path, text("2h"), "next")
    up(tmp_path, text("3h"))
    files = CatalogFiles(tmp_path / "catalog")
    [item] = [one for one in files.head().items if one.section == "migration"]
    chosen = msgspec.json.decode(files.objects.get(item.digest), type=Migration)
    assert chosen == Migration("stay")
