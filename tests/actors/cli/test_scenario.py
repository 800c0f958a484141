"""`veredus scenario`: statuses, JSON, graphs, differences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli.scenario import app

GOOD = "scenario: s\nentry: e\nsteps:\n  - {id: a, wait: 1d}\n"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("1d", "a day") + "  - {id: a, end: x}\n")
    return path


def test_files_without_mistakes_end_with_status_0(good: Path) -> None:
    assert run("check", good) == (0, "1 file without mistakes\n", "")


def test_mistakes_end_with_status_2_and_are_all_shown(good: Path, bad: Path) -> None:
    status, _, shown = run("check", good, bad, bad.parent / "gone.yaml")
    assert status == 2
    assert f"{bad}:4:19: steps[0].wait: `a day` isn't a duration" in shown
    assert f"{bad}:5:10: steps[1].id" in shown
    assert "can't read the file" in shown
    assert "3 mistakes" in shown


def test_json_has_every_mistake_with_its_place(bad: Path) -> None:
    status, out, _ = run("check", "--json", bad)
    places = [(one["line"], one["column"]) for one in json.loads(out)["mistakes"]]
    assert (status, places) == (2, [(4, 19), (5, 10)])


def test_a_type_schema_is_used_and_its_own_mistakes_are_shown(good: Path, tmp_path: Path) -> None:
    types = tmp_path / "types.yaml"
    types.write_text("events: {f: {}}")
    assert "no event `e` is declared" in run("check", "--types", types, good)[2]
    types.write_text("event: {}")
    assert run("check", "--types", types, good)[0] == 2


def test_the_schema_is_json() -> None:
    status, out, _ = run("schema")
    assert (status, json.loads(out)["title"]) == (0, "Veredus scenario")


def test_a_graph_is_drawn_in_both_forms(good: Path, bad: Path) -> None:
    assert run("graph", good)[1].startswith("flowchart TD\n")
    assert run("graph", "--as", "svg", good)[1].startswith("<svg ")
    assert run("graph", "--as", "png", good)[0] == 2
    assert run("graph", bad)[0] == 2


def test_differences_are_listed(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("1d", "2d"))
    assert "changed a.duration: 1d -> 2d" in run("diff", good, other)[1]
    assert "no difference in meaning" in run("diff", good, good)[1]
    assert len(json.loads(run("diff", "--json", good, other)[1])["changes"]) == 1
