"""Variables: clean ones pass untouched, control characters go, what isn't JSON is refused by place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.values import clean_text, clean_variables
from engine.errors import InputError

_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=10,
)


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [t for pair in value.items() for x in pair for t in _texts(x)]
        case list():
            return [t for x in value for t in _texts(x)]
        case _:
            return []


@given(st.dictionaries(st.text(max_size=5), _json, max_size=4))
def test_no_control_character_is_left(variables: dict[str, object]) -> None:
    """Of all text, keys included, only TAB and LF remain below the space, and it can be encoded."""
    for text in _texts(clean_variables(variables)):
        assert not any(c < " " and c not in "\t\n" for c in text)
        text.encode()


def test_clean_values_are_copied() -> None:
    """What a template does to its values doesn't reach the letter."""
    variables = {"a": "Zoë\n\t\\", "b": [1, {"c": None}]}
    copy = clean_variables(variables)
    assert variables == copy
    assert copy["b"] is not variables["b"]


def test_line_ends_become_lf() -> None:
    """CRLF and CR are line ends too."""
    assert clean_text("a\r\nb\rc\n\rd") == "a\nb\nc\n\nd"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": {"b": [1, object()]}}, r"^variables\.a\.b\[1\]: "),
        ({"a": {1j}}, r"^variables\.a: "),
    ],
)
def test_not_json(value: dict[str, object], place: str) -> None:
    """The place is named, and what would do."""
    with pytest.raises(InputError, match=place):
        clean_variables(value)


def test_endless_nesting() -> None:
    """A value that holds itself is refused."""
    endless: dict[str, object] = {}
    endless["a"] = endless
    with pytest.raises(InputError, match="nested too deep"):
        clean_variables(endless)
