"""From the greeting to readiness: EHLO and HELO, STARTTLS, AUTH, and what ends it early."""

from __future__ import annotations

from base64 import b64decode

import msgspec
import pytest

from deliverability.smtp.client import ClientSession
from deliverability.smtp.endings import Closed, Ready, TlsWanted
from deliverability.smtp.opening import ClientConfig, Credentials, TlsUse
from engine.errors import LocalProtocolError
from tests.deliverability.smtp.wire import CONFIG, EHLO_PIPELINING, EHLO_PLAIN, Scripted

STARTTLS = b"250-mx.test\r\n250 STARTTLS\r\n"
LOGIN = Credentials(username="ann", password="s3cret")


def config(tls: TlsUse = "never", **changes: object) -> ClientConfig:
    return msgspec.structs.replace(CONFIG, tls=tls, **changes)


def test_a_positive_ehlo_makes_the_session_ready() -> None:
    scripted = Scripted(EHLO_PIPELINING)
    (event,) = scripted.events
    assert isinstance(event, Ready)
    assert event.capabilities.pipelining
    assert scripted.session.ready
    assert scripted.session.mode == "pipelined"


def test_a_server_that_does_not_know_ehlo_is_greeted_with_helo() -> None:
    scripted = Scripted(b"502 5.5.1 what?\r\n")
    assert scripted.wrote() == b"HELO out.sender.test\r\n"
    scripted.hear(b"250 mx.test\r\n")
    assert scripted.session.mode == "lock_step"
    assert not scripted.session.capabilities.extended


@pytest.mark.parametrize(
    "greeting", [b"554 5.7.1 no\r\n", b"421 busy\r\n", b"450 later\r\n", b"250 what\r\n"]
)
def test_a_refused_greeting_ends_in_quit(greeting: bytes) -> None:
    session = ClientSession(CONFIG)
    (closed,) = session.receive(greeting)
    assert isinstance(closed, Closed)
    assert (closed.by, closed.phase) == ("refused", "greeting")
    assert closed.reply is not None
    assert str(closed.reply.code).encode() == greeting[:3]
    assert session.take_output() == [b"QUIT\r\n"]


def test_a_transient_answer_to_ehlo_is_no_reason_for_helo() -> None:
    scripted = Scripted(b"451 4.3.0 later\r\n")
    assert scripted.closed().by == "refused"


def test_a_reply_before_its_command_was_sent_is_unsolicited() -> None:
    session = ClientSession(CONFIG)
    (closed,) = session.receive(b"220 mx.test\r\n250-mx.test\r\n250 CHUNKING\r\n")
    assert isinstance(closed, Closed)
    assert closed.by == "violation"
    assert "unsolicited" in closed.reason


def test_starttls_forgets_what_was_said_in_clear() -> None:
    scripted = Scripted(STARTTLS.replace(b"-mx", b"-CHUNKING") + b"", config("required"))
    assert scripted.wrote() == b"STARTTLS\r\n"
    assert scripted.hear(b"220 go\r\n") == [TlsWanted(injected=False)]
    scripted.session.tls_established()
    assert not scripted.session.capabilities.starttls
    assert scripted.wrote() == b"EHLO out.sender.test\r\n"
    scripted.hear(EHLO_PIPELINING)
    assert scripted.session.tls
    assert scripted.session.mode == "pipelined"


@pytest.mark.parametrize(
    "injected", [b"250-evil\r\n250 AUTH PLAIN\r\n", b"250 par", b"rubbish\r\n", b"220 go\r\n"]
)
def test_what_is_staged_behind_the_220_in_clear_is_thrown_away(injected: bytes) -> None:
    scripted = Scripted(STARTTLS, config("required"))
    scripted.wrote()
    assert scripted.hear(b"220 go\r\n" + injected) == [TlsWanted(injected=True)]
    scripted.session.tls_established()
    assert scripted.wrote() == b"EHLO out.sender.test\r\n"
    scripted.hear(b"250 mx.test\r\n")
    assert scripted.session.capabilities.auth == ()
    assert scripted.session.ready


def test_clear_text_that_comes_after_tls_was_agreed_is_a_violation() -> None:
    scripted = Scripted(STARTTLS, config("required"))
    scripted.wrote()
    scripted.hear(b"220 go\r\n")
    scripted.hear(b"250 evil\r\n")
    assert scripted.closed().by == "violation"


def test_opportunistic_tls_goes_on_in_clear_where_it_is_refused_or_not_offered() -> None:
    for ehlo, replies in ((EHLO_PLAIN, b""), (STARTTLS, b"454 4.7.0 not now\r\n")):
        scripted = Scripted(ehlo, config("opportunistic"))
        if replies:
            assert scripted.wrote() == b"STARTTLS\r\n"
            scripted.hear(replies)
        assert scripted.session.ready
        assert not scripted.session.tls


def test_required_tls_ends_the_session_where_it_is_refused_or_not_offered() -> None:
    for ehlo, replies in ((EHLO_PLAIN, b""), (STARTTLS, b"454 4.7.0 not now\r\n")):
        scripted = Scripted(ehlo, config("required"))
        if replies:
            scripted.wrote()
            scripted.hear(replies)
        assert (scripted.closed().by, scripted.closed().phase) == ("refused", "tls")
        assert not scripted.session.ready


def test_auth_plain_sends_its_response_at_once() -> None:
    scripted = Scripted(
        b"250-mx\r\n250 AUTH LOGIN PLAIN\r\n", config("implicit", credentials=LOGIN)
    )
    verb, mechanism, response = scripted.wrote().split()
    assert (verb, mechanism, b64decode(response)) == (b"AUTH", b"PLAIN", b"\0ann\0s3cret")
    assert not scripted.session.ready
    scripted.hear(b"235 2.7.0 welcome\r\n")
    assert scripted.session.ready


def test_auth_login_answers_two_challenges() -> None:
    scripted = Scripted(b"250-mx\r\n250 AUTH LOGIN\r\n", config("implicit", credentials=LOGIN))
    assert scripted.wrote() == b"AUTH LOGIN\r\n"
    scripted.hear(b"334 VXNlcm5hbWU6\r\n")
    assert b64decode(scripted.wrote()) == b"ann"
    scripted.hear(b"334 UGFzc3dvcmQ6\r\n")
    assert b64decode(scripted.wrote()) == b"s3cret"
    scripted.hear(b"235 ok\r\n")
    assert scripted.session.ready


def test_auth_that_asks_on_and_on_is_cancelled_then_ended() -> None:
    scripted = Scripted(b"250-mx\r\n250 AUTH PLAIN\r\n", config("implicit", credentials=LOGIN))
    scripted.wrote()
    scripted.hear(b"334 \r\n")
    assert scripted.wrote() == b"*\r\n"
    scripted.hear(b"334 \r\n")
    assert scripted.closed().by == "violation"


@pytest.mark.parametrize(
    ("ehlo", "tls"),
    [
        (b"250-mx\r\n250 AUTH CRAM-MD5\r\n", "implicit"),
        (b"250 mx\r\n", "implicit"),
        (b"250-mx\r\n250 AUTH PLAIN\r\n", "never"),
    ],
)
def test_credentials_are_not_sent_where_they_should_not_be(ehlo: bytes, tls: TlsUse) -> None:
    scripted = Scripted(ehlo, config(tls, credentials=LOGIN))
    assert (scripted.closed().by, scripted.closed().phase) == ("refused", "auth")
    assert scripted.wrote() == b"QUIT\r\n"


def test_refused_credentials_end_the_session() -> None:
    scripted = Scripted(
        b"250-mx\r\n250 AUTH PLAIN\r\n", config("never", credentials=LOGIN, auth_in_clear=True)
    )
    scripted.wrote()
    scripted.hear(b"535 5.7.8 no\r\n")
    assert scripted.closed().reply is not None
    assert scripted.closed().phase == "auth"


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(LOGIN)
    assert "s3cret" not in repr(config(credentials=LOGIN))


@pytest.mark.parametrize("name", ["", "a b", "x\r\nMAIL FROM:<>", "ü.test", "a" * 300])
def test_an_ehlo_name_that_could_break_the_command_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="not a host name"):
        ClientSession(config(ehlo_name=name))
