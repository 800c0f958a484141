"""Capabilities as read from replies to EHLO."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.smtp.capabilities import Capabilities
from deliverability.smtp.reply import Reply


def test_all_known_extensions_are_read() -> None:
    reply = Reply(
        250,
        "",
        (
            "mx.test at your service",
            "PIPELINING",
            "size 35882577",
            "8bitmime",
            "CHUNKING",
            "BINARYMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "STARTTLS",
            "REQUIRETLS",
            "AUTH PLAIN login",
            "AUTH=LOGIN XOAUTH2",
            "LIMITS MAILMAX=20 RCPTMAX=1",
            "X-UNKNOWN thing",
        ),
    )
    assert Capabilities.parse(reply) == Capabilities(
        domain="mx.test",
        extended=True,
        pipelining=True,
        chunking=True,
        eight_bit_mime=True,
        binary_mime=True,
        smtputf8=True,
        enhanced_status_codes=True,
        dsn=True,
        starttls=True,
        requiretls=True,
        declares_size=True,
        size=35882577,
        auth=("PLAIN", "LOGIN", "XOAUTH2"),
        mail_max=20,
    )


def test_a_size_that_is_no_number_means_no_limit() -> None:
    for value in ("", " 0", " -5", " 1e9", " " + "9" * 40, " ²"):
        capabilities = Capabilities.parse(Reply(250, "", ("mx", f"SIZE{value}")))
        assert capabilities.declares_size
        assert capabilities.size == 0


@given(st.lists(st.text(max_size=30), min_size=1, max_size=10))
def test_any_lines_are_read_without_error(lines: list[str]) -> None:
    capabilities = Capabilities.parse(Reply(250, "", tuple(lines)))
    assert capabilities.extended
    assert capabilities.size >= 0
