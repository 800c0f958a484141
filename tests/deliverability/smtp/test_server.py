"""Server session against commands written by hand: transcripts, limits, smuggling, delays."""

from __future__ import annotations

import time
from base64 import b64encode

import msgspec
import pytest

from deliverability.smtp.policy import ACCEPT, PENDING, Decision, Peer, reject
from deliverability.smtp.reply import Reply
from deliverability.smtp.server import LINE_OCTETS_MAX, ServerConfig, ServerSession
from tests.deliverability.smtp.wire import RecordingPolicy

HELLO = b"EHLO out.test\r\n"
ENVELOPE = b"MAIL FROM:<b@s.test>\r\nRCPT TO:<a@m.test>\r\n"


class Spoken:
    """A server session that was greeted and has heard EHLO."""

    def __init__(
        self,
        config: ServerConfig | None = None,
        policy: RecordingPolicy | None = None,
        peer: Peer | None = None,
    ) -> None:
        self.policy = policy or RecordingPolicy()
        self.session = ServerSession(config or ServerConfig(), self.policy, peer or Peer())
        self.session.connect(0)
        assert self.session.take_output() == b"220 localhost ESMTP\r\n"
        assert self.say(HELLO)[-1].startswith("250 ")

    def say(self, data: bytes) -> list[str]:
        self.session.receive(data, 0)
        return self.session.take_output().decode().splitlines()

    def codes(self, data: bytes) -> list[str]:
        return [line[:3] for line in self.say(data)]


@pytest.mark.parametrize("cut", [1, 3, 10_000])
def test_a_transaction_by_data(cut: int) -> None:
    spoken = Spoken()
    data = ENVELOPE + b"DATA\r\n..dot\r\ntext\r\n.\r\nNOOP\r\n"
    codes = []
    for start in range(0, len(data), cut):
        codes += spoken.codes(data[start : start + cut])
    assert codes == ["250", "250", "354", "250", "250"]
    ((envelope, content),) = spoken.policy.messages
    assert (envelope.reverse_path, envelope.forward_paths) == (b"b@s.test", (b"a@m.test",))
    assert content == b".dot\r\ntext\r\n"


@pytest.mark.parametrize("cut", [1, 3, 10_000])
def test_a_transaction_by_bdat_in_several_chunks(cut: int) -> None:
    spoken = Spoken()
    data = ENVELOPE + b"BDAT 6\r\nfirs\r\nBDAT 0\r\nBDAT 6 last\r\n.\r\ne\r\nNOOP\r\n"
    codes = []
    for start in range(0, len(data), cut):
        codes += spoken.codes(data[start : start + cut])
    assert codes == ["250"] * 6
    assert spoken.policy.accepted() == [(b"a@m.test", b"firs\r\n.\r\ne\r\n")]


def test_an_empty_last_chunk_ends_the_message() -> None:
    spoken = Spoken()
    assert spoken.codes(ENVELOPE + b"BDAT 4\r\nab\r\nBDAT 0 LAST\r\n") == ["250"] * 4
    assert spoken.policy.accepted() == [(b"a@m.test", b"ab\r\n")]


def test_bdat_without_recipient_is_read_to_its_end_and_refused() -> None:
    spoken = Spoken(policy=RecordingPolicy(rcpt=reject(550, "5.1.1", "unknown")))
    smuggled = b"MAIL FROM:<x@y.test>\r\n"
    data = ENVELOPE + b"BDAT %d\r\n" % len(smuggled) + smuggled
    data += b"BDAT %d LAST\r\n" % len(smuggled) + smuggled + b"MAIL FROM:<c@s.test>\r\n"
    assert spoken.codes(data) == ["250", "550", "554", "503", "250"]
    assert spoken.policy.messages == []


def test_a_chunk_whose_size_cannot_be_read_ends_the_session() -> None:
    spoken = Spoken()
    assert spoken.codes(ENVELOPE + b"BDAT many LAST\r\nMAIL FROM:<x@y.test>\r\n") == [
        "250",
        "250",
        "501",
    ]
    assert spoken.session.closing


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n"],
)
def test_smuggling_by_a_false_end_of_content_is_refused(end: bytes) -> None:
    """SMTP smuggling: what follows the false end must never be taken for a command."""
    spoken = Spoken()
    smuggled = b"MAIL FROM:<admin@m.test>\r\nRCPT TO:<v@m.test>\r\nDATA\r\nfraud\r\n.\r\n"
    lines = spoken.say(ENVELOPE + b"DATA\r\ntext" + end + smuggled)
    assert [line[:3] for line in lines[:3]] == ["250", "250", "354"]
    if b"\x00" in end:  # no bare line end in it: one message, with the commands as its text
        ((_, content),) = spoken.policy.messages
        assert b"MAIL FROM:<admin@m.test>" in content
    else:
        assert lines[3].startswith("550 5.5.2")
        assert spoken.session.closing
        assert spoken.policy.messages == []
    assert spoken.policy.asked.count("mail") == 1


def test_a_bare_line_end_in_bdat_is_refused_unless_binary() -> None:
    spoken = Spoken()
    assert spoken.codes(ENVELOPE + b"BDAT 4 LAST\r\na\nb\n")[-1] == "550"
    assert spoken.session.closing
    binary = Spoken()
    envelope = ENVELOPE.replace(b"s.test>", b"s.test> BODY=BINARYMIME")
    assert binary.codes(envelope + b"BDAT 4 LAST\r\na\nb\n") == ["250"] * 3
    assert binary.policy.accepted() == [(b"a@m.test", b"a\nb\n")]


@pytest.mark.parametrize(
    "line",
    [b"NOOP\nMAIL FROM:<x@y.test>\r\n", b"NOOP\rMAIL FROM:<x@y.test>\r\n", b"NOOP\n", b"NO\rO"],
)
def test_a_bare_line_end_in_a_command_ends_the_session(line: bytes) -> None:
    spoken = Spoken()
    assert spoken.codes(line) == ["550"]
    assert spoken.session.closing
    assert "mail" not in spoken.policy.asked


def test_a_command_line_without_end_is_bounded() -> None:
    spoken = Spoken()
    assert spoken.codes(b"N" * LINE_OCTETS_MAX) == []
    assert spoken.codes(b"N") == ["500"]
    assert spoken.session.closing
    long_line = Spoken()
    assert long_line.codes(b"N" * (LINE_OCTETS_MAX + 1) + b"\r\n") == ["500"]


def test_content_beyond_the_size_is_refused_and_not_kept() -> None:
    config = ServerConfig(size_octets_max=1_000)
    spoken = Spoken(config)
    assert spoken.codes(ENVELOPE + b"DATA\r\n") == ["250", "250", "354"]
    for _ in range(100):
        assert spoken.codes(b"x" * 98 + b"\r\n") == []
    assert spoken.codes(b".\r\nNOOP\r\n") == ["552", "250"]
    assert spoken.codes(ENVELOPE + b"BDAT 1001 LAST\r\n" + b"x" * 1001 + b"NOOP\r\n") == [
        "250",
        "250",
        "552",
        "250",
    ]
    assert spoken.policy.messages == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"MAIL FROM:<b@s.test> SIZE=1001\r\n", "552"),
        (b"MAIL FROM:<b@s.test> SIZE=x\r\n", "501"),
        (b"MAIL FROM:<b@s.test> BODY=9BIT\r\n", "501"),
        (b"MAIL FROM:<b@s.test> X-NEW=1\r\n", "555"),
        (b"MAIL FROM:<b@s.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=x\r\n", "250"),
        ("MAIL FROM:<bü@s.test>\r\n".encode(), "553"),
        ("MAIL FROM:<bü@s.test> SMTPUTF8\r\n".encode(), "250"),
        (b"MAIL FROM:b@s.test\r\n", "501"),
        (b"MAIL FROM:<b@s.test>x\r\n", "501"),
        (b"MAIL FROM: <>\r\n", "250"),
        (b"mail from:<@relay.test,@x.test:b@s.test>\r\n", "250"),
        (b"MAIL\r\n", "501"),
        (b"RCPT TO:<a@m.test>\r\n", "503"),
        (b"DATA\r\n", "503"),
        (b"WHAT\r\n", "500"),
        (b"\r\n", "500"),
        (b"VRFY ann\r\n", "252"),
        (b"HELO bad_name!\r\n", "501"),
        (b"STARTTLS\r\n", "503"),
        (b"AUTH PLAIN x\r\n", "503"),
    ],
)
def test_commands_are_answered_as_the_rfcs_say(command: bytes, code: str) -> None:
    assert Spoken(ServerConfig(size_octets_max=1_000)).codes(command) == [code]


def test_commands_out_of_sequence_are_refused() -> None:
    policy = RecordingPolicy()
    session = ServerSession(ServerConfig(), policy, Peer())
    session.connect(0)
    session.receive(b"MAIL FROM:<b@s.test>\r\n", 0)
    assert b"\r\n503 " in session.take_output()
    spoken = Spoken()
    commands = (
        b"MAIL FROM:<b@s.test>\r\nMAIL FROM:<c@s.test>\r\nDATA\r\nRSET\r\nRCPT TO:<a@m.test>\r\n"
    )
    assert spoken.codes(commands) == ["250", "503", "554", "250", "503"]


def test_recipients_are_bounded() -> None:
    spoken = Spoken(ServerConfig(recipients_max=2))
    assert spoken.codes(ENVELOPE + b"RCPT TO:<b@m.test>\r\nRCPT TO:<c@m.test>\r\n") == [
        "250",
        "250",
        "250",
        "452",
    ]


def test_too_many_mistakes_end_the_session() -> None:
    spoken = Spoken(ServerConfig(errors_max=3))
    assert spoken.codes(b"WHAT\r\n" * 10) == ["500"] * 3 + ["421"]
    assert spoken.session.closing


def test_what_stands_behind_starttls_in_clear_is_refused() -> None:
    spoken = Spoken(ServerConfig(starttls=True))
    assert spoken.codes(b"STARTTLS\r\nMAIL FROM:<x@y.test>\r\n") == ["554"]
    assert spoken.session.closing
    assert not spoken.session.tls_wanted


def test_starttls_forgets_the_session_in_clear() -> None:
    spoken = Spoken(ServerConfig(starttls=True, auth=True))
    assert spoken.codes(b"MAIL FROM:<b@s.test>\r\nSTARTTLS\r\n") == ["250", "220"]
    assert spoken.session.tls_wanted
    spoken.session.tls_established()
    assert spoken.session.peer.tls
    assert spoken.codes(b"MAIL FROM:<b@s.test>\r\n") == ["503"]
    offered = spoken.say(HELLO)
    assert not any("STARTTLS" in line for line in offered)
    assert "250 AUTH PLAIN LOGIN" in offered


@pytest.mark.parametrize(
    "exchange",
    [
        [b"AUTH PLAIN " + b64encode(b"\0ann\0pw")],
        [b"AUTH PLAIN", b64encode(b"\0ann\0pw")],
        [b"AUTH LOGIN", b64encode(b"ann"), b64encode(b"pw")],
        [b"auth login " + b64encode(b"ann"), b64encode(b"pw")],
    ],
)
def test_auth_asks_the_policy(exchange: list[bytes]) -> None:
    spoken = Spoken(ServerConfig(auth=True), peer=Peer(tls=True))
    codes = [spoken.codes(line + b"\r\n")[0] for line in exchange]
    assert codes == ["334"] * (len(exchange) - 1) + ["235"]
    assert spoken.policy.logins == [("ann", "pw")]
    assert spoken.session.peer.username == "ann"
    assert spoken.codes(exchange[0] + b"\r\n") == ["503"]


@pytest.mark.parametrize("response", [b"*", b"!!!", b64encode(b"no nul"), b64encode(b"\0\0pw")])
def test_auth_that_makes_no_sense_is_refused(response: bytes) -> None:
    spoken = Spoken(ServerConfig(auth=True), peer=Peer(tls=True))
    assert spoken.codes(b"AUTH PLAIN\r\n") == ["334"]
    assert spoken.codes(response + b"\r\n") == ["501"]
    assert spoken.session.peer.username == ""
    assert spoken.codes(b"NOOP\r\n") == ["250"]


def test_each_phase_can_be_refused_by_policy() -> None:
    no = reject(451, "4.7.1", "not now")
    expected = {
        "mail": ["451", "503", "503"],
        "rcpt": ["250", "451", "554"],
        "data": ["250", "250", "451"],
    }
    for phase, codes in expected.items():
        spoken = Spoken(policy=RecordingPolicy(**{phase: no}))
        assert codes == spoken.codes(ENVELOPE + b"DATA\r\n")
    spoken = Spoken(policy=RecordingPolicy(data=no))
    assert spoken.codes(ENVELOPE + b"BDAT 3 LAST\r\n\r\n\r") == ["250", "250", "451"]
    spoken = Spoken(policy=RecordingPolicy(message=no))
    assert spoken.codes(ENVELOPE + b"BDAT 2 LAST\r\n\r\n") == ["250", "250", "451"]
    assert spoken.codes(ENVELOPE) == ["250", "250"]


def test_a_refused_greeting_closes() -> None:
    session = ServerSession(
        ServerConfig(), RecordingPolicy(connected=reject(554, "5.7.1", "no")), Peer()
    )
    session.connect(0)
    assert session.take_output() == b"554 5.7.1 no\r\n"
    assert session.closing


def test_a_delay_holds_all_that_follows() -> None:
    slow = Decision(delay_ms=300)
    spoken = Spoken(policy=RecordingPolicy(rcpt=slow))
    assert spoken.codes(ENVELOPE + b"DATA\r\n") == ["250"]
    assert spoken.session.hold_ms == 300
    assert spoken.session.stopped
    assert spoken.codes(b"ignored until then") == []
    assert "data" not in spoken.policy.asked
    spoken.session.resume(300)
    assert spoken.codes(b"\r\n.\r\n") == ["250", "354", "250"]
    assert spoken.policy.accepted() == [(b"a@m.test", b"ignored until then\r\n")]


def test_a_pending_decision_stops_the_session_until_it_is_made() -> None:
    spoken = Spoken(policy=RecordingPolicy(message=PENDING))
    assert spoken.codes(ENVELOPE + b"BDAT 2 LAST\r\n\r\nNOOP\r\n") == ["250", "250"]
    assert spoken.session.deciding
    spoken.session.decide(Decision(Reply(250, "2.0.0", ("durable",))), 0)
    assert spoken.session.take_output() == b"250 2.0.0 durable\r\n250 2.0.0 Ok\r\n"


def test_a_decision_made_after_the_connection_is_gone_is_dropped() -> None:
    spoken = Spoken(policy=RecordingPolicy(message=PENDING))
    spoken.say(ENVELOPE + b"BDAT 2 LAST\r\n\r\n")
    spoken.session.disconnected("reset")
    spoken.session.decide(ACCEPT, 0)
    assert spoken.session.take_output() == b""
    assert spoken.policy.closings == ["reset"]


@pytest.mark.parametrize(
    ("decision", "codes", "closing"),
    [
        (Decision(silent=True), [], False),
        (Decision(disconnect="before"), [], True),
        (Decision(disconnect="after"), ["250"], True),
        (reject(421, "4.3.2", "bye", disconnect="after"), ["421"], True),
    ],
)
def test_a_dot_can_go_unanswered_or_cost_the_connection(
    decision: Decision, codes: list[str], closing: bool
) -> None:
    spoken = Spoken(policy=RecordingPolicy(message=decision))
    assert codes == spoken.codes(ENVELOPE + b"DATA\r\nx\r\n.\r\n")[3:]
    assert closing == spoken.session.closing
    assert decision.positive == bool(spoken.policy.messages)


def test_after_a_silent_decision_nothing_more_is_said() -> None:
    """Else a pipelining client would take the next reply for the missing one."""
    spoken = Spoken(policy=RecordingPolicy(message=Decision(silent=True)))
    assert spoken.codes(ENVELOPE + b"BDAT 2 LAST\r\n\r\n" + ENVELOPE) == ["250", "250"]
    assert spoken.codes(b"NOOP\r\n") == []
    assert spoken.session.mute
    assert len(spoken.policy.messages) == 1


def test_what_is_not_offered_is_not_taken() -> None:
    config = ServerConfig(chunking=False, pipelining=False)
    assert not any("CHUNKING" in line for line in Spoken(config).say(HELLO))
    assert Spoken(config).codes(ENVELOPE + b"BDAT 2 LAST\r\n\r\n")[-1] == "501"


def test_eating_is_linear_in_what_is_received() -> None:
    """Ten times the content must not take a hundred times as long, however it is cut."""

    def seconds(octets: int) -> float:
        spoken = Spoken()
        spoken.say(ENVELOPE + b"DATA\r\n")
        line = b"x" * 98 + b"\r\n"
        began = time.perf_counter()
        for _ in range(octets // 100):
            for start in range(0, 100, 10):
                spoken.session.receive(line[start : start + 10], 0)
        spoken.session.receive(b".\r\n", 0)
        elapsed = time.perf_counter() - began
        assert len(spoken.policy.messages) == 1
        return elapsed

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(2)) < 40 * small


def test_limits_of_the_configuration_are_what_ehlo_says() -> None:
    config = ServerConfig(host_name="mx.test", size_octets_max=77, starttls=True)
    everything = Spoken(msgspec.structs.replace(config, host_name="localhost")).say(HELLO)
    assert {"250-SIZE 77", "250-PIPELINING", "250-CHUNKING", "250 STARTTLS"} <= set(everything)
