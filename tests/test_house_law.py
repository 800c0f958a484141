"""The law of the house, as far as a machine can read it: purity of the core, names, public surfaces.

The law of imports is `make imports`; docstrings and style are ruff's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "scenarios", "deliverability", "actors", "bench")
PURE = ("engine", "scenarios", "deliverability")
EDGES = ("engine/store/", "deliverability/transport/")
WORLD = {
    "asyncio",
    "socket",
    "ssl",
    "ray",
    "uvloop",
    "subprocess",
    "threading",
    "requests",
}
CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("time", "sleep"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("uuid", "uuid4"),
    ("random", "random"),
    ("random", "choice"),
    ("random", "randrange"),
    ("os", "environ"),
    ("os", "urandom"),
}
ATTICS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "constants"}


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Give the path and the tree of each module."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


PURE_MODULES = [(path, tree) for path, tree in modules(*PURE) if not path.startswith(EDGES)]


@pytest.mark.parametrize(("path", "tree"), PURE_MODULES, ids=[path for path, _ in PURE_MODULES])
def test_the_core_is_pure(path: str, tree: ast.Module) -> None:
    """Outside the edges nothing imports the world, reads a clock, or draws from the global chance."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [name.name for name in names if name.name.partition(".")[0] in WORLD]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in WORLD:
                found.append(module)
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in CLOCKS:
                found.append(f"{owner}.{name}")
            case ast.Call(func=ast.Name(id="open")):
                found.append("open")
    assert not found, f"{path} reaches the world: {found}"


def test_no_module_is_an_attic() -> None:
    """A function lives with the type that it serves."""
    named = [path for path, _ in modules(*PACKAGES) if Path(path).stem in ATTICS]
    assert named == []


def test_public_names_are_a_tuple_and_exist() -> None:
    """`__all__` is a tuple, and each of its names is defined in the module."""
    wrong = []
    for path, tree in modules(*PACKAGES):
        listed = _listed(tree)
        if listed is None:
            continue
        if not isinstance(listed, ast.Tuple):
            wrong.append(f"{path}: __all__ is no tuple")
            continue
        names = {one.value for one in listed.elts if isinstance(one, ast.Constant)}
        missing = names - _defined(tree)
        if missing:
            wrong.append(f"{path}: {sorted(map(str, missing))} not defined")
    assert wrong == []


def _listed(tree: ast.Module) -> ast.expr | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return node.value
    return None


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                names |= {one.asname or one.name.partition(".")[0] for one in imported}
            case _:
                pass
    return names


def test_every_ignore_says_what_and_why() -> None:
    """A `type: ignore` names its code."""
    wrong = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if "type: ignore" in line and "type: ignore[" not in line:
                    wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert wrong == []


def test_each_package_says_what_lives_in_it() -> None:
    """The docstring of a package is where one begins to read."""
    for package in PACKAGES:
        tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
        assert len(ast.get_docstring(tree) or "") > 80, f"{package}/__init__.py says too little"
