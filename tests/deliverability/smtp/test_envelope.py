"""Envelopes: rendered with what the server offers, refused when they could break a command."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.smtp.capabilities import NO_CAPABILITIES, Capabilities
from deliverability.smtp.commands import path_argument
from deliverability.smtp.envelope import (
    Body,
    DsnOptions,
    Transaction,
    from_xtext,
    mail_command,
    rcpt_command,
    unfit,
    xtext,
)
from engine.errors import LocalProtocolError

ALL = Capabilities(
    extended=True,
    declares_size=True,
    size=1_000,
    chunking=True,
    eight_bit_mime=True,
    binary_mime=True,
    smtputf8=True,
    dsn=True,
    requiretls=True,
)


def test_parameters_are_rendered_where_offered() -> None:
    transaction = Transaction(
        1,
        b"b@s.test",
        "zoë@m.test".encode(),
        size=500,
        body="8bit",
        smtputf8=True,
        require_tls=True,
        dsn=DsnOptions(
            ret="HDRS", envelope_id="a b+c", notify="FAILURE,DELAY", original_recipient="x@m.test"
        ),
    )
    assert mail_command(transaction, ALL) == (
        b"MAIL FROM:<b@s.test> SIZE=500 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+20b+2Bc"
    )
    assert rcpt_command(transaction, ALL) == (
        "RCPT TO:<zoë@m.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;x@m.test".encode()
    )


def test_what_is_only_a_wish_is_left_out_where_not_offered() -> None:
    transaction = Transaction(
        1, b"", b"a@m.test", size=5, dsn=DsnOptions(ret="FULL", notify="NEVER")
    )
    assert mail_command(transaction, NO_CAPABILITIES) == b"MAIL FROM:<>"
    assert rcpt_command(transaction, NO_CAPABILITIES) == b"RCPT TO:<a@m.test>"


@pytest.mark.parametrize(
    "path",
    [
        b"a@b.test>\r\nDATA",
        b"a@b\r.test",
        b"a@b\n.test",
        b"a@b\x00.test",
        b"a@b.test> SIZE=1",
        b"a b@c.test",
        b"<a@b.test",
        b'"a\r\n"@b.test',
        b'"a@b.test',
        b"a\x7f@b.test",
        b"a" * 300 + b"@b.test",
    ],
)
def test_a_path_that_could_break_a_command_is_refused(path: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="not a mailbox"):
        mail_command(Transaction(1, path, b"a@b.test"), ALL)
    with pytest.raises(LocalProtocolError, match="not a mailbox"):
        rcpt_command(Transaction(1, b"", path), ALL)


@given(st.binary(max_size=40) | st.text('ab@."\\<> \r\n', max_size=20).map(str.encode))
def test_a_rendered_path_is_one_line_and_read_back_the_same(path: bytes) -> None:
    try:
        command = rcpt_command(Transaction(1, b"", path), NO_CAPABILITIES)
    except LocalProtocolError:
        return
    assert not set(command) & set(b"\r\n\x00")
    argument = path_argument(command.removeprefix(b"RCPT "), mail=False)
    assert argument is not None
    assert argument.parameters == {}
    if not path.startswith(b"@"):  # a source route is taken off
        assert argument.path == path


@pytest.mark.parametrize(
    "dsn",
    [
        DsnOptions(notify="NEVER,FAILURE"),
        DsnOptions(notify="FAILURE\r\nDATA"),
        DsnOptions(notify="FAILURE,"),
        DsnOptions(original_recipient="x" * 600),
    ],
)
def test_a_dsn_option_outside_the_grammar_is_refused(dsn: DsnOptions) -> None:
    with pytest.raises(LocalProtocolError):
        rcpt_command(Transaction(1, b"", b"a@b.test", dsn=dsn), ALL)


def test_an_empty_forward_path_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="forward-path is empty"):
        rcpt_command(Transaction(1, b"", b""), ALL)


@given(st.text(max_size=30))
def test_xtext_is_printable_without_space_and_equals(text: str) -> None:
    encoded = xtext(text)
    assert all(33 <= octet <= 126 and octet != ord("=") for octet in encoded)


@pytest.mark.parametrize(
    ("body", "capabilities", "enhanced"),
    [
        ("8bit", NO_CAPABILITIES, "5.6.3"),
        ("binary", Capabilities(eight_bit_mime=True), "5.6.3"),
        ("7bit", NO_CAPABILITIES, None),
        ("binary", ALL, None),
    ],
)
def test_bodies_need_their_extension(
    body: Body, capabilities: Capabilities, enhanced: str | None
) -> None:
    refusal = unfit(Transaction(1, b"", b"a@b.test", body=body), capabilities, tls=False)
    assert enhanced == (None if refusal is None else refusal.enhanced)


def test_what_a_session_cannot_carry_is_refused_as_the_rfcs_say() -> None:
    plain = Transaction(1, b"", b"a@b.test")
    too_large = msgspec.structs.replace(plain, size=1_001)
    secret = msgspec.structs.replace(plain, require_tls=True)
    foreign = msgspec.structs.replace(plain, forward_path="ü@b.test".encode())
    codes = [
        refusal and (refusal.code, refusal.enhanced)
        for refusal in (
            unfit(plain, ALL, tls=False),
            unfit(too_large, ALL, tls=False),
            unfit(secret, ALL, tls=False),
            unfit(secret, ALL, tls=True),
            unfit(secret, ALL, tls=True, authenticated=True),
            unfit(secret, NO_CAPABILITIES, tls=True, authenticated=True),
            unfit(foreign, NO_CAPABILITIES, tls=True),
            unfit(foreign, ALL, tls=True),
        )
    ]
    no_tls, no_promise = (550, "5.7.10"), (550, "5.7.30")
    assert codes == [
        None,
        (552, "5.3.4"),
        no_tls,
        no_tls,
        None,
        no_promise,
        (553, "5.6.7"),
        None,
    ]


@given(st.text(max_size=30))
def test_xtext_comes_back(text: str) -> None:
    assert from_xtext(xtext(text).decode()) == text


@pytest.mark.parametrize("text", ["a b", "a=b", "+4", "+zz", "+FF", "ż", "a+"])
def test_what_is_no_xtext_is_told(text: str) -> None:
    assert from_xtext(text) is None
