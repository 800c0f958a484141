"""What a trace shows: dialogue; never secrets, content or mailboxes, however the octets are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.smtp.redaction import Redactor

SESSION = [
    ("<", b"220 mx.test ESMTP\r\n"),
    (">", b"EHLO out.test\r\n"),
    ("<", b"250-mx.test\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n"),
    (">", b"AUTH PLAIN AGhpZGRlbgBzZWNyZXQ=\r\n"),
    ("<", b"235 2.7.0 ok\r\n"),
    (">", b"MAIL FROM:<hidden@shop.test>\r\nRCPT TO:<hidden.too@a.test>\r\nDATA\r\n"),
    ("<", b"250 2.1.0 ok\r\n250 2.1.5 <hidden.too@a.test> ok\r\n354 go\r\n"),
    (">", b"Subject: hidden\r\n\r\nhidden\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"),
    ("<", b"250 2.0.0 taken for hidden.too@a.test\r\n221 bye\r\n"),
]
SHOWN = """\
< 220 mx.test ESMTP
> EHLO out.test
< 250-mx.test
< 250-PIPELINING
< 250 AUTH PLAIN LOGIN
> AUTH PLAIN …
< 235 2.7.0 ok
> MAIL FROM:<…@shop.test>
> RCPT TO:<…@a.test>
> DATA
< 250 2.1.0 ok
< 250 2.1.5 <…@a.test> ok
< 354 go
> (content, 48 octets)
> QUIT
< 250 2.0.0 taken for …@a.test
< 221 bye"""


def _show(pieces: list[tuple[str, bytes]]) -> str:
    redactor = Redactor()
    lines = []
    for direction, data in pieces:
        see = redactor.sent if direction == ">" else redactor.received
        lines += [f"{line.direction} {line.text}" for line in see(data, 0)]
    return "\n".join(lines)


def test_a_session_is_shown_without_what_is_hidden() -> None:
    """The dialogue, line by line."""
    assert _show(SESSION) == SHOWN


@given(st.integers(1, 9))
def test_however_octets_are_cut(size: int) -> None:
    """The same lines."""
    cut = [
        (direction, data[at : at + size])
        for direction, data in SESSION
        for at in range(0, len(data), size)
    ]
    assert _show(cut) == SHOWN


def test_chunks_are_left_out() -> None:
    """BDAT tells its length itself."""
    chunk = b"hidden\r\nAUTH PLAIN hidden\r\n"
    sent = b"BDAT %d LAST\r\n%bQUIT\r\n" % (len(chunk), chunk)
    assert _show([(">", sent)]) == f"> BDAT {len(chunk)} LAST\n> QUIT"


def test_an_exchange_of_auth_is_hidden_to_its_end() -> None:
    """LOGIN asks for user name and password in lines of their own."""
    pieces = [
        (">", b"AUTH LOGIN\r\n"),
        ("<", b"334 VXNlcm5hbWU6\r\n"),
        (">", b"aGlkZGVu\r\n"),
        ("<", b"334 UGFzc3dvcmQ6\r\n"),
        (">", b"aGlkZGVu\r\n"),
        ("<", b"535 5.7.8 no\r\n"),
        (">", b"QUIT\r\n"),
    ]
    assert _show(pieces) == "> AUTH LOGIN …\n< 334 …\n> …\n< 334 …\n> …\n< 535 5.7.8 no\n> QUIT"


@given(st.lists(st.tuples(st.sampled_from("<>"), st.binary(max_size=40)), max_size=20))
def test_any_octets_are_taken(pieces: list[tuple[str, bytes]]) -> None:
    """Nothing raises, and no control character comes through."""
    assert all(c.isprintable() or c == "\n" for c in _show(pieces))
