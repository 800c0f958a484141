"""A client and a server session joined by hand, and the parts that their tests share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from deliverability.smtp.client import ClientSession
from deliverability.smtp.content import Abort, Content
from deliverability.smtp.endings import Closed, Ended, Ending, Event
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.opening import ClientConfig
from deliverability.smtp.policy import ACCEPT, Decision, Envelope, Peer
from deliverability.smtp.server import ServerConfig, ServerSession

CONFIG = ClientConfig(ehlo_name="out.sender.test", tls="never")
CONTENT = b"Subject: hello\r\n\r\nWarm greetings.\r\n"


def transaction(token: object = 1, forward_path: bytes = b"ann@mx.test") -> Transaction:
    """One plain transaction."""
    return Transaction(token, b"b+1@sender.test", forward_path)


class RecordingPolicy:
    """Accepts all but what `decisions` says by phase; a list is used up one by one. Records messages."""

    def __init__(self, **decisions: Decision | Iterable[Decision]) -> None:
        self.decisions = {
            phase: decision if isinstance(decision, Decision) else deque(decision)
            for phase, decision in decisions.items()
        }
        self.messages: list[tuple[Envelope, bytes]] = []
        self.logins: list[tuple[str, str]] = []
        self.peers: list[Peer] = []
        self.closings: list[str] = []
        self.asked: list[str] = []

    def decide(self, phase: str) -> Decision:
        self.asked.append(phase)
        decision = self.decisions.get(phase, ACCEPT)
        if isinstance(decision, Decision):
            return decision
        return decision.popleft() if decision else ACCEPT

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        return self.decide("connected")

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        self.peers.append(peer)
        return self.decide("helo")

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        self.logins.append((username, password))
        return self.decide("auth")

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return self.decide("mail")

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        return self.decide("rcpt")

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return self.decide("data")

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        decision = self.decide("message")
        if decision.positive and not decision.pending:
            self.messages.append((envelope, content))
        return decision

    def closed(self, reason: str) -> None:
        self.closings.append(reason)

    def accepted(self) -> list[tuple[bytes, bytes]]:
        """Forward-path and content of each message taken."""
        return [(envelope.forward_paths[0], content) for envelope, content in self.messages]


class Dialogue:
    """Carries bytes between a client and a server session, cut as wanted, until nobody speaks."""

    def __init__(
        self,
        config: ClientConfig = CONFIG,
        server_config: ServerConfig | None = None,
        policy: RecordingPolicy | None = None,
        *,
        cut: int = 0,
        content: Callable[[Transaction], Content | Abort] = lambda _: Content(CONTENT),
    ) -> None:
        self.policy = policy or RecordingPolicy()
        self.client = ClientSession(config)
        self.server = ServerSession(server_config or ServerConfig(), self.policy, Peer())
        self.cut = cut
        self.content = content
        self.waiting: deque[Transaction] = deque()
        self.endings: list[tuple[object, Ending]] = []
        self.closed: list[Closed] = []
        self.said: list[bytes] = []
        self.writes: list[bytes] = []
        self.held_ms = 0
        self.server.connect(0)

    def run(self, *transactions: Transaction) -> Dialogue:
        """Carry these out; return when nobody has anything to say."""
        self.waiting += transactions
        busy = True
        while busy:
            self._pump()
            busy = self._to_server() | self._to_client()
        return self

    def quit(self) -> Dialogue:
        """Let the client say QUIT, and carry that too."""
        self._note(self.client.quit())
        return self.run()

    def _pump(self) -> None:
        client = self.client
        while True:
            due = client.content_due
            if due is not None:
                content = self.content(due)
                if isinstance(content, Abort):
                    self._note(client.abort(content.reason))
                else:
                    client.send_content(content)
            elif client.ready and self.waiting:
                taken = self.waiting.popleft()
                ending = client.begin(taken)
                if ending is not None:
                    self.endings.append((taken.token, ending))
            else:
                return

    def _to_server(self) -> bool:
        output = b"".join(self.client.take_output())
        if output:
            self.writes.append(output)
        for piece in self._pieces(output):
            if not self.server.closing:
                self.server.receive(piece, 0)
            while self.server.hold_ms:
                self.held_ms += self.server.hold_ms
                self.server.resume(0)
        if self.client.closed and not self.server.closing:
            self.server.disconnected("client left")
        while self.server.hold_ms:
            self.held_ms += self.server.hold_ms
            self.server.resume(0)
        return bool(output)

    def _to_client(self) -> bool:
        output = self.server.take_output()
        if output:
            self.said.append(output)
        for piece in self._pieces(output):
            self._note(self.client.receive(piece))
        if self.server.closing and not self.client.closed:
            self._note(self.client.disconnected("server left"))
            return True
        return bool(output)

    def _pieces(self, data: bytes) -> list[bytes]:
        if not self.cut or not data:
            return [data] if data else []
        return [data[at : at + self.cut] for at in range(0, len(data), self.cut)]

    def _note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Ended):
                self.endings.append((event.transaction.token, event.ending))
            elif isinstance(event, Closed):
                self.closed.append(event)


EHLO = b"250-mx.test\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
EHLO_PLAIN = b"250 mx.test\r\n"
EHLO_PIPELINING = EHLO + b"250 PIPELINING\r\n"
EHLO_CHUNKING = EHLO + b"250-PIPELINING\r\n250 CHUNKING\r\n"


class Scripted:
    """A client session against replies written down in the test."""

    def __init__(self, ehlo: bytes, config: ClientConfig = CONFIG) -> None:
        self.session = ClientSession(config)
        self.events: list[Event] = []
        self.hear(b"220 mx.test ESMTP\r\n")
        assert self.wrote() == b"EHLO out.sender.test\r\n"
        self.hear(ehlo)

    def hear(self, replies: bytes) -> list[Event]:
        events = self.session.receive(replies)
        self.events += events
        return events

    def wrote(self) -> bytes:
        return b"".join(self.session.take_output())

    def ready(self) -> bool:
        return self.session.ready

    def begin(self, token: object = 1) -> None:
        assert self.session.begin(transaction(token)) is None

    def send(self, data: bytes = CONTENT) -> None:
        self.session.send_content(Content(data))

    def endings(self) -> dict[object, Ending]:
        ended = [event for event in self.events if isinstance(event, Ended)]
        assert len(ended) == len({event.transaction.token for event in ended})
        return {event.transaction.token: event.ending for event in ended}

    def closed(self) -> Closed:
        (closed,) = (event for event in self.events if isinstance(event, Closed))
        return closed
