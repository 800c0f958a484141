"""Content: dots, line ends, and the receiver that finds the end."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.smtp.content import (
    END_OF_CONTENT,
    DataReceiver,
    dot_stuffed,
    dot_unstuffed,
    only_crlf,
)

_LINES = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"text", b" ."]), max_size=12)


@pytest.mark.parametrize(
    ("plain", "stuffed"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"..\r\na\r\n.b\r\n\r\n.\r\n", b"...\r\na\r\n..b\r\n\r\n..\r\n"),
        (b"a.\r\n .\r\n", b"a.\r\n .\r\n"),
    ],
)
def test_dots_at_line_starts_are_doubled(plain: bytes, stuffed: bytes) -> None:
    assert dot_stuffed(plain) == stuffed
    assert dot_unstuffed(stuffed) == plain


def test_content_without_dots_is_passed_on_uncopied() -> None:
    data = b"no dots here\r\n" * 100
    assert dot_stuffed(data) is data


@given(_LINES)
def test_what_is_stuffed_holds_no_end_and_comes_back(lines: list[bytes]) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    stuffed = dot_stuffed(data)
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert dot_unstuffed(stuffed) == data


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"."]), max_size=12).map(b"".join))
def test_only_crlf_agrees_with_the_definition(data: bytes) -> None:
    bare = re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert only_crlf(data) == (bare is None)


@given(_LINES, st.integers(1, 9), st.binary(max_size=6))
def test_the_receiver_finds_the_end_in_any_cuts(lines: list[bytes], cut: int, after: bytes) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    wire = dot_stuffed(data) + END_OF_CONTENT
    stream = wire + after
    receiver = DataReceiver(10_000)
    for start in range(0, len(stream), cut):
        piece = b"x" + stream[start : start + cut]
        end = receiver.receive(piece, 1)
        if end >= 0:
            assert start + end - 1 == len(wire)
            break
    else:
        raise AssertionError("no end found")
    assert receiver.content == data
    assert not receiver.too_large


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n"]
)
def test_nothing_but_crlf_dot_crlf_ends_content(end: bytes) -> None:
    receiver = DataReceiver(10_000)
    assert receiver.receive(b"text" + end + b"MAIL FROM:<a@b.test>\r\n", 0) == -1
    assert receiver.receive(b"\r\n.\r\n", 0) == 5
    assert b"MAIL FROM" in receiver.content


def test_content_beyond_the_limit_is_counted_and_dropped() -> None:
    receiver = DataReceiver(100)
    for _ in range(1_000):
        assert receiver.receive(b"x" * 50 + b"\r\n", 0) == -1
    assert receiver.receive(b".\r\nQUIT\r\n", 0) == 3
    assert receiver.too_large
    assert receiver.content == b""
    assert receiver.octets == 52_000


def test_content_of_exactly_the_limit_is_taken() -> None:
    for cut in (1, 7, 1_000):
        receiver = DataReceiver(100)
        wire = b"x" * 98 + b"\r\n.\r\n"
        for start in range(0, len(wire), cut):
            receiver.receive(wire[start : start + cut], 0)
        assert not receiver.too_large
        assert len(receiver.content) == 100
