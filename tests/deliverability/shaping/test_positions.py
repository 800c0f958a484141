"""Positions: every key of a TOML text is found on its line, whatever strings and comments stand around it."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.positions import Path, find_positions, nearest_position

_NAMES = st.sampled_from(["a", "b.c", "d e", "f]g", "h#i", "j=k"])
_VALUES = st.sampled_from(
    [
        "1",
        '"x # y"',
        "'a = b'",
        "'''one\n[two]\nthree = 3'''",
        '"""p \\" q"""',
        "[1, [2, 3], {k = 4}]",
        "{m = 'n'}",
        "[\n  'x', # note ]\n  \"y\",\n]",
        "true",
    ]
)


@given(st.lists(st.tuples(_NAMES, _NAMES, _VALUES), max_size=8, unique_by=lambda each: each[0]))
def test_each_key_is_where_it_was_written(drawn: list[tuple[str, str, str]]) -> None:
    text = "# begin\n"
    expected: dict[Path, tuple[int, int]] = {}
    for table, key, value in drawn:
        line = text.count("\n") + 1
        text += f'["{table}"]\n  "{key}" = {value} # end\n'
        expected[table, key] = (line + 1, 3)
        expected[(table,)] = (line, 1)
    tomllib.loads(text)
    positions = find_positions(text)
    for path, where in expected.items():
        assert positions[path] == where


def test_arrays_of_tables_are_numbered_and_unknown_paths_fall_back() -> None:
    positions = find_positions("[[x.y]]\na = 1\n[[x.y]]\nb = [\n 5,\n 6]\n[x.y.z]\nc = 1\n")
    assert positions["x", "y", 1] == (3, 1)
    assert positions["x", "y", 1, "b", 1] == (6, 2)
    assert positions["x", "y", 1, "z", "c"] == (8, 1)
    assert nearest_position(positions, ("x", "y", 0, "q", "r")) == (1, 1)
    assert nearest_position(positions, ("nowhere",)) == (1, 1)
