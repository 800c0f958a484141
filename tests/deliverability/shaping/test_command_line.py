"""`veredus shaping`: check, replay and explain, for people and as JSON, each mistake with its place."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli.shaping import app
from engine.errors import ConfigError, InputError

RUNNER = CliRunner()
DEAD = '[provider.p]\nmatch = [{MXSuffix = ".p.example."}]\nconnection_limit = 3\n'
RULE = '[[default.automation]]\nregex = "busy"\naction = "Suspend"\nduration = "1h"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dead.toml").write_text(DEAD)
    (tmp_path / "rule.toml").write_text(RULE)
    (tmp_path / "wrong.toml").write_text("[default]\nconection_limit = 3\n")
    (tmp_path / "replies.txt").write_text("421 busy\n250 ok\n")
    return tmp_path


def test_the_pack_is_clean_and_a_dead_rule_fails_the_check(folder: Path) -> None:
    assert RUNNER.invoke(app, ["check", "--today", "2026-11-23"]).exit_code == 0
    result = RUNNER.invoke(app, ["check", str(folder / "dead.toml"), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [(each["kind"], each["place"]["line"]) for each in found] == [("dead", 2)]


def test_a_mistake_names_its_place_and_how_to_mend_it(folder: Path) -> None:
    wrong = str(folder / "wrong.toml")
    for arguments in (["check", wrong], ["explain", "a", "-r", wrong]):
        error = RUNNER.invoke(app, arguments).exception
        assert isinstance(error, ConfigError)
        assert "wrong.toml:2:1" in str(error)
        assert "did you mean connection_limit?" in str(error)
    for command in ("check", "replay"):
        error = RUNNER.invoke(app, [command, str(folder / "absent")]).exception
        assert isinstance(error, InputError)
        assert "can't read the file" in str(error)


def test_replay_tells_what_would_have_fired(folder: Path) -> None:
    arguments = [
        "replay",
        str(folder / "replies.txt"),
        "-r",
        str(folder / "rule.toml"),
        "--no-pack",
    ]
    assert "1 of 2 replies" in RUNNER.invoke(app, arguments).stdout
    report = json.loads(RUNNER.invoke(app, [*arguments, "--json"]).stdout)
    assert [(rule["matched"], rule["fired"]) for rule in report["rules"]] == [(1, 1)]


def test_explain_names_the_line_of_each_limit(folder: Path) -> None:
    result = RUNNER.invoke(app, ["explain", "op.pl", "--json"])
    limits = json.loads(result.stdout)
    assert limits["providers"] == ["onet"]
    by_name = {each["name"]: each for each in limits["settings"]}
    assert by_name["provider_connection_limit"]["value"]["limit"] == 3
    assert by_name["provider_connection_limit"]["place"]["file"] == "provider_pack.toml"
    assert by_name["provider_connection_limit"]["place"]["line"] > 1
    text = RUNNER.invoke(app, ["explain", "op.pl", "--mx", "mx.onet.pl"]).stdout
    assert "provider_pack.toml" in text
    assert folder.exists()
