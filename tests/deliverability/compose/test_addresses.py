"""Mailboxes: good ones pass in the form in which they are sent, all else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.addresses import Mailbox, parse_domain, parse_mailbox
from engine.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", Mailbox("ann", "example.com")),
        ("Ann.O'Hara+news@EXAMPLE.com", Mailbox("Ann.O'Hara+news", "example.com")),
        ("ann@bücher.example", Mailbox("ann", "xn--bcher-kva.example")),
        ("ann@BÜCHER.example", Mailbox("ann", "xn--bcher-kva.example")),
        ("ann@faß.example", Mailbox("ann", "xn--fa-hia.example")),
        ('"ann b@c"@example.com', Mailbox('"ann b@c"', "example.com")),
        ("zoë@example.com", Mailbox("zoë", "example.com", smtputf8=True)),
        ("zoe\u0308@example.com", Mailbox("zoë", "example.com", smtputf8=True)),
        ("用户@例子.example", Mailbox("用户", "xn--fsqu00a.example", smtputf8=True)),
        ("a" * 64 + "@example.com", Mailbox("a" * 64, "example.com")),
        ("root@localhost", Mailbox("root", "localhost")),
    ],
)
def test_good(text: str, expected: Mailbox) -> None:
    """RFC 5321 §4.1.2, RFC 5891, RFC 6531."""
    assert expected == parse_mailbox(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ann", "@example.com", "ann@", "ann@@example.com", "a@b@example.com", ".a@b.example"),
        *("a.@b.example", "a..b@c.example", "a b@c.example", "a@-b.example", "a@b-.example"),
        *("a@b..example", "a@b_c.example", "a@[192.0.2.1]", "<a@b.example>", "a@b.example>"),
        *("a@b.example\r\nBcc: x@y.example", "a\r\n@b.example", "a@b.example\n", "a\0@b.example"),
        *('"a\r\n"@b.example', '"a\\\n"@b.example', '"a@b.example', "a,b@c.example"),
        *("a" * 65 + "@b.example", "é" * 33 + "@b.example", "a@" + "b." * 127 + "example"),
        *(
            "a@" + "b" * 64 + ".example",
            "a\u2028@b.example",
            "a\u0085@b.example",
            "\ud800@b.example",
        ),
        *("a@\ud800.example", "a@b.example, c@d.example", "x" * 100_000, "a\u200e b@c.example"),
        *("a\u200e@c.example", "a@b。\r\n.example"),
    ],
)
def test_bad(text: str) -> None:
    """Each is refused with the place, and without the address in the message."""
    with pytest.raises(InputError, match=r"^recipient: not an address") as caught:
        parse_mailbox(text, "recipient")
    assert not text or len(text) < 4 or text not in str(caught.value)


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[^@]{0,8}@[^@]{0,12}", fullmatch=True)))
def test_what_passes_can_stand_in_a_header(text: str) -> None:
    """No address that passes ends a line, a bracket or a field."""
    try:
        mailbox = parse_mailbox(text)
    except InputError:
        return
    shown = str(mailbox)
    assert shown.isprintable()
    assert len(shown.encode()) <= 254
    if '"' not in shown:
        assert not set(shown) & set('<>()[]\\,;: "')
    assert mailbox == parse_mailbox(shown)


def test_domains() -> None:
    """Lower case, A-labels, no dot at the end."""
    assert parse_domain("Example.COM.") == "example.com"
    with pytest.raises(InputError, match=r"^tracking: "):
        parse_domain("not a domain", "tracking")
