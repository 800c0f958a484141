"""Find test files with their scenarios, and the library that comes with Veredus.

`tests.yaml` belongs to `scenario.yaml` beside it, `NAME.test.yaml` to `NAME.yaml`. The library is one
folder a scenario.
"""

from __future__ import annotations

__all__ = ("Subject", "copy_scenario", "found", "library", "read_subject", "scenario_file")

import shutil
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from actors.text_file import read_text
from engine.errors import InputError, Place, RefusedError
from scenarios.checking import load
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Scenario
from scenarios.proof.case import Suite
from scenarios.proof.reading import read_suite

LIBRARY = "library"
_SCENARIO, _TESTS, _SUFFIX = "scenario.yaml", "tests.yaml", ".test.yaml"


class Subject(NamedTuple):
    """A scenario and its tests, read."""

    file: Path
    scenario: Scenario
    suite: Suite
    beside: tuple[Scenario, ...]


def library() -> dict[str, Path]:
    """Give the folders of the library by name."""
    root = Path(str(resources.files("scenarios") / LIBRARY))
    return {one.name: one for one in sorted(root.iterdir()) if (one / _SCENARIO).is_file()}


def found(paths: list[Path]) -> list[Path]:
    """Find all test files of files, folders and names of the library.

    Raises: InputError: a path isn't there, or has no tests.
    """
    return list(dict.fromkeys(test for path in paths for test in _tests_of(path)))


def _tests_of(path: Path) -> list[Path]:
    shelf = library()
    if not path.exists():
        if str(path) == LIBRARY:
            return [folder / _TESTS for folder in shelf.values()]
        if str(path) in shelf:
            return [shelf[str(path)] / _TESTS]
        mend = did_you_mean(str(path), [LIBRARY, *shelf]) or "name a file, a folder or `library`"
        raise InputError("there is no such file or folder", Place(str(path)), mend)
    if path.is_dir():
        tests = [*path.rglob(_TESTS), *path.rglob(f"*{_SUFFIX}")]
        if not tests:
            mend = f"put `{_TESTS}` beside `{_SCENARIO}`, or `NAME{_SUFFIX}` beside `NAME.yaml`"
            raise InputError("there are no tests in this folder", Place(str(path)), mend)
        return sorted(tests)
    if path.name == _TESTS or path.name.endswith(_SUFFIX):
        return [path]
    test = path.with_name(_TESTS if path.name == _SCENARIO else f"{path.stem}{_SUFFIX}")
    if not test.is_file():
        raise InputError("the scenario has no tests", Place(str(path)), f"write `{test.name}`")
    return [test]


def scenario_file(path: Path) -> Path:
    """Find the scenario file that is meant by a file, a folder, or a name of the library.

    Raises: InputError: there is none.
    """
    shelf = library()
    folder = path if path.is_dir() else shelf.get(str(path))
    if folder is not None:
        path = folder / _SCENARIO
    if not path.is_file():
        mend = did_you_mean(str(path), shelf) or "name a file, a folder or one of the library"
        raise InputError("there is no such scenario", Place(str(path)), mend)
    return path


def read_subject(test: Path) -> tuple[Subject | None, list[Mistake]]:
    """Read a test file and its scenario. Raises: InputError: a file can't be read, or the scenario has mistakes."""
    if test.name == _TESTS:
        file = test.with_name(_SCENARIO)
    else:
        file = test.with_name(f"{test.name.removesuffix(_SUFFIX)}.yaml")
    scenario = load(read_text(file), str(file))
    suite, mistakes = read_suite(read_text(test), str(test), scenario)
    if suite is None:
        return None, mistakes
    others = [test.parent / name for name in suite.beside]
    beside = tuple(load(read_text(other), str(other)) for other in others)
    return Subject(test, scenario, suite, beside), []


def copy_scenario(name: str, folder: Path) -> list[Path]:
    """Copy a scenario of the library as a start, and give the files written.

    Raises: InputError: there is none of that name. RefusedError: the folder is there already.
    """
    shelf = library()
    if name not in shelf:
        mend = did_you_mean(name, shelf) or f"the library has {', '.join(shelf)}"
        raise InputError(f"the library has no scenario `{name}`", mend=mend)
    if folder.exists():
        raise RefusedError("this is there already, nothing is overwritten", Place(str(folder)))
    shutil.copytree(shelf[name], folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
