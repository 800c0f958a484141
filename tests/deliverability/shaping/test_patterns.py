"""Patterns: the Rust dialect is understood, and what is said to be proved holds for every text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.patterns import compile_pattern, covers
from engine.errors import InputError

_ATOMS = st.sampled_from(["a", "b", "ab", ".", "[ab]", "\\d", "(a|b)", "a?", "b*", "(ab)+", "a{2}"])
_PATTERNS = st.lists(_ATOMS, min_size=1, max_size=4).map("".join)


@given(_PATTERNS, _PATTERNS, st.text(alphabet="ab1", max_size=8))
def test_what_covers_matches_wherever_the_narrow_one_does(one: str, two: str, text: str) -> None:
    wide, narrow = compile_pattern(one), compile_pattern(two)
    if covers(wide, narrow) and narrow.found_in(text):
        assert wide.found_in(text)


@given(_PATTERNS)
def test_samples_match_and_contain_what_is_required(source: str) -> None:
    pattern = compile_pattern(source)
    for sample in pattern.samples:
        assert re.search(source, sample)
        assert any(all(run in sample for run in branch) for branch in pattern.required)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(?<code>4\\d\\d) x", "421 x"),
        ("end\\z", "the end"),
        ("[[:digit:]]{3}", "250"),
        ("^(?!.*internal).*RL01", "554 RL01"),
        ("(?i)spam", "SPAM"),
    ],
)
def test_the_rust_dialect_is_translated(source: str, text: str) -> None:
    assert compile_pattern(source).found_in(text)


def test_known_relations() -> None:
    wide, narrow = compile_pattern("\\[TS?S04\\]"), compile_pattern("421 4\\.7\\.0 \\[TSS04\\]")
    assert covers(wide, narrow)
    assert not covers(narrow, wide)
    assert not covers(compile_pattern("^554"), compile_pattern("x554"))
    assert compile_pattern("\\\\[HCM1\\\\] x").wants_backslash
    assert not compile_pattern("\\[HCM1\\] x").wants_backslash
    assert compile_pattern("451 DT:SPM*").lone_star == "PM*"


@pytest.mark.parametrize(
    "source",
    [
        "(a+)+",
        "(a*)*b",
        "(.*)*",
        "(x|a+)*$",
        "(.a?)*z",
        "(a|ab)*c",
        "(a?){50}",
        "(.+\\.)+x",
        "a" * 2_000,
        "[",
        ".*.*.*.*.*",
    ],
)
def test_what_could_take_for_ever_is_refused(source: str) -> None:
    with pytest.raises(InputError):
        compile_pattern(source)


@given(st.text(alphabet="ab()[]{}*+?|\\^$.:=!<>P1,-", max_size=30))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    try:
        pattern = compile_pattern(source)
    except InputError:
        return
    assert all(pattern.found_in(sample) for sample in pattern.samples)
