from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from actors.cli.main import run
from bench.cases import CASES
from bench.cli import app
from bench.frame import Report

RESULT_FIELDS = {"name", "value", "unit", "min", "max", "ceiling", "ratio"}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """One quick run of `render`, as JSON and as a page."""
    page = tmp_path_factory.mktemp("bench") / "page.html"
    done = CliRunner().invoke(app, ["render", "--quick", "--json", "--html", str(page)])
    assert done.exit_code == 0, done.output
    return done.stdout_bytes, page.read_text("utf-8")


def test_json_is_one_object_of_the_form_that_others_build_on(printed: tuple[bytes, str]) -> None:
    found = msgspec.json.decode(printed[0])
    assert set(found) == {"case", "results", "machine", "versions", "settings", "calibration"}
    assert found["case"] == "render"
    assert [set(result) for result in found["results"]] == [RESULT_FIELDS] * 3


def test_results_lie_within_their_spread_and_below_their_ceiling(
    printed: tuple[bytes, str],
) -> None:
    report = msgspec.json.decode(printed[0], type=Report)
    for result in report.results:
        assert 0 < result.min <= result.value <= result.max
        assert result.ratio is not None
        assert 0 < result.ratio < 1, "composing can't be cheaper than rendering alone"


def test_machine_versions_and_calibration_are_on_record(printed: tuple[bytes, str]) -> None:
    report = msgspec.json.decode(printed[0], type=Report)
    assert {"cores", "AVX-512 IFMA"} <= set(report.machine)
    assert {"python", "minijinja", "cryptography"} <= set(report.versions)
    assert {"python_cpu_ms", "rsa2048_cpu_us", "rsa2048_cpu_us_after"} <= set(report.calibration)
    assert report.settings["quick"] is True


def test_the_page_shows_every_figure_and_loads_nothing(printed: tuple[bytes, str]) -> None:
    page = printed[1]
    for name in ("render_10k", "render_27k", "render_100k", "<svg"):
        assert name in page
    assert "src=" not in page
    assert "href=" not in page


def test_signing_reaches_most_of_the_bare_signature() -> None:
    done = CliRunner().invoke(app, ["dkim", "--quick", "--json"])
    report = msgspec.json.decode(done.stdout_bytes, type=Report)
    ratio = {result.name: result.ratio for result in report.results}["dkim_rsa2048_cpu"]
    assert ratio is not None
    assert ratio > 0.5


def test_an_unknown_case_is_one_line_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "rendr"]) == 2
    assert "did you mean 'render'?" in capsys.readouterr().err


def test_every_case_has_its_module() -> None:
    folder = Path(__file__).resolve().parents[2] / "bench"
    assert [name for name in CASES if not (folder / f"{name}.py").exists()] == []
