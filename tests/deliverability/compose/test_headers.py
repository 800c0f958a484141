"""Header values: encoded, folded, and back again by another reader."""

from __future__ import annotations

import datetime as dt
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.headers import (
    canonical,
    check_field_name,
    date,
    flat,
    phrase,
    unstructured,
)
from engine.errors import InputError, Place

_text = st.text(
    st.one_of(st.characters(), st.sampled_from(' \t\r\n=?"\\é\x00\u2028')), max_size=200
)


def _lines(value: str, used: int) -> list[str]:
    return ("x" * used + value).split("\r\n")


@given(_text, st.integers(4, 42))
def test_a_subject_comes_back(text: str, used: int) -> None:
    """Decoded by the standard library, a value is the text on one line."""
    value = unstructured(text, used)
    assert flat(text).encode("utf-8", "replace").decode() == str(
        make_header(decode_header(canonical(value)))
    )


@given(st.one_of(_text, st.text("ab =?", max_size=200)), st.integers(4, 42))
def test_values_have_the_known_form(text: str, used: int) -> None:
    """Printable ASCII, single spaces, folds before something, lines of at most 76: for both kinds of value."""
    for value in (unstructured(text, used), phrase(text, used)):
        assert value.isascii()
        assert canonical(value) == value.replace("\r\n ", " ")
        assert canonical(value).isprintable()
        assert canonical(value) == " ".join(canonical(value).split())
        assert all(len(line) <= 76 and line.strip() for line in _lines(value, used))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ann Example", "Ann Example"),
        ("Ann, the first", '"Ann, the first"'),
        ('say "hi" \\', '"say \\"hi\\" \\\\"'),
        ("Zoë", "=?utf-8?b?Wm/Dqw==?="),
        ("=?utf-8?q?fake?=", "=?utf-8?b?PT91dGYtOD9xP2Zha2U/PQ==?="),
        ("x\r\nBcc: y@z.example", '"x Bcc: y@z.example"'),
        ("", ""),
        (" \t", ""),
    ],
)
def test_display_names(name: str, expected: str) -> None:
    """RFC 5322 §3.2.5 atoms and quoted strings, RFC 2047 for the rest."""
    assert expected == phrase(name, 6)


def test_long_words_are_encoded_long_lines_folded() -> None:
    """What has spaces is folded at them; what has none becomes encoded words."""
    assert len(_lines(unstructured("ten chars " * 9, 9), 9)) == 2
    value = unstructured("x" * 2000, 9)
    assert value.startswith("=?utf-8?b?")
    assert str(make_header(decode_header(canonical(value)))) == "x" * 2000


@given(st.integers(0, 253_402_300_799))
def test_dates(now_s: int) -> None:
    """RFC 5322 §3.3, as the standard library has it."""
    expected = dt.datetime.fromtimestamp(now_s, dt.UTC).strftime("%d %b %Y %H:%M:%S +0000")
    day = dt.datetime.fromtimestamp(now_s, dt.UTC)
    assert date(now_s).endswith(expected[-21:] if day.year < 1000 else expected)
    assert ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day.weekday()] == date(now_s)[:3]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "x" * 41])
def test_bad_field_names(name: str) -> None:
    """A field name is printable ASCII without colon and space."""
    with pytest.raises(InputError, match="header field"):
        check_field_name(name, Place(path="headers"))
