"""Client session against replies written by hand: modes, endings, and everything that goes wrong."""

from __future__ import annotations

import msgspec
import pytest

from deliverability.smtp.content import Content
from deliverability.smtp.endings import Aborted, Accepted, Lost, Ready, Rejected
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.smtp.reply import Reply
from engine.errors import LocalProtocolError
from tests.deliverability.smtp.wire import (
    CONFIG,
    CONTENT,
    EHLO_CHUNKING,
    EHLO_PIPELINING,
    EHLO_PLAIN,
    Scripted,
    transaction,
)

ENVELOPE = b"MAIL FROM:<b+1@sender.test>\r\nRCPT TO:<ann@mx.test>\r\nDATA\r\n"
ENVELOPE_OK = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n"
QUEUED = Reply(250, "2.0.0", ("queued",))


def pipelined(config: ClientConfig = CONFIG) -> Scripted:
    return Scripted(EHLO_PIPELINING, config)


def window(size: int = 16) -> Scripted:
    return Scripted(EHLO_CHUNKING, msgspec.structs.replace(CONFIG, window=size))


def lock_step(ehlo: bytes = EHLO_PLAIN) -> Scripted:
    return Scripted(ehlo)


# ---------------------------------------------------------------------------------------- the three modes


def test_pipelined_the_envelope_goes_in_one_write_and_the_next_rides_with_the_content() -> None:
    scripted = pipelined()
    scripted.begin(1)
    assert scripted.wrote() == ENVELOPE
    assert not scripted.ready()
    scripted.hear(ENVELOPE_OK)
    assert scripted.session.content_due == transaction(1)
    assert not scripted.ready()  # nothing may be asked before the content is in line
    scripted.send()
    assert scripted.ready()
    scripted.begin(2)
    assert not scripted.ready()
    assert scripted.wrote() == CONTENT + b".\r\n" + ENVELOPE
    scripted.hear(b"250 2.0.0 queued\r\n" + ENVELOPE_OK)
    assert scripted.endings() == {1: Accepted(QUEUED)}
    assert scripted.session.content_due == transaction(2)


def test_content_is_never_sent_before_354() -> None:
    scripted = pipelined()
    scripted.begin()
    scripted.wrote()
    for line in ENVELOPE_OK.splitlines(keepends=True)[:-1]:
        scripted.hear(line)
        assert scripted.session.content_due is None
        assert scripted.wrote() == b""
    scripted.hear(b"354 go\r\n")
    assert scripted.session.content_due is not None


def test_lock_step_awaits_each_reply() -> None:
    scripted = lock_step()
    scripted.begin()
    for command, reply in zip(
        ENVELOPE.splitlines(keepends=True), ENVELOPE_OK.splitlines(keepends=True), strict=True
    ):
        assert scripted.wrote() == command
        scripted.hear(reply)
    scripted.send()
    assert not scripted.ready()
    assert scripted.wrote() == CONTENT + b".\r\n"
    scripted.hear(b"250 2.0.0 queued\r\n")
    assert scripted.endings() == {1: Accepted(QUEUED)}
    assert scripted.ready()


def test_lock_step_with_chunking_sends_bdat() -> None:
    scripted = lock_step(b"250-mx.test\r\n250 CHUNKING\r\n")
    scripted.begin()
    scripted.wrote()
    scripted.hear(b"250 ok\r\n")
    scripted.wrote()
    scripted.hear(b"250 ok\r\n")
    assert scripted.session.content_due is not None
    scripted.send()
    assert scripted.wrote() == b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT
    scripted.hear(b"250 2.0.0 queued\r\n")
    assert scripted.endings() == {1: Accepted(QUEUED)}


def test_in_a_window_whole_messages_follow_each_other_unanswered() -> None:
    scripted = window()
    for token in (1, 2):
        scripted.begin(token)
        scripted.send()
    assert not scripted.ready()  # it opens with what is accepted
    one = ENVELOPE.removesuffix(b"DATA\r\n") + b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT
    assert scripted.wrote() == one + one
    scripted.hear(b"250 a\r\n250 b\r\n250 2.0.0 queued\r\n")
    assert scripted.endings() == {1: Accepted(QUEUED)}
    for token in (3, 4):
        scripted.begin(token)
        scripted.send()
    assert not scripted.ready()
    assert scripted.session.in_flight == 3


def test_the_window_never_passes_its_bound_and_shuts_on_a_refusal() -> None:
    scripted = window(3)
    tokens = iter(range(100))
    for _ in range(10):
        while scripted.ready():
            scripted.begin(next(tokens))
            scripted.send()
        scripted.wrote()
        assert scripted.session.in_flight <= 3
        scripted.hear(b"250 a\r\n250 b\r\n250 c\r\n")
    scripted.hear(b"452 4.3.1 full\r\n503 no\r\n503 no\r\n")
    scripted.hear(b"250 a\r\n250 b\r\n250 c\r\n")
    assert scripted.session.in_flight <= 1
    assert sum(isinstance(ending, Rejected) for ending in scripted.endings().values()) == 1


def test_a_refusal_for_good_halves_the_window() -> None:
    """One unknown user among many must not throw a fast connection back to one message a round trip."""
    scripted = window(8)
    tokens = iter(range(100))

    def fill() -> int:
        before = scripted.session.in_flight
        while scripted.ready():
            scripted.begin(next(tokens))
            scripted.send()
        scripted.wrote()
        return scripted.session.in_flight - before

    for _ in range(8):
        fill()
        scripted.hear(b"250 a\r\n250 b\r\n250 c\r\n")
    scripted.hear(b"250 a\r\n250 b\r\n250 c\r\n" * scripted.session.in_flight)
    assert fill() == 8
    scripted.hear(b"250 a\r\n250 b\r\n250 c\r\n" * 7)
    scripted.hear(b"250 a\r\n550 5.1.1 unknown\r\n554 no recipients\r\n")
    assert fill() == 4


def test_lines_that_begin_with_a_dot_are_stuffed_for_data_and_not_for_bdat() -> None:
    dotted = b".a\r\n..\r\n"
    scripted = pipelined()
    scripted.begin()
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.send(dotted)
    assert scripted.wrote() == b"..a\r\n...\r\n.\r\n"
    chunked = window()
    chunked.begin()
    chunked.send(dotted)
    assert chunked.wrote().endswith(b"LAST\r\n" + dotted)


def test_content_vouched_for_is_passed_on_uncopied() -> None:
    scripted = pipelined()
    scripted.begin()
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    data = b"x" * 10_000 + b"\r\n"
    scripted.session.send_content(Content(data, dot_free=True, checked=True))
    assert scripted.session.take_output()[0] is data


@pytest.mark.parametrize(
    "data", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n", b"no end", b"\n.\nMAIL FROM:<x@y.test>\r\n"]
)
def test_content_that_could_smuggle_is_refused(data: bytes) -> None:
    for scripted in (pipelined(), window()):
        scripted.begin()
        scripted.wrote()
        if scripted.session.content_due is None:
            scripted.hear(ENVELOPE_OK)
        with pytest.raises(LocalProtocolError):
            scripted.send(data)
        assert scripted.wrote() == b""
        scripted.events += scripted.session.abort("bad content")
        assert scripted.endings() == {1: Aborted("bad content")}


def test_binary_content_may_hold_anything() -> None:
    scripted = Scripted(EHLO_CHUNKING.replace(b"8BITMIME", b"BINARYMIME"))
    assert scripted.session.begin(Transaction(1, b"", b"a@b.test", body="binary")) is None
    scripted.send(b"a\nb\r\x00")
    assert scripted.wrote().endswith(
        b" BODY=BINARYMIME\r\nRCPT TO:<a@b.test>\r\nBDAT 5 LAST\r\na\nb\r\x00"
    )


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("replies", "phase", "code"),
    [
        (b"450 4.7.1 grey\r\n503 no\r\n503 no\r\n", "mail", 450),
        (b"250 ok\r\n550 5.1.1 unknown\r\n554 no recipients\r\n", "rcpt", 550),
        (b"250 ok\r\n250 ok\r\n451 4.3.0 later\r\n", "data", 451),
    ],
)
def test_a_refused_envelope_ends_the_transaction_alone(
    replies: bytes, phase: str, code: int
) -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(replies)
    ending = scripted.endings()[1]
    assert isinstance(ending, Rejected)
    assert (ending.phase, ending.reply.code, ending.local) == (phase, code, False)
    assert scripted.ready()
    scripted.begin(2)
    reset = b"" if phase == "mail" else b"RSET\r\n"  # the transaction may still be open there
    assert scripted.wrote() == reset + ENVELOPE
    scripted.hear((b"250 reset\r\n" if reset else b"") + ENVELOPE_OK)
    scripted.send()
    scripted.hear(b"")
    scripted.wrote()
    scripted.hear(b"250 2.0.0 queued\r\n")
    assert scripted.endings()[2] == Accepted(QUEUED)


def test_a_refused_dot_needs_no_reset() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.send()
    scripted.wrote()
    scripted.hear(b"554 5.7.1 spam\r\n")
    assert scripted.endings() == {1: Rejected("dot", Reply(554, "5.7.1", ("spam",)))}
    scripted.begin(2)
    assert scripted.wrote() == ENVELOPE


def test_data_accepted_without_recipient_gets_the_empty_content() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(b"250 ok\r\n550 5.1.1 unknown\r\n354 go\r\n")
    assert scripted.session.content_due is None
    assert scripted.wrote() == b".\r\n"
    scripted.hear(b"554 no valid recipients\r\n")
    assert scripted.endings() == {1: Rejected("rcpt", Reply(550, "5.1.1", ("unknown",)))}
    scripted.begin(2)
    assert scripted.wrote() == ENVELOPE


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_lock_step_stops_at_the_first_refusal(steps: int) -> None:
    scripted = lock_step()
    scripted.begin(1)
    scripted.wrote()
    for reply in ENVELOPE_OK.splitlines(keepends=True)[: steps - 1]:
        scripted.hear(reply)
        scripted.wrote()
    scripted.hear(b"451 4.0.0 no\r\n")
    ending = scripted.endings()[1]
    assert isinstance(ending, Rejected)
    assert ("mail", "rcpt", "data")[steps - 1] == ending.phase
    scripted.begin(2)
    assert scripted.wrote().startswith(b"MAIL" if steps == 1 else b"RSET\r\n")
    if steps > 1:
        scripted.hear(b"250 reset\r\n")
        assert scripted.wrote().startswith(b"MAIL")


def test_what_the_server_cannot_carry_is_refused_without_a_word() -> None:
    scripted = pipelined()
    large = msgspec.structs.replace(transaction(), size=2_000_000)
    ending = scripted.session.begin(large)
    assert isinstance(ending, Rejected)
    assert ending.local
    assert ending.reply.enhanced == "5.3.4"
    assert scripted.wrote() == b""
    assert scripted.ready()


def test_an_envelope_that_could_break_a_command_is_not_taken() -> None:
    scripted = pipelined()
    with pytest.raises(LocalProtocolError):
        scripted.session.begin(transaction(1, b"a@b.test>\r\nDATA"))
    assert scripted.wrote() == b""
    assert scripted.session.in_flight == 0
    assert scripted.ready()


def test_a_server_that_loses_count_of_commands_is_served_in_lock_step() -> None:
    scripted = window()
    for token in (1, 2):
        scripted.begin(token)
        scripted.send()
    scripted.wrote()
    scripted.hear(b"250 ok\r\n550 5.1.1 unknown\r\n503 no recipients\r\n")
    # It did not end the transaction before, so it takes MAIL for a nested one, and the rest as usual.
    scripted.hear(b"503 5.5.1 nested MAIL\r\n250 ok\r\n250 2.0.0 queued\r\n")
    assert scripted.endings()[2] == Accepted(QUEUED)  # sent is sent
    assert scripted.session.mode == "lock_step"
    scripted.begin(3)
    assert scripted.wrote() == b"RSET\r\n"


# ---------------------------------------------------------------------------------------- aborts


def test_abort_after_354_closes_without_the_dot() -> None:
    scripted = pipelined()
    scripted.begin()
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.events += scripted.session.abort("cancelled")
    assert scripted.endings() == {1: Aborted("cancelled")}
    assert scripted.closed().by == "aborted"
    assert scripted.wrote() == b""


def test_abort_in_a_window_leaves_no_trace_and_the_session_goes_on() -> None:
    scripted = window()
    scripted.begin(1)
    scripted.events += scripted.session.abort("cancelled")
    assert scripted.endings() == {1: Aborted("cancelled")}
    assert scripted.wrote() == b""
    scripted.begin(2)
    scripted.send()
    assert scripted.wrote().startswith(b"MAIL")


def test_abort_in_lock_step_with_chunking_resets() -> None:
    scripted = lock_step(b"250-mx.test\r\n250 CHUNKING\r\n")
    scripted.begin(1)
    for _ in range(2):
        scripted.wrote()
        scripted.hear(b"250 ok\r\n")
    scripted.events += scripted.session.abort("cancelled")
    assert scripted.endings() == {1: Aborted("cancelled")}
    scripted.begin(2)
    assert scripted.wrote() == b"RSET\r\n"


# ---------------------------------------------------------------------------------------- losses


def test_a_lost_connection_tells_what_was_begun() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.send()
    scripted.begin(2)
    scripted.wrote()
    scripted.events += scripted.session.disconnected("reset by peer")
    assert scripted.endings() == {
        1: Lost("dot", True, "reset by peer"),
        2: Lost("mail", False, "reset by peer"),
    }
    assert scripted.closed().by == "lost"
    assert scripted.session.disconnected("again") == []


def test_421_answers_the_command_awaited_and_ends_the_session() -> None:
    scripted = window()
    for token in (1, 2):
        scripted.begin(token)
        scripted.send()
    scripted.wrote()
    scripted.hear(b"250 a\r\n250 b\r\n421 4.3.2 going down\r\n")
    endings = scripted.endings()
    assert endings[1] == Rejected("dot", Reply(421, "4.3.2", ("going down",)))
    assert isinstance(endings[2], Lost)
    assert endings[2].begun
    assert scripted.closed().by == "service"


def test_421_while_idle_is_a_service_that_closes_not_a_violation() -> None:
    for cut in (1, 100):
        scripted = pipelined()
        reply = b"421 4.4.2 idle\r\n"
        for start in range(0, len(reply), cut):
            scripted.hear(reply[start : start + cut])
        assert scripted.closed().by == "service"


def test_desync_after_a_timeout_is_impossible() -> None:
    """A late reply must not be taken for the answer to the next message."""
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.send()
    scripted.wrote()
    assert scripted.session.awaited == "dot"
    scripted.events += scripted.session.timed_out()
    ending = scripted.endings()[1]
    assert isinstance(ending, Lost)
    assert ending.begun
    assert scripted.closed().by == "timeout"
    assert not scripted.ready()
    assert scripted.hear(b"250 2.0.0 queued\r\n") == []
    assert scripted.wrote() == b""


@pytest.mark.parametrize("line", [b"250 2.0.0 queued\r\n", b"550 no\r\n", b"250", b"x"])
def test_an_unsolicited_line_ends_an_idle_session(line: bytes) -> None:
    scripted = pipelined()
    scripted.hear(line)
    assert scripted.closed().by == "violation"
    assert not scripted.ready()


def test_one_reply_too_many_is_not_taken_for_the_answer_to_the_dot() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(ENVELOPE_OK + b"250 2.0.0 queued\r\n")
    ending = scripted.endings()[1]
    assert isinstance(ending, Lost)
    assert not ending.begun
    assert scripted.closed().by == "violation"


@pytest.mark.parametrize(
    "replies",
    [
        b"354 go\r\n",
        b"250 a\r\n354 b\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n",
        b"334 what\r\n",
        b"250 a\nb\r\n",
        b"HELO\r\n",
        b"250-" + b"x" * 5_000,
    ],
)
def test_a_reply_that_cannot_answer_its_command_ends_the_session(replies: bytes) -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(replies)
    assert isinstance(scripted.endings()[1], Lost)
    assert scripted.closed().by == "violation"
    assert scripted.session.receive(b"250 ok\r\n") == []


def test_an_unbounded_reply_to_the_dot_leaves_the_message_in_doubt() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    scripted.hear(ENVELOPE_OK)
    scripted.send()
    scripted.wrote()
    while not scripted.session.closed:
        scripted.hear(b"250-more\r\n")
    ending = scripted.endings()[1]
    assert isinstance(ending, Lost)
    assert ending.begun


# ---------------------------------------------------------------------------------------- the end


def test_quit_waits_for_what_is_in_flight() -> None:
    scripted = pipelined()
    scripted.begin(1)
    scripted.wrote()
    assert scripted.session.quit() == []
    assert not scripted.ready()
    scripted.hear(ENVELOPE_OK)
    scripted.send()
    assert scripted.wrote() == CONTENT + b".\r\n"
    scripted.hear(b"250 2.0.0 queued\r\n")
    assert scripted.wrote() == b"QUIT\r\n"
    assert scripted.session.awaited == "quit"
    scripted.hear(b"221 bye\r\n")
    assert scripted.closed().by == "quit"
    assert scripted.endings() == {1: Accepted(QUEUED)}


def test_a_server_that_hangs_up_after_quit_was_quit() -> None:
    scripted = pipelined()
    scripted.session.quit()
    assert scripted.wrote() == b"QUIT\r\n"
    scripted.events += scripted.session.disconnected("gone")
    assert scripted.closed().by == "quit"


def test_a_server_that_limits_transactions_gets_no_more() -> None:
    scripted = Scripted(b"250-mx.test\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=1\r\n")
    assert isinstance(scripted.events[0], Ready)
    scripted.begin(1)
    assert scripted.session.exhausted
    scripted.wrote()
    scripted.hear(b"550 no\r\n503 no\r\n503 no\r\n")
    assert not scripted.ready()


def test_what_is_awaited_names_the_phase_for_time_outs() -> None:
    scripted = lock_step()
    assert scripted.session.awaited is None
    scripted.begin()
    phases: list[str | None] = []
    for reply in (b"250 a\r\n", b"250 b\r\n", b"354 c\r\n"):
        scripted.wrote()
        phases.append(scripted.session.awaited)
        scripted.hear(reply)
    assert phases == ["mail", "rcpt", "data"]
    assert scripted.session.awaited is None  # now it is we who owe the content
    scripted.send()
    assert scripted.session.awaited == "dot"
