"""The reply parser: what is understood, what is refused, and what it may cost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.smtp.reply import (
    LINE_OCTETS_MAX,
    REPLY_LINES_MAX,
    REPLY_OCTETS_MAX,
    Reply,
    ReplyParser,
)


def parse(data: bytes) -> list[Reply]:
    parser = ReplyParser()
    replies = parser.receive(data)
    assert parser.violation == ""
    return replies


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"250 2.0.0 Ok: queued as 4F\r\n", Reply(250, "2.0.0", ("Ok: queued as 4F",))),
        (b"250 Ok\r\n", Reply(250, "", ("Ok",))),
        (b"250\r\n", Reply(250, "", ("",))),
        (b"250 \r\n", Reply(250, "", ("",))),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", ("",))),
        (b"354 go\r\n", Reply(354, "", ("go",))),
        (b"452 4.2.2345 x\r\n", Reply(452, "", ("4.2.2345 x",))),
        (b"550 9.1.1 x\r\n", Reply(550, "", ("9.1.1 x",))),
        (b"550 4.7.1 mixed\r\n", Reply(550, "4.7.1", ("mixed",))),
        (
            "550 5.1.1 nieznany użytkownik\r\n".encode(),
            Reply(550, "5.1.1", ("nieznany użytkownik",)),
        ),
    ],
)
def test_one_line_is_understood(line: bytes, reply: Reply) -> None:
    assert parse(line) == [reply]


def test_several_lines_make_one_reply() -> None:
    data = b"550-5.7.1 blocked\r\n550-5.7.1 see\r\n550 5.7.1 https://x.test\r\n250 ok\r\n"
    blocked = Reply(550, "5.7.1", ("blocked", "see", "https://x.test"))
    assert parse(data) == [blocked, Reply(250, "", ("ok",))]
    assert blocked.encode() == data[: -len(b"250 ok\r\n")]


def test_a_line_known_from_before_still_ends_a_longer_reply() -> None:
    parser = ReplyParser()
    assert parser.receive(b"250 ok\r\n") == [Reply(250, "", ("ok",))]
    assert parser.receive(b"250-first\r\n250 ok\r\n") == [Reply(250, "", ("first", "ok"))]


def test_kinds_follow_the_first_digit() -> None:
    replies = [Reply(code) for code in (250, 354, 450, 550)]
    assert [reply.positive for reply in replies] == [True, False, False, False]
    assert [reply.intermediate for reply in replies] == [False, True, False, False]
    assert [reply.transient for reply in replies] == [False, False, True, False]
    assert [reply.permanent for reply in replies] == [False, False, False, True]


@pytest.mark.parametrize(
    "line",
    [
        b"150 preliminary\r\n",
        b"650 beyond\r\n",
        b"25 short\r\n",
        b"2500 long\r\n",
        b"250_x\r\n",
        b"\r\n",
        b" 250 ok\r\n",
        b"HTTP/1.1 200 OK\r\n",
        "\uff12\uff15\uff10 ok\r\n".encode(),
        b"250-a\r\n550 b\r\n",
        b"250-a\r\nb\r\n",
    ],
)
def test_what_is_no_reply_is_a_violation(line: bytes) -> None:
    parser = ReplyParser()
    assert parser.receive(line) == []
    assert parser.violation


@pytest.mark.parametrize(
    "data",
    [
        b"250 ok\n550 no\r\n",
        b"250 ok\r550 no\r\n",
        b"250 ok\n",
        b"250 o\rk",
        b"250-a\n250 b\r\n",
        b"250 ok\r\r\n",
    ],
)
def test_a_bare_cr_or_lf_is_a_violation(data: bytes) -> None:
    parser = ReplyParser()
    assert parser.receive(data) == []
    assert "bare CR or LF" in parser.violation


def test_replies_before_a_violation_are_given_and_none_after() -> None:
    parser = ReplyParser()
    assert [reply.code for reply in parser.receive(b"250 a\r\n354 b\r\nrubbish\r\n250 c\r\n")] == [
        250,
        354,
    ]
    assert parser.violation
    assert parser.receive(b"250 d\r\n") == []


def test_control_characters_do_not_get_through() -> None:
    (reply,) = parse("550 5.0.0 a\x1b[2Jb\x00c\x7fd\u202ee\u2028f\r\n".encode())
    assert reply.text == "a�[2Jb�c�d�e�f"
    assert Reply(250, "", ("a\r\n550 b",)).encode() == "250 a��550 b\r\n".encode()


def test_a_line_without_end_is_bounded() -> None:
    parser = ReplyParser()
    for _ in range(LINE_OCTETS_MAX):
        assert parser.receive(b"2") == []
    assert parser.violation == ""
    parser.receive(b"2")
    assert "longer than" in parser.violation
    assert parser.rest == b""


def test_a_reply_without_end_is_bounded_in_lines_and_octets() -> None:
    for line in (b"250-x\r\n", b"250-" + b"x" * 1000 + b"\r\n"):
        parser = ReplyParser()
        lines = 0
        while not parser.violation:
            assert parser.receive(line) == []
            lines += 1
        assert lines <= REPLY_LINES_MAX + 1
        assert lines * len(line) <= REPLY_OCTETS_MAX + LINE_OCTETS_MAX


@given(
    st.lists(st.sampled_from(list(b"0123456789 -.\r\nab\xff")) | st.just(13), max_size=60).map(
        bytes
    )
)
def test_any_bytes_give_the_same_whole_and_byte_by_byte(data: bytes) -> None:
    whole, by_byte = ReplyParser(), ReplyParser()
    replies = whole.receive(data)
    one_by_one = [reply for octet in data for reply in by_byte.receive(bytes((octet,)))]
    assert replies == one_by_one
    assert bool(whole.violation) == bool(by_byte.violation)
    assert whole.rest == by_byte.rest


@given(st.binary(max_size=2_000), st.integers(1, 50))
def test_no_bytes_raise_or_pass_the_bounds(data: bytes, cut: int) -> None:
    parser = ReplyParser()
    for start in range(0, len(data), cut):
        for reply in parser.receive(data[start : start + cut]):
            assert 200 <= reply.code < 600
            assert re.fullmatch(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})?", reply.enhanced)
            assert not re.search(r"[\x00-\x1f\x7f]", "".join(reply.lines))
    assert len(parser.rest) <= LINE_OCTETS_MAX


_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"]), max_size=40)


@given(
    st.integers(200, 599),
    st.sampled_from(["", "2.0.0", "4.7.28", "5.123.9"]),
    st.lists(_TEXT, min_size=1, max_size=5),
)
def test_what_is_encoded_is_parsed_again(code: int, enhanced: str, lines: list[str]) -> None:
    if not enhanced and re.match(r"[245]\.\d+\.\d+", lines[0]):
        return
    reply = Reply(code, enhanced, tuple(lines))
    (parsed,) = parse(reply.encode())
    assert parsed.code == code
    if enhanced:
        assert parsed == reply
