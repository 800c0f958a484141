"""Client session: what one connection to a server says and understands. Sans-IO.

Theory of operation. The session takes bytes (`receive`) and collects bytes (`take_output`). Between the
two the driver looks at two things, in this order, until neither asks for more:

    content_due   a transaction whose content is to be written now: answer with `send_content` or `abort`
    ready         another transaction may be taken: answer with `begin`, or leave it

Content is asked for at the last instant, so that the egress can write its begin mark and do its last
check right before the end of the content leaves (DESIGN §4). Three ways to carry transactions out:

    lock step   each command awaits its reply; for servers without PIPELINING, or that break
    pipelined   MAIL, RCPT and DATA in one write; the content when DATA is answered 354, since a client
                must not send it before (RFC 2920 §3.1); the next envelope rides with the content
    window      with CHUNKING too: envelope and `BDAT LAST` at once, as many transactions in flight as
                rate times round trip needs, up to `window` (RFC 3030 §2; see `window`)

Replies are matched to commands by order alone. So anything that breaks the order (a reply that nobody
awaits, one that can't answer its command, a malformed one, a time-out) ends the session at once: a
session that has lost count would give one message the answer of another. Stages of a transaction:

    RSET → MAIL → RCPT → DATA → CONTENT → DOT        pipelined and lock step (RSET where one is owed)
    RSET → MAIL → RCPT → CONTENT → DOT               lock step with CHUNKING
    CONTENT → RSET → MAIL → RCPT → DOT               window

Hot path, `bench/` case `smtp`: 12 µs a message on a warm connection, of 30 to 45 with the transport.
"""

from __future__ import annotations

__all__ = ("ClientSession", "Mode")

from collections import deque
from collections.abc import Callable
from typing import Literal

from deliverability.smtp.capabilities import Capabilities
from deliverability.smtp.content import END_OF_CONTENT, Content, dot_stuffed, only_crlf
from deliverability.smtp.endings import (
    Aborted,
    Accepted,
    Closed,
    ClosedBy,
    Ended,
    Ending,
    Event,
    Lost,
    Ready,
    Rejected,
    TlsWanted,
    TransactionPhase,
)
from deliverability.smtp.envelope import Transaction, mail_command, rcpt_command, unfit
from deliverability.smtp.opening import ClientConfig, Opening
from deliverability.smtp.reply import Reply, ReplyParser
from deliverability.smtp.window import Window
from engine.errors import LocalProtocolError, Phase

Mode = Literal["lock_step", "pipelined", "window"]

_RSET, _MAIL, _RCPT, _DATA, _CONTENT, _DOT = range(6)
_STAGE_PHASE: tuple[TransactionPhase, ...] = ("mail", "mail", "rcpt", "data", "dot", "dot")


class _Flight:
    """A transaction under way: `stage` is the reply awaited next (or `_CONTENT`: we are to write).

    `mode` is the session's when it was begun: falling back doesn't unsend what is on the wire.
    """

    __slots__ = (
        "begun",
        "beside",
        "ending",
        "mail",
        "mail_ok",
        "mode",
        "rcpt",
        "rcpt_ok",
        "sent_at",
        "stage",
        "transaction",
    )

    def __init__(self, transaction: Transaction, mode: Mode, mail: bytes, rcpt: bytes) -> None:
        self.transaction = transaction
        self.mode = mode
        self.mail = mail
        self.rcpt = rcpt
        self.stage = _MAIL
        self.begun = False
        self.beside = 0  # in flight when it was sent, itself too
        self.sent_at = 0.0
        self.ending: Ending | None = None
        self.mail_ok = False
        self.rcpt_ok = False


class ClientSession:
    """One session as client. Not reentrant; never used again once it gave `Closed`.

    Args:
        config: how it is to be held.
        clock: monotonic seconds, for the window; one that stands still lets it open to its bound.
    """

    __slots__ = (
        "_asked",
        "_capabilities",
        "_clock",
        "_closed",
        "_config",
        "_content_due",
        "_events",
        "_flights",
        "_mode",
        "_opening",
        "_output",
        "_parser",
        "_quitting",
        "_rset_owed",
        "_sent",
        "_taken",
        "_window",
        "replies",
        "took_s",
    )

    def __init__(self, config: ClientConfig, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.replies = 0
        """Complete replies understood so far; a driver measures progress by it."""
        self.took_s = 0.0
        """How long the content that was accepted last took, from its sending to its acceptance."""
        self._config = config
        self._output: list[bytes] = []
        self._opening = Opening(config, self._output)
        self._capabilities: Capabilities = self._opening.capabilities
        self._parser = ReplyParser()
        self._events: list[Event] = []
        self._flights: deque[_Flight] = deque()
        self._content_due: _Flight | None = None
        self._mode: Mode | None = None  # None until the opening is done
        self._clock = clock
        self._window = Window(config.window)
        self._rset_owed = False
        self._quitting = False
        self._closed = False
        self._taken = 0
        # Replies that commands in `_output` and before ask for, and that commands handed out do. The
        # greeting is owed unasked. A reply beyond `_sent` answers nothing, whatever it says.
        self._asked = 1
        self._sent = 1

    # ------------------------------------------------------------------------------------ what can be seen

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers; empty until EHLO is answered."""
        return self._capabilities

    @property
    def tls(self) -> bool:
        """Whether the session is encrypted."""
        return self._opening.tls

    @property
    def mode(self) -> Mode | None:
        """How transactions are carried out; `lock_step` after a server broke. None before readiness."""
        return self._mode

    @property
    def closed(self) -> bool:
        """Whether `Closed` was given."""
        return self._closed

    @property
    def in_flight(self) -> int:
        """Transactions taken whose ending wasn't given."""
        return len(self._flights)

    @property
    def window(self) -> int:
        """How many transactions may be in flight now, where they go in a window."""
        return self._window.size

    @property
    def exhausted(self) -> bool:
        """Whether the server said that it takes no more transactions in this session. RFC 9422."""
        return 0 < self._capabilities.mail_max <= self._taken

    @property
    def ready(self) -> bool:
        """Whether another transaction can be taken now."""
        if self._content_due is not None or self._mode is None or self._quitting or self._closed:
            return False
        if self.exhausted:
            return False
        flights = self._flights
        if not flights:
            return True
        if self._mode == "pipelined":
            return len(flights) == 1 and flights[0].stage == _DOT
        return self._mode == "window" and len(flights) < self._window.size

    @property
    def content_due(self) -> Transaction | None:
        """The transaction whose content is to be written now, if any."""
        return None if self._content_due is None else self._content_due.transaction

    @property
    def awaited(self) -> Phase | None:
        """The phase whose reply is awaited; None when the peer owes nothing. For time-outs."""
        if self._closed:
            return None
        if self._mode is None:
            return self._opening.phase
        if not self._flights:
            return "quit" if self._quitting else None
        stage = self._flights[0].stage
        return None if stage == _CONTENT else _STAGE_PHASE[stage]

    def take_output(self) -> list[bytes]:
        """Give what is to be written, in order; it is forgotten here."""
        output = self._output
        if not output:
            return []
        taken = output.copy()
        output.clear()  # the list is shared with the opening
        self._sent = self._asked
        return taken

    # ------------------------------------------------------------------------------------ what we do

    def begin(self, transaction: Transaction) -> Ending | None:
        """Take a transaction while `ready`; give its ending at once if this session can't carry it.

        None means taken: an `Ended` follows.

        Raises:
            LocalProtocolError: the envelope can't be rendered safely; nothing was taken.
        """
        mode = self._mode
        assert self.ready, "a transaction was begun while the session is not ready"
        assert mode is not None
        capabilities = self._capabilities
        refusal = unfit(
            transaction,
            capabilities,
            tls=self._opening.tls,
            authenticated=self._config.authenticated,
        )
        if refusal is not None:
            return Rejected("mail", refusal, local=True)
        mail = mail_command(transaction, capabilities)
        flight = _Flight(transaction, mode, mail, rcpt_command(transaction, capabilities))
        if mode == "window":
            flight.stage = _CONTENT
            self._content_due = flight
        elif self._rset_owed:
            self._pay_rset(flight)
        if mode == "pipelined":
            self._ask(3, b"%b\r\n%b\r\nDATA\r\n" % (mail, flight.rcpt))
        elif flight.stage == _MAIL:
            self._ask(1, mail + b"\r\n")
        self._flights.append(flight)
        self._taken += 1
        return None

    def send_content(self, content: Content) -> None:
        """Write the content of `content_due` and its end; from here on the message is begun.

        Raises:
            LocalProtocolError: it holds a bare CR or LF, or for `DATA` doesn't end with CRLF. Nothing
                was written; `abort` must follow.
        """
        flight = self._content_due
        assert flight is not None, "content was given that nobody asked for"
        data = content.data
        if not content.checked and flight.transaction.body != "binary":
            _check_content(data)
        flight.sent_at = self._clock()
        if flight.mode == "window":
            self._write_chunk(flight, data)
        else:
            if self._steps_in_chunks(flight):
                self._ask(1, b"BDAT %d LAST\r\n" % len(data), data)
            else:
                stuffed = data if content.dot_free else dot_stuffed(data)
                self._ask(1, stuffed, END_OF_CONTENT)
            flight.stage = _DOT
        flight.begun = True
        self._content_due = None

    def abort(self, reason: str = "") -> list[Event]:
        """Withdraw the transaction of `content_due`: it doesn't arrive.

        In a window nothing of it was sent. Lock step with CHUNKING resets the transaction. Where `DATA` is
        already answered no way leads back but closing the connection without the dot.
        """
        flight = self._content_due
        assert flight is not None, "nothing is due that could be aborted"
        self._content_due = None
        flight.ending = Aborted(reason)
        if flight.mode == "window":
            self._flights.pop()
            self._events.append(Ended(flight.transaction, flight.ending))
            self._quit_when_empty()
        elif self._steps_in_chunks(flight):
            self._rset_owed = True
            self._finish(flight)
        else:
            self._close("aborted", "data", reason or "withdrawn after DATA was accepted")
        return self._take_events()

    def quit(self) -> list[Event]:
        """Take no more transactions; say QUIT once those in flight have ended. Idempotent."""
        if not self._quitting and not self._closed:
            self._quitting = True
            self._quit_when_empty()
        return self._take_events()

    # ------------------------------------------------------------------------------------ what happens

    def receive(self, data: bytes) -> list[Event]:
        """Take what the server sent; give what it means, in order."""
        if self._closed:
            return []
        parser = self._parser
        replies = parser.receive(data)
        behind = self.replies + len(replies)
        for reply in replies:
            self.replies += 1
            if self.replies > self._sent and reply.code != 421:
                self._close("violation", self._phase(), f"unsolicited reply: {reply}", reply)
            elif self._mode is None:
                self._opening_reply(reply)
                if self._opening.step == "tls":
                    self._forget_clear_text(injected=self.replies < behind)
                    break
            elif self._flights:
                self._transaction_reply(self._flights[0], reply)
            else:
                self._idle_reply(reply)
            if self.closed:
                return self._take_events()
        if parser.violation:
            self._close("violation", self._phase(), parser.violation)
        elif parser.rest and self.replies >= self._sent and not b"421".startswith(parser.rest[:3]):
            self._close("violation", self._phase(), "the server speaks though nothing was asked")
        return self._take_events()

    def tls_established(self) -> None:
        """Go on after the handshake, which `TlsWanted` asked for. RFC 3207 §4.2."""
        self._opening.tls_established()
        self._asked += 1
        self._capabilities = self._opening.capabilities

    def timed_out(self) -> list[Event]:
        """Give up: the peer owes a reply too long. The session can't be used again."""
        phase = self._phase()
        return self._closed_now("timeout", phase, f"no reply in time, awaited: {phase}")

    def disconnected(self, reason: str) -> list[Event]:
        """Give up: the connection is gone."""
        if self._quitting and self._mode is not None and not self._flights:
            return self._closed_now("quit", "quit", reason)
        return self._closed_now("lost", self._phase(), reason)

    def close(self, reason: str) -> list[Event]:
        """Give up at once, by our own will, whatever is in flight."""
        return self._closed_now("aborted", self._phase(), reason)

    # ------------------------------------------------------------------------------------ replies

    def _opening_reply(self, reply: Reply) -> None:
        commands = len(self._output)
        event = self._opening.reply(reply)
        self._asked += len(self._output) - commands
        self._capabilities = self._opening.capabilities
        if isinstance(event, Closed):
            self._close(event.by, event.phase, event.reason, event.reply)
        elif isinstance(event, Ready):
            self._mode = self._first_mode()
            self._events.append(event)
            self._quit_when_empty()

    def _forget_clear_text(self, *, injected: bool) -> None:
        """Throw away what stands behind the 220 in clear: it must not pass for what comes after."""
        injected = injected or bool(self._parser.rest or self._parser.violation)
        self._parser.clear()
        self._events.append(TlsWanted(injected))

    def _first_mode(self) -> Mode:
        config, capabilities = self._config, self._capabilities
        if not (config.pipelining and capabilities.pipelining):
            return "lock_step"
        return "window" if config.chunking and capabilities.chunking else "pipelined"

    def _idle_reply(self, reply: Reply) -> None:
        if self._quitting:
            self._close("quit", "quit", str(reply), reply)
        elif reply.code == 421:
            self._close("service", "mail", str(reply), reply)
        else:
            self._close("violation", "mail", f"unsolicited reply: {reply}", reply)

    def _transaction_reply(self, flight: _Flight, reply: Reply) -> None:
        code = reply.code
        stage = flight.stage
        if code == 421:
            self._service_closing(flight, reply)
        elif 200 <= code < 300 and stage not in (_DATA, _CONTENT):
            self._succeeded(flight, stage, reply)
        elif code == 354 and stage == _DATA:
            self._data_accepted(flight)
        elif code >= 400 and stage not in (_RSET, _CONTENT):
            self._failed(flight, stage, reply)
        else:
            phase = _STAGE_PHASE[stage]
            self._close("violation", phase, f"not a reply to this command: {reply}", reply)

    def _succeeded(self, flight: _Flight, stage: int, reply: Reply) -> None:
        if stage == _DOT:
            if flight.ending is None or (flight.rcpt_ok and not flight.mail_ok):
                # The second case: MAIL refused, the rest accepted. It was sent, so this is the truth.
                flight.ending = Accepted(reply)
                self.took_s = took_s = self._clock() - flight.sent_at
                if flight.mode == "window":
                    self._window.accepted(took_s, flight.beside)
            self._finish(flight)
            return
        if stage == _RCPT:
            flight.rcpt_ok = True
            self._after_rcpt(flight)
            return
        flight.stage = stage + 1
        if stage == _MAIL:
            flight.mail_ok = True
        if flight.mode == "lock_step":
            self._ask(1, (flight.mail if stage == _RSET else flight.rcpt) + b"\r\n")

    def _after_rcpt(self, flight: _Flight) -> None:
        if flight.begun:
            flight.stage = _DOT
        elif self._steps_in_chunks(flight):
            flight.stage = _CONTENT
            self._content_due = flight
        else:
            flight.stage = _DATA
            if flight.mode == "lock_step":
                self._ask(1, b"DATA\r\n")

    def _data_accepted(self, flight: _Flight) -> None:
        if flight.ending is None:
            flight.stage = _CONTENT
            self._content_due = flight
        elif flight.rcpt_ok:
            self._close("violation", "data", "DATA accepted though MAIL was refused")
        else:
            # No recipient, yet the server wants content: the empty one. RFC 2920 §3.1
            self._ask(1, END_OF_CONTENT)
            flight.stage = _DOT

    def _failed(self, flight: _Flight, stage: int, reply: Reply) -> None:
        if flight.ending is None:
            flight.ending = Rejected(_STAGE_PHASE[stage], reply)
            self._window.refused(transient=reply.transient)
        if reply.code == 503 and (stage == _MAIL or (stage == _DATA and flight.rcpt_ok)):
            # Out of sequence, says the server, and it is not: it loses count when commands come at once.
            self._mode = "lock_step"
        last = _DOT if flight.begun else _DATA
        if stage >= last or flight.mode == "lock_step":
            # Only the dot ends a transaction for certain; after all else it may still be open.
            self._rset_owed |= flight.mail_ok and (stage < _DOT or flight.mode == "window")
            self._finish(flight)
        else:
            flight.stage = last if stage == _RCPT else _RCPT

    def _service_closing(self, flight: _Flight, reply: Reply) -> None:
        stage = flight.stage
        if flight.ending is None and stage not in (_RSET, _CONTENT):
            flight.ending = Rejected(_STAGE_PHASE[stage], reply)
        self._close("service", _STAGE_PHASE[stage], str(reply), reply)  # RFC 5321 §3.8

    # ------------------------------------------------------------------------------------ inner steps

    def _ask(self, replies: int, *output: bytes) -> None:
        """Put output in line, to which so many replies are owed."""
        self._output += output
        self._asked += replies

    def _steps_in_chunks(self, flight: _Flight) -> bool:
        """Whether this is lock step with `BDAT LAST` in place of `DATA`."""
        chunking = self._config.chunking and self._capabilities.chunking
        return chunking and flight.mode == "lock_step"

    def _pay_rset(self, flight: _Flight) -> None:
        self._rset_owed = False
        flight.stage = _RSET
        self._ask(1, b"RSET\r\n")

    def _write_chunk(self, flight: _Flight, data: bytes) -> None:
        flight.stage = _MAIL
        flight.beside = len(self._flights)
        if self._rset_owed:
            self._pay_rset(flight)
        octets = len(data)
        self._ask(3, b"%b\r\n%b\r\nBDAT %d LAST\r\n" % (flight.mail, flight.rcpt, octets), data)

    def _finish(self, flight: _Flight) -> None:
        """Give the ending of the first flight."""
        assert self._flights[0] is flight
        assert flight.ending is not None
        self._flights.popleft()
        self._events.append(Ended(flight.transaction, flight.ending))
        if self._quitting:
            self._quit_when_empty()

    def _quit_when_empty(self) -> None:
        if self._quitting and self._mode is not None and not self._flights:
            self._ask(1, b"QUIT\r\n")

    def _phase(self) -> Phase:
        if self._mode is None:
            return self._opening.phase
        if self._flights:
            return _STAGE_PHASE[self._flights[0].stage]
        return "quit" if self._quitting else "mail"

    def _close(self, by: ClosedBy, phase: Phase, reason: str, reply: Reply | None = None) -> None:
        """End what is in flight, then the session: the one place where either happens early."""
        assert not self._closed
        self._closed = True
        self._content_due = None
        if by != "refused":  # then it ends in a QUIT
            self._output.clear()
        for flight in self._flights:
            ending = flight.ending or Lost(_STAGE_PHASE[flight.stage], flight.begun, reason)
            self._events.append(Ended(flight.transaction, ending))
        self._flights.clear()
        self._events.append(Closed(by, phase, reason, reply))

    def _closed_now(self, by: ClosedBy, phase: Phase, reason: str) -> list[Event]:
        if not self._closed:
            self._close(by, phase, reason)
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events = self._events
        if events:
            self._events = []
        return events


def _check_content(data: bytes) -> None:
    if not only_crlf(data):
        raise LocalProtocolError("content holds a bare CR or LF, which could smuggle a command")
    if not data.endswith(b"\r\n"):
        raise LocalProtocolError("content does not end with CRLF")
