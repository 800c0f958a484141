"""Whatever a client sends, whole or octet by octet: the same answers, the same transactions, no error of ours.

The session is driven without sockets; the engine takes everything at once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from actors.backend import SendResult
from actors.gateway.keys import Keys
from actors.submission.content import Injector
from actors.submission.gathering import Gatherer, Transaction
from actors.submission.policy import Desk, SubmissionPolicy
from actors.worker.assembly import secret_of
from actors.worker.injected import Blobs
from actors.worker.rendering import letterheads
from deliverability.smtp.policy import Decision, Peer
from deliverability.smtp.server import ServerConfig, ServerSession
from engine.errors import InputError
from tests.actors.operations.living import config_of

NOW = 1_700_000_000_000
CONFIG = config_of(Path("unused"))
HEADS = letterheads(CONFIG, secret_of)
INJECTOR = Injector(CONFIG, HEADS, Blobs(Path("unused")), lambda: NOW)


class _AtOnce:
    """A gatherer whose engine accepts at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.octets = 0
        self.taken: list[Transaction] = []
        self._loop = loop

    def take(self, one: Transaction) -> asyncio.Future[SendResult]:
        self.taken.append(one)
        future: asyncio.Future[SendResult] = self._loop.create_future()
        future.set_result(SendResult("accepted", (b"m" * 16,)))
        return future


def talk(pieces: list[bytes]) -> tuple[bytes, list[Transaction], bool]:
    """Let a session take pieces; give what it said, took, and whether it closed."""
    loop = asyncio.new_event_loop()
    gatherer = _AtOnce(loop)
    desk = Desk(
        CONFIG,
        Keys(CONFIG),
        INJECTOR,
        cast(Gatherer, cast(Any, gatherer)),
        {name: head.guard for name, head in HEADS.items()},
        CollectorRegistry(),
    )
    peer = Peer(address="127.0.0.1", port=1)
    sessions: list[ServerSession] = []

    def decide(decision: Decision) -> None:
        sessions[0].decide(decision, NOW)

    offered = ServerConfig(size_octets_max=4096, recipients_max=100, binary_mime=False, dsn=False)
    session = ServerSession(offered, SubmissionPolicy(desk, peer, decide), peer)
    sessions.append(session)
    session.connect(NOW)
    said = [session.take_output()]
    for piece in pieces:
        if session.closing:
            break
        session.receive(piece, NOW)
        while session.deciding or session.hold_ms:
            loop.run_until_complete(asyncio.sleep(0))
            if session.hold_ms:
                session.resume(NOW)
        said.append(session.take_output())
        assert session.held <= 4096 + 4096 + len(piece)
    session.disconnected("done")
    loop.close()
    return b"".join(said), gatherer.taken, session.closing


COMMANDS = st.sampled_from(
    [
        b"EHLO app.example\r\n",
        b"HELO x\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<> BODY=8BITMIME SIZE=10\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b'RCPT TO:<"q q"@d.example>\r\n',
        b"DATA\r\n",
        b"From: hello@shop.example\r\nSubject: x\r\n\r\n..hi\r\n.\r\n",
        b"From: x@evil.example\r\n\r\n.\r\n",
        b"Veredus-Stream: marketing\r\nFrom: hello@shop.example\r\n\r\n.\r\n",
        b"BDAT 30\r\nFrom: hello@shop.example\r\n\r\nhi",
        b"BDAT 0 LAST\r\n",
        b"BDAT 5 LAST\r\nabcde",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"AUTH PLAIN AAAA\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b".\n.\r\n",
        b"\r\n",
    ]
)
STREAMS = st.lists(COMMANDS | st.binary(max_size=20), max_size=14).map(b"".join)


@settings(max_examples=250)
@given(stream=st.one_of(STREAMS, STREAMS.map(lambda rest: b"EHLO a\r\n" + rest)), data=st.data())
def test_cuts_change_nothing(stream: bytes, data: st.DataObject) -> None:
    """Whole, octet by octet, and cut anywhere."""
    whole = talk([stream])
    assert talk([stream[n : n + 1] for n in range(len(stream))]) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert talk(pieces) == whole
    said, taken, _ = whole
    assert said.count(b"queued as") == len(taken)
    for one in taken:
        assert b"\n" not in one.message.body.replace(b"\r\n", b"")
        assert b"veredus-" not in one.message.headers.lower()
        assert one.message.headers.startswith(b"Received: ")


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                *(b"From: hello@shop.example", b"From:", b"Bcc: x", b" folded", b"\r\n", b"\n"),
                *(b"\0", b"\r", b"a" * 1200, b"Subject: \xff", b"Veredus-Pool: p", b"Date: x"),
            ]
        )
        | st.binary(max_size=12),
        max_size=12,
    ).map(b"".join)
)
def test_raw_mime_is_taken_or_refused(raw: bytes) -> None:
    """Nothing else happens; what is taken has CRLF alone, one From, and no line too long."""
    try:
        message = INJECTOR.read_raw("default", raw)
    except InputError:
        return
    whole = message.headers + b"\r\n" + message.body
    assert not set(whole.replace(b"\r\n", b"")) & set(b"\r\n\0")
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    names = [line.partition(b":")[0].lower() for line in message.headers.split(b"\r\n")]
    assert names.count(b"from") == 1
    assert b"bcc" not in names


def test_an_endless_line_and_an_endless_chunk_are_bounded() -> None:
    """Memory doesn't grow with what is announced, nor with what never ends."""
    said, taken, closed = talk([b"x" * 100_000])
    assert closed
    assert b"500 5.5.6" in said
    mail = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n"
    said, taken, _ = talk([mail, b"BDAT 99999999999\r\n", *([b"y" * 3000] * 20)])
    assert not taken
    said, taken, _ = talk([mail, b"DATA\r\n", *([b"z" * 3000 + b"\r\n"] * 20), b".\r\n"])
    assert b"552 5.3.4" in said
    assert not taken
