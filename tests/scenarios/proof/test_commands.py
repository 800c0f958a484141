"""`veredus scenario test`, `list` and `new`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.cli.main import run
from actors.cli.proving import library

SCENARIO = """
scenario: welcome
entry: signed.up
steps:
  - id: day
    wait: 1d
  - id: hello
    send: {template: hello, topic: news}
"""
TESTS = """
given: {at: 2026-03-02 09:00, contact: {email: a@b.example}, consents: [news]}
cases:
  - name: says hello
    when: [{at: 0s, event: signed.up}]
    then: {sends: [{step: hello, at: 1d}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "welcome.yaml").write_text(SCENARIO)
    (tmp_path / "welcome.test.yaml").write_text(TESTS)
    return tmp_path


def _run(*words: str) -> int:
    return run(["scenario", *words])


def test_a_file_its_tests_and_their_folder_are_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (folder, folder / "welcome.yaml", folder / "welcome.test.yaml"):
        assert _run("test", str(path)) == 0
        out = capsys.readouterr().out
        assert "pass  says hello" in out
        assert "coverage 100.0 %: 2 of 2 steps, 0 of 0 branches" in out


def test_a_failing_case_and_too_little_coverage_are_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = folder / "welcome.test.yaml"
    tests.write_text(TESTS.replace("at: 1d", "at: 2d"))
    assert _run("test", str(folder)) == 1
    assert "FAIL  says hello" in capsys.readouterr().out
    tests.write_text(
        TESTS.replace("event: signed.up", "event: other").replace(
            "{sends: [{step: hello, at: 1d}]}", "{}"
        )
    )
    assert _run("test", str(folder)) == 1
    assert "missed: step hello" in capsys.readouterr().out
    assert _run("test", str(folder), "--min-coverage", "0") == 0


def test_survivors_are_listed_and_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "welcome.test.yaml").write_text(TESTS.replace(", at: 1d", ""))
    assert _run("test", str(folder)) == 0
    assert _run("test", "--mutate", str(folder)) == 1
    assert "survived: day: 1d made 2d" in capsys.readouterr().out


def test_mistakes_of_a_test_file_are_status_2_with_their_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "welcome.test.yaml").write_text(TESTS.replace("step: hello", "step: helo"))
    assert _run("test", str(folder)) == 2
    assert "welcome.test.yaml:6:" in (err := capsys.readouterr().err)
    assert "did you mean `hello`?" in err


def test_what_isnt_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("test", "abandoned-card") == 2
    assert "did you mean `abandoned-cart`?" in capsys.readouterr().err
    (folder / "welcome.test.yaml").unlink()
    assert _run("test", str(folder / "welcome.yaml")) == 2
    assert "write `welcome.test.yaml`" in capsys.readouterr().err
    assert _run("test", str(folder)) == 2


def test_another_scenario_may_run_beside(folder: Path) -> None:
    (folder / "other.yaml").write_text(SCENARIO.replace("welcome", "other"))
    both = TESTS.replace("cases:", "with: [other.yaml]\ncases:")
    (folder / "welcome.test.yaml").write_text(both)
    assert _run("test", str(folder)) == 1  # the other says hello too
    (folder / "welcome.test.yaml").write_text(
        both.replace("[{step: hello, at: 1d}]", "[{step: hello, at: 1d}, {step: hello, at: 1d}]")
    )
    assert _run("test", str(folder)) == 0


def test_the_report_is_json_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("test", "--json", "--mutate", str(folder)) == 1
    [report] = json.loads(capsys.readouterr().out)
    assert report["scenario"] == "welcome"
    assert report["coverage"]["percent"] == 100
    assert [case["passed"] for case in report["cases"]] == [True]
    assert report["survivors"] == ["reentry never made always", "hello: capped skip made wait"]
    assert report["mutants"] == 6


def test_the_library_is_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted(library())
    assert _run("test", "double-opt-in") == 0


def test_new_copies_a_scenario_that_proves_itself_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    assert _run("new", "--from", "abandoned-cart", str(target)) == 0
    assert _run("test", str(target)) == 0
    (target / "scenario.yaml").write_text("mine now")
    capsys.readouterr()
    assert _run("new", "--from", "abandoned-cart", str(target)) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (target / "scenario.yaml").read_text() == "mine now"
    assert _run("new", "--from", "abandoned-card", str(tmp_path / "x")) == 2
    assert "did you mean `abandoned-cart`?" in capsys.readouterr().err
