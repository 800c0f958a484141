"""Client against server, both ours: what one believes is what the other did."""

from __future__ import annotations

from collections import Counter
from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.smtp.client import ClientSession
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Aborted, Accepted, Closed, Ended, Lost, Rejected
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.policy import ACCEPT, Decision, reject
from deliverability.smtp.reply import Reply
from deliverability.smtp.server import ServerConfig
from tests.deliverability.smtp.wire import (
    CONFIG,
    EHLO_CHUNKING,
    EHLO_PIPELINING,
    EHLO_PLAIN,
    Dialogue,
    RecordingPolicy,
    Scripted,
    transaction,
)

SERVERS = {
    "window": ServerConfig(),
    "pipelined": ServerConfig(chunking=False),
    "lock_step_bdat": ServerConfig(pipelining=False),
    "lock_step": ServerConfig(pipelining=False, chunking=False),
}


def mailbox(number: int) -> bytes:
    return b"u%d@mx.test" % number


def body(number: int) -> bytes:
    return b"Subject: %d\r\n\r\n.dot\r\n..\r\n.\r\ntext %d\r\n" % (number, number)


@pytest.mark.parametrize(("mode", "cut"), list(product(SERVERS, [0, 1, 7])))
def test_every_message_arrives_once_and_unchanged(mode: str, cut: int) -> None:
    dialogue = Dialogue(
        server_config=SERVERS[mode],
        cut=cut,
        content=lambda due: Content(body(int(str(due.token)))),
    )
    dialogue.run(*(transaction(number, mailbox(number)) for number in range(20))).quit()
    assert [(mailbox(number), body(number)) for number in range(20)] == dialogue.policy.accepted()
    assert [(number, Accepted) for number in range(20)] == [
        (token, type(ending)) for token, ending in dialogue.endings
    ]
    assert [closed.by for closed in dialogue.closed] == ["quit"]


def test_a_window_needs_fewer_turns_than_messages() -> None:
    dialogue = Dialogue()
    dialogue.run(*(transaction(number) for number in range(100)))
    assert len(dialogue.policy.messages) == 100
    assert len(dialogue.writes) < 20


def test_pipelining_takes_one_turn_a_message_and_one_more() -> None:
    dialogue = Dialogue(server_config=SERVERS["pipelined"])
    dialogue.run(*(transaction(number) for number in range(50)))
    assert len(dialogue.writes) == 1 + 50 + 1  # EHLO, then one each, and the first envelope


_DECISIONS = st.sampled_from(
    [
        *[ACCEPT] * 6,
        Decision(delay_ms=5),
        reject(451, "4.7.1", "later"),
        reject(550, "5.1.1", "no"),
        reject(421, "4.3.2", "bye", disconnect="after"),
        Decision(disconnect="before"),
        Decision(disconnect="after"),
        Decision(Reply(550, "5.7.1", ("no", "really"))),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(sorted(SERVERS)),
    decisions=st.fixed_dictionaries(
        {phase: st.lists(_DECISIONS, max_size=8) for phase in ("mail", "rcpt", "data", "message")}
    ),
    aborted=st.sets(st.integers(0, 7)),
    cut=st.sampled_from([0, 1, 5]),
)
def test_client_and_server_never_disagree(
    mode: str, decisions: dict[str, list[Decision]], aborted: set[int], cut: int
) -> None:
    """Accepted → recorded; rejected, aborted or not begun → not recorded; each token ends once."""

    def content(due: Transaction) -> Content | Abort:
        number = int(str(due.token))
        return Abort("withdrawn") if number in aborted else Content(body(number))

    dialogue = Dialogue(
        server_config=SERVERS[mode],
        policy=RecordingPolicy(**decisions),
        cut=cut,
        content=content,
    )
    dialogue.run(*(transaction(number, mailbox(number)) for number in range(8))).quit()
    recorded = Counter(forward_path for forward_path, _ in dialogue.policy.accepted())
    for forward_path, data in dialogue.policy.accepted():
        assert data == body(int(forward_path[1:-8]))
    assert len(dialogue.endings) == len({token for token, _ in dialogue.endings})
    for token, ending in dialogue.endings:
        count = recorded.pop(mailbox(int(str(token))), 0)
        if isinstance(ending, Accepted):
            assert count == 1
        elif isinstance(ending, Lost) and ending.begun:
            assert count <= 1
        else:
            assert isinstance(ending, Rejected | Aborted | Lost)
            assert count == 0
    assert not recorded
    assert len(dialogue.closed) == 1
    assert len(dialogue.endings) + len(dialogue.waiting) == 8


_HOSTILE = st.lists(
    st.sampled_from(
        [
            b"250 2.1.0 Ok\r\n",
            b"250-a\r\n",
            b"354 go\r\n",
            b"450 4.7.1 x\r\n",
            b"550\r\n",
            b"503 5.5.1 seq\r\n",
            b"421 bye\r\n",
            b"220 go\r\n",
            b"25",
            b"0 x\r\n",
            b"\n",
            b"\r",
            b"250 a\nb\r\n",
        ]
    )
    | st.binary(max_size=6),
    max_size=30,
)
_TLS_CONFIG = msgspec.structs.replace(CONFIG, tls="opportunistic")


@settings(max_examples=300, deadline=None)
@given(
    ehlo=st.sampled_from([EHLO_PLAIN, EHLO_PIPELINING, EHLO_CHUNKING]),
    pieces=_HOSTILE,
    choices=st.lists(st.integers(0, 9), max_size=60),
)
def test_no_server_can_break_the_laws_of_the_client(
    ehlo: bytes, pieces: list[bytes], choices: list[int]
) -> None:
    """Any bytes at any time: no exception, one ending for each transaction, one close, then silence."""
    scripted = Scripted(ehlo)
    session = scripted.session
    begun: set[object] = set()
    dice = iter(choices)
    for number, piece in enumerate(pieces):
        if session.content_due is not None:
            if next(dice, 1) == 0:
                scripted.events += session.abort("dice")
            else:
                scripted.send()
        if session.ready:
            scripted.begin(number)
            begun.add(number)
        if next(dice, 1) != 2:
            scripted.wrote()
        scripted.hear(piece)
    scripted.events += session.disconnected("end of the test")
    assert begun == set(scripted.endings())
    assert sum(isinstance(event, Closed) for event in scripted.events) == 1
    assert isinstance(scripted.events[-1], Closed)
    assert session.receive(b"250 late\r\n") == []
    assert scripted.wrote() in (b"", b"QUIT\r\n")
    assert not session.ready


@settings(max_examples=200, deadline=None)
@given(_HOSTILE)
def test_no_server_can_break_the_opening(pieces: list[bytes]) -> None:
    session = ClientSession(_TLS_CONFIG)
    events = []
    for piece in pieces:
        events += session.receive(piece)
        session.take_output()
    events += session.disconnected("end of the test")
    assert sum(isinstance(event, Closed) for event in events) == 1
    assert not any(isinstance(event, Ended) for event in events)
