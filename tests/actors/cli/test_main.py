"""The command line as a whole: finding commands, telling mistakes, being quick."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest

from actors.cli.client import find_data_dir
from actors.cli.main import COMMANDS, Command, run
from engine.errors import ConfigError, Place, StoreError
from tests.actors.cli.conftest import Veredus

ROOT = Path(__file__).parents[3]
MAIN = "from actors.cli.main import main; main()"
HEAVY = {
    "ray",
    "litestar",
    "uvicorn",
    "rich.table",
    "rocksdict",
    "cryptography",
    "structlog",
    "asyncio",
}


def in_process(*arguments: str, code: str = MAIN, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_help_lists_every_command_with_a_line(veredus: Veredus) -> None:
    """`veredus --help`, and `veredus` alone, list all commands, each with what it does."""
    said = veredus("--help")
    assert (said.status, said.err) == (0, "")
    for name, command in COMMANDS.items():
        assert f"  {name} " in said.out
        assert command.help in said.out
        assert command.help.endswith(".")
    assert veredus().out == said.out


def test_an_unknown_command_is_one_line_with_a_suggestion(veredus: Veredus) -> None:
    """A typing mistake gets its nearest command and exit status 2."""
    said = veredus("statsu")
    assert (said.status, said.out) == (2, "")
    assert said.err == "veredus: there is no command 'statsu' (did you mean 'status'?)\n"
    assert "`veredus --help` lists all" in veredus("xyzzy").err


def test_errors_of_tasks_are_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a task group raises is told like a single error; a mistake of ours among them isn't hidden."""
    module = types.ModuleType("failing_command")
    errors: list[Exception] = [StoreError("disk"), ConfigError("wrong", Place(file="f"))]

    def app(**_: object) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", errors)])

    vars(module)["app"] = app
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "failing", Command(module.__name__, "Fails."))
    assert run(["failing"]) == 1
    errors.reverse()
    assert run(["failing"]) == 2
    assert capsys.readouterr().err == "veredus: disk\nveredus: f: wrong\n"
    errors.append(ZeroDivisionError())
    with pytest.raises(ExceptionGroup):
        run(["failing"])


def test_without_an_instance_it_says_so(veredus: Veredus, tmp_path: Path) -> None:
    """Commands that need an instance name the data directory and how to go on."""
    for command in (
        ["status"],
        ["outcomes"],
        ["audit"],
        ["explain", "00"],
        ["contacts", "show", "x"],
    ):
        said = veredus(*command, "--data", tmp_path)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith(f"veredus: no instance runs on {tmp_path} (start one with")
        assert said.err.count("\n") == 1


def test_an_unknown_option_is_exit_status_2(veredus: Veredus) -> None:
    """Wrong use of a command shows how it is used."""
    said = veredus("status", "--jsn")
    assert said.status == 2
    assert "--json" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "name", ["init", "status", "send", "explain", "outcomes", "contacts", "audit"]
)
def test_every_command_has_help(veredus: Veredus, name: str) -> None:
    """Each subcommand explains itself."""
    said = veredus(name, "--help")
    assert said.status == 0
    assert f"Usage: veredus {name}" in said.out


def test_the_table_names_modules_that_exist() -> None:
    """What the table promises for this package's own commands is there."""
    for name in ("init", "status", "send", "explain", "outcomes", "contacts", "audit"):
        assert find_spec(COMMANDS[name].module) is not None


def test_the_data_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As given, else as the environment says, else as ./veredus.toml says, else ./.veredus."""
    monkeypatch.chdir(tmp_path)
    assert find_data_dir(None, {}) == Path(".veredus")
    Path("veredus.toml").write_text('data_dir = "state"')
    assert find_data_dir(None, {}) == Path("state")
    assert find_data_dir(None, {"VEREDUS_DATA_DIR": "env"}) == Path("env")
    assert find_data_dir(Path("given"), {"VEREDUS_DATA_DIR": "env"}) == Path("given")
    Path("veredus.toml").write_text("data_dir = [")
    assert find_data_dir(None, {}) == Path(".veredus")


def test_status_answers_quickly(tmp_path: Path) -> None:
    """The median of five runs stays under a second of CPU here, which is 300 ms on an idle machine.

    CPU of the child, not time on the wall: other work on the machine must not decide.
    """
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = in_process("status", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 2
    assert median(times) < 1.0


@pytest.mark.parametrize(
    "arguments", [["status"], ["--help"], ["outcomes"], ["contacts", "show", "x"]]
)
def test_nothing_heavy_is_imported(tmp_path: Path, arguments: list[str]) -> None:
    """A command that asks an instance imports neither Ray nor a web framework nor an event loop."""
    code = (
        "import sys; from actors.cli.main import run; run(sys.argv[1:]); "
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = in_process(*arguments, code=code, cwd=tmp_path)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    """`veredus --help | true` ends quietly."""
    code = (
        "import os, sys; from actors.cli.main import run; r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
        "sys.exit(run(['--help']))"
    )
    done = in_process(code=code, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stderr) == (1, "")
