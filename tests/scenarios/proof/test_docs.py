"""docs/library.md: its example proves itself, its reference and its list are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from actors.cli.proving import library
from scenarios.checking import load
from scenarios.proof.reading import read_suite
from scenarios.proof.reference import reference_markdown
from scenarios.proof.showing import shown
from scenarios.proof.suite import prove

PAGE = (Path(__file__).parents[3] / "docs" / "library.md").read_text("utf-8")


def _example(kind: str) -> str:
    found = re.search(rf"^```yaml {kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_example_passes_and_leaves_no_mutant_alive() -> None:
    scenario = load(_example("scenario"))
    suite, mistakes = read_suite(_example("tests"), "tests.yaml", scenario)
    assert mistakes == []
    assert suite is not None
    proof = prove(scenario, suite, mutate=True)
    assert proof.failed == ()
    assert proof.coverage.percent == 100
    assert proof.survivors == ()


def test_the_failing_case_looks_as_the_page_shows_it() -> None:
    scenario = load(_example("scenario"))
    wrong = _example("tests").replace(
        "sends: [{step: reminder, at: 4h}]", "sends: [{step: reminder, at: 5h}]"
    )
    suite, _ = read_suite(wrong, "tests.yaml", scenario)
    assert suite is not None
    text = shown(prove(scenario, suite), "tests.yaml")
    for line in re.findall(r"^  FAIL .*\n(?:  .*\n)+", PAGE, re.MULTILINE)[0].splitlines():
        assert line in text


def test_the_reference_is_the_one_that_the_tables_give() -> None:
    assert reference_markdown() in PAGE


def test_the_list_has_the_whole_library() -> None:
    for name, folder in library().items():
        described = load((folder / "scenario.yaml").read_text("utf-8")).description
        assert f"| [{name}](../scenarios/library/{name}/README.md) | {described} |" in PAGE
