"""Raw messages: made fit to be sent, otherwise unharmed, and never a new field."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deliverability.compose.raw import RawMessage, prepare_raw
from engine.errors import InputError
from tests.deliverability.compose.letters import NOW

GOOD = b"From: a@b.example\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\nHello\r\n.\r\n"


def prepare(raw: bytes) -> RawMessage:
    return prepare_raw(raw, NOW, "id@b.example")


def test_a_good_message_is_untouched() -> None:
    """Not an octet is changed, and nothing is added."""
    message = prepare(GOOD)
    assert message.headers + b"\r\n" + message.body == GOOD
    assert (
        message.added,
        message.changed,
        message.eight_bit,
        message.dot_free,
    ) == ((), False, False, False)


def test_missing_fields_are_added_before() -> None:
    """RFC 6409 §8.2 and §8.3; From must be the author's own."""
    message = prepare(b"From: a@b.example\r\n\r\n")
    assert message.added == ("Message-ID", "Date")
    assert message.headers == (
        b"Message-ID: <id@b.example>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: a@b.example\r\n"
    )
    assert message.body == b""


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
def test_line_ends(end: bytes) -> None:
    """LF, CRLF and CRCRLF all mean one line end, also at the end of the header section."""
    raw = GOOD.replace(b"\r\n", end)
    message = prepare(raw)
    assert message.headers + b"\r\n" + message.body == GOOD
    assert message.changed == (end != b"\r\n")


def test_bare_cr() -> None:
    """In the body it ends a line; in a header it must not, for that would be a new field."""
    message = prepare(b"From: a@b.example\nSubject: x\rBcc: y@z.example\n\na\rb\r\r.\rc")
    assert b"Subject: x Bcc: y@z.example\r\n" in message.headers
    assert message.body == b"a\r\nb\r\n\r\n.\r\nc\r\n"
    assert message.changed


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no line ends"),
        (b"From: a@b.example\rSubject: x\r\rbody\r", "no line ends"),
        (b"\r\nbody", "header section"),
        (b"Subject: x\r\n\r\n", "one From"),
        (b"From: a@b.example\r\nfrom: c@d.example\r\n\r\n", "one From"),
        (b"From a@b.example Mon\nFrom: a@b.example\n\n", "mbox"),
        (b"From: a@b.example\r\nno field\r\n\r\n", "^2: raw: neither"),
        (b" From: a@b.example\r\n\r\n", "^1: raw: neither"),
        (b"From: a@b.example\r\n\r\na\0b", "NUL"),
        (b"From: a@b.example\r\n\r\n" + b"x" * 999, "^3: raw: a line of 999 octets"),
        (b"From: a@b.example\r\nX: " + b"x" * 999 + b"\r\n\r\n", "octets"),
    ],
)
def test_refused(raw: bytes, why: str) -> None:
    """One clear message each."""
    with pytest.raises(InputError, match=why):
        prepare(raw)


def test_998_octets_pass() -> None:
    """RFC 5322 §2.1.1 counts without CRLF."""
    assert prepare(b"From: a@b.example\r\n\r\n" + b"x" * 998).body == b"x" * 998 + b"\r\n"


def test_eight_bit_and_smtputf8() -> None:
    """Extensions that are needed are told."""
    body = prepare(b"From: a@b.example\r\n\r\n\xc3\xa9")
    assert (body.eight_bit, body.smtputf8) == (True, False)
    head = prepare("From: é@b.example\r\n\r\n".encode())
    assert (head.eight_bit, head.smtputf8) == (True, True)


@given(
    st.lists(
        st.sampled_from((b"From: a@b.example", b"\r", b"\n", b"\r\n", b"X: y", b" z", b".", b"")),
        max_size=14,
    )
)
@example([b"From: a@b.example", b"\r", b"\r", b"\n", b"X: y"])
def test_line_ends_in_any_order(pieces: list[bytes]) -> None:
    """What comes out has only CRLF, no empty line in the headers, and every line of them is a field or goes on."""
    try:
        message = prepare(b"".join(pieces))
    except InputError:
        return
    whole = message.headers + b"\r\n" + message.body
    assert whole.replace(b"\r\n", b"").isascii()
    assert not set(whole.replace(b"\r\n", b"")) & set(b"\r\n")
    assert b"\r\n\r\n" not in message.headers
    assert message.headers.endswith(b"\r\n")
    assert message.dot_free == (b"\r\n." not in b"\r\n" + whole)
    assert whole == b"".join((again := prepare(whole)).headers + b"\r\n" + again.body for _ in "1")
