"""Server session: one client's connection, as a listener or a twin holds it. Sans-IO. RFC 5321 §4.

Theory of operation. The session keeps what it received in a buffer and eats it from the front:

    COMMAND   a line up to CRLF → a method by verb → a policy decision → a reply
    DATA      octets up to CRLF . CRLF → the whole message → a policy decision → a reply
    CHUNK     so many octets of BDAT → at the last one as for DATA

It eats on until the buffer is empty or it must stop: `hold_ms` (a decision comes with a delay),
`deciding` (there is no decision yet), `tls_wanted`, `mute`, or `closing`. Replies come in the order of the
commands, since nothing is eaten behind a stop. Whatever could be taken for two things is refused and the
connection closed: a bare CR or LF in a command or in content, a command behind STARTTLS. One machine, one
module: commands and answers share its state, and read best beside each other.

Hot path, `bench/` case `smtp`: 12 µs a message of 10 KB, of 20 to 30 with the transport.
"""

from __future__ import annotations

__all__ = ("ServerConfig", "ServerSession")

from base64 import b64encode
from collections.abc import Callable

import msgspec

from deliverability.smtp.commands import (
    PathArgument,
    bdat_argument,
    helo_argument,
    login_answer,
    path_argument,
    plain_credentials,
)
from deliverability.smtp.content import DataReceiver, only_crlf
from deliverability.smtp.policy import ACCEPT, Decision, Envelope, Peer, ServerPolicy
from deliverability.smtp.reply import Reply

LINE_OCTETS_MAX = 2_048
"""Longest command line: 512 of RFC 5321 §4.5.3.1.4 and what the extensions add to it."""

_MAIL_PARAMETERS = frozenset(
    ("SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "REQUIRETLS", "AUTH", "MT-PRIORITY")
)
_RCPT_PARAMETERS = frozenset(("NOTIFY", "ORCPT"))
_BODIES = frozenset(("7BIT", "8BITMIME", "BINARYMIME"))

_GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
_OK_MAIL = b"250 2.1.0 Ok\r\n"
_OK_RCPT = b"250 2.1.5 Ok\r\n"
_OK_CHUNK = b"250 2.0.0 Ok\r\n"
_OK_MESSAGE = b"250 2.0.0 Ok\r\n"
_OK_RSET = b"250 2.0.0 Ok\r\n"
_BYE = b"221 2.0.0 Bye\r\n"
_BAD_SEQUENCE = b"503 5.5.1 Bad sequence of commands\r\n"
_BAD_SYNTAX = b"501 5.5.4 Syntax error in the arguments\r\n"
_UNKNOWN = b"500 5.5.2 Command not recognized\r\n"
_TOO_LARGE = b"552 5.3.4 Message too large\r\n"
_BARE = b"550 5.5.2 Bare CR or LF is not taken, lines end with CRLF\r\n"
_NOT_ASCII = b"553 5.6.7 Address outside ASCII without SMTPUTF8\r\n"
_SIZE_DIGITS_MAX = 20  # RFC 1870 §4
_NO_RECIPIENTS = b"554 5.5.1 No valid recipients\r\n"


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener offers, and its limits.

    `errors_max` is how many commands may be malformed or out of sequence before the session is closed.
    `auth` offers AUTH PLAIN and LOGIN, on an encrypted session alone.
    """

    host_name: str = "localhost"
    size_octets_max: int = 50 * 1024 * 1024
    recipients_max: int = 1_000
    errors_max: int = 20
    pipelining: bool = True
    chunking: bool = True
    binary_mime: bool = True
    eight_bit_mime: bool = True
    smtputf8: bool = True
    dsn: bool = True
    starttls: bool = False
    requiretls: bool = False
    auth: bool = False


class ServerSession:
    """One session as server. The driver calls `connect` first, then `receive` as bytes come."""

    __slots__ = (
        "_auth_mechanism",
        "_auth_username",
        "_buffer",
        "_chunk_left",
        "_chunking",
        "_chunks",
        "_chunks_octets",
        "_config",
        "_eat",
        "_envelope",
        "_errors",
        "_failure",
        "_held",
        "_last_chunk",
        "_now_ms",
        "_output",
        "_over",
        "_policy",
        "_position",
        "_rcpt_pending",
        "_receiver",
        "_then",
        "_verbs",
        "closing",
        "deciding",
        "hold_ms",
        "mute",
        "peer",
        "tls_wanted",
    )

    def __init__(self, config: ServerConfig, policy: ServerPolicy, peer: Peer) -> None:
        self.peer = peer
        """Who is at the other end."""
        self.hold_ms = 0
        """Milliseconds after which the driver is to call `resume`; 0: none."""
        self.deciding = False
        """Whether the session waits for `decide`."""
        self.mute = False
        """Whether a decision was `silent`: nothing more is eaten or said."""
        self.tls_wanted = False
        """Whether the driver is to make the handshake once the output is written."""
        self.closing = False
        """Whether the driver is to close the connection once the output is written."""
        self._config = config
        self._policy = policy
        self._output: list[bytes] = []
        self._buffer = b""
        self._position = 0
        self._now_ms = 0  # the instant of the input that is being worked on
        self._eat: Callable[[], bool] = self._eat_command
        # What a decision that is held back, or not made yet, will lead to.
        self._held = ACCEPT
        self._then: Callable[[Decision], None] | None = None
        self._envelope: Envelope | None = None
        self._receiver: DataReceiver | None = None
        self._chunks: list[bytes] = []
        self._chunks_octets = 0
        self._chunk_left = 0
        self._chunking = False
        self._last_chunk = False
        self._failure = b""  # what BDAT is answered once a chunk was refused
        self._errors = 0
        self._rcpt_pending: PathArgument | None = None
        self._auth_mechanism = ""
        self._auth_username = ""
        self._over = False
        self._verbs: dict[bytes, Callable[[bytes], None]] = {
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"BDAT": self._bdat,
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"QUIT": self._quit,
            b"VRFY": self._vrfy,
            b"STARTTLS": self._starttls,
            b"AUTH": self._auth,
        }

    # ------------------------------------------------------------------------------------ for the driver

    @property
    def stopped(self) -> bool:
        """Whether nothing more is eaten for now; a driver should not read meanwhile."""
        return bool(self.hold_ms) or self.deciding or self.tls_wanted or self.closing or self.mute

    @property
    def buffered(self) -> int:
        """Octets received that wait to be eaten."""
        return len(self._buffer) - self._position

    @property
    def held(self) -> int:
        """Octets of content and commands that this session keeps in memory, about."""
        receiver = self._receiver
        content = receiver.octets if receiver is not None and not receiver.too_large else 0
        chunks = 0 if self._failure else self._chunks_octets - self._chunk_left
        return self.buffered + content + chunks

    def give_up(self, reply: Reply) -> None:
        """Say a last reply and close: the listener can't go on with this session."""
        if not self.closing:
            self._give_up(reply.encode())

    def connect(self, now_ms: int) -> None:
        """Begin: decide on the greeting. RFC 5321 §3.1."""
        self._now_ms = now_ms
        self._answer(self._policy.connected(self.peer, now_ms), self._greet)

    def receive(self, data: bytes, now_ms: int) -> None:
        """Take what the client sent, and go as far as it leads."""
        self._now_ms = now_ms
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0
        self._run()

    def resume(self, now_ms: int) -> None:
        """Go on after `hold_ms`."""
        self._now_ms = now_ms
        then = self._then
        assert self.hold_ms
        assert then is not None
        self.hold_ms = 0
        then(self._held)
        self._run()

    def decide(self, decision: Decision, now_ms: int) -> None:
        """Give the decision that a policy left `pending`; without effect once the connection is gone."""
        self._now_ms = now_ms
        then = self._then
        assert self.deciding
        assert then is not None
        self.deciding = False
        if not self._over:
            self._answer(decision, then)
            self._run()

    def tls_established(self) -> None:
        """Go on after the handshake; all that was said in clear is forgotten. RFC 3207 §4.2."""
        assert self.tls_wanted
        self.tls_wanted = False
        self._buffer = b""
        self._position = 0
        self._reset()
        self.peer = Peer(address=self.peer.address, port=self.peer.port, tls=True)

    def disconnected(self, reason: str) -> None:
        """End: the connection is gone, or is to be closed. Idempotent."""
        if not self._over:
            self._over = True
            self.closing = True
            self._policy.closed(reason)

    def take_output(self) -> bytes:
        """Give what is to be written; it is forgotten here."""
        output = self._output
        if not output:
            return b""
        self._output = []
        return output[0] if len(output) == 1 else b"".join(output)

    # ------------------------------------------------------------------------------------ eating

    def _run(self) -> None:
        while self._position < len(self._buffer):
            if self.stopped or not self._eat():
                return

    def _eat_command(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        verb, _, argument = line.partition(b" ")
        method = self._verbs.get(verb.upper())
        if method is None:
            self._mistake(_UNKNOWN)
        else:
            method(argument)
        return True

    def _take_line(self) -> bytes | None:
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\r\n", start)
        if end < 0 or end - start > LINE_OCTETS_MAX:
            self._look_at_incomplete(end)
            return None
        line = buffer[start:end]
        if b"\n" in line or b"\r" in line:
            self._give_up(_BARE)
            return None
        self._position = end + 2
        return line

    def _look_at_incomplete(self, end: int) -> None:
        """Refuse a line whose end is too far away, or that can't become one."""
        rest = self._buffer[self._position : self._position + LINE_OCTETS_MAX + 1]
        if end >= 0 or len(rest) > LINE_OCTETS_MAX:
            self._give_up(b"500 5.5.6 Line too long\r\n")
        elif b"\n" in rest or b"\r" in rest[:-1]:
            self._give_up(_BARE)

    def _eat_data(self) -> bool:
        receiver = self._receiver
        assert receiver is not None
        end = receiver.receive(self._buffer, self._position)
        if end < 0:
            self._position = len(self._buffer)
            return False
        self._position = end
        self._eat = self._eat_command
        self._receiver = None
        if receiver.too_large:
            self._say(_TOO_LARGE)
            self._reset()
        else:
            self._whole(receiver.content)
        return True

    def _eat_chunk(self) -> bool:
        start = self._position
        chunk = self._buffer[start : start + self._chunk_left]
        self._position += len(chunk)
        self._chunk_left -= len(chunk)
        if not self._failure:
            self._chunks.append(chunk)
        if self._chunk_left:
            return False
        self._chunk_ended()
        return True

    def _chunk_ended(self) -> None:
        self._eat = self._eat_command
        if self._failure:
            self._say(self._failure)
            if self._last_chunk:
                self._reset()
        elif not self._last_chunk:
            self._say(_OK_CHUNK)
        else:
            chunks = self._chunks
            self._whole(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _whole(self, content: bytes) -> None:
        """Decide on a complete message."""
        envelope = self._envelope
        assert envelope is not None
        if envelope.mail_parameters.get("BODY") != "BINARYMIME" and not only_crlf(content):
            # One server's end of content is another's line: what follows may be a smuggled command.
            self._give_up(_BARE)
            return
        self._reset()
        self._answer(
            self._policy.message(self.peer, envelope, content, self._now_ms), self._take_over
        )

    # ------------------------------------------------------------------------------------ answering

    def _say(self, reply: bytes) -> None:
        self._output.append(reply)

    def _mistake(self, reply: bytes) -> None:
        """Answer a command that is malformed or out of sequence."""
        self._errors += 1
        if self._errors > self._config.errors_max:
            self._give_up(b"421 4.7.0 Too many errors\r\n")
        else:
            self._say(reply)

    def _give_up(self, reply: bytes) -> None:
        self._say(reply)
        self.closing = True

    def _answer(self, decision: Decision, then: Callable[[Decision], None]) -> None:
        """Let a decision have its effect: now, late, or when it is made."""
        if decision is ACCEPT:
            then(decision)
        elif decision.pending:
            self.deciding = True
            self._then = then
        elif decision.delay_ms > 0:
            self.hold_ms = decision.delay_ms
            self._held = decision
            self._then = then
        else:
            then(decision)

    def _speak(self, decision: Decision, usual: bytes) -> bool:
        """Say what was decided; true when the command is taken."""
        if decision is ACCEPT:
            self._output.append(usual)
            return True
        if decision.silent:
            self.mute = True
        elif decision.disconnect != "before":
            self._output.append(usual if decision.reply is None else decision.reply.encode())
        if decision.disconnect != "no":
            self.closing = True
        return decision.positive

    def _greet(self, decision: Decision) -> None:
        if not self._speak(decision, f"220 {self._config.host_name} ESMTP\r\n".encode()):
            self.closing = True

    def _welcome(self, decision: Decision) -> None:
        usual = (
            self._extensions()
            if self.peer.extended
            else f"250 {self._config.host_name}\r\n".encode()
        )
        if not self._speak(decision, usual):
            self.peer = msgspec.structs.replace(self.peer, helo_name="", extended=False)

    def _take_mail(self, decision: Decision) -> None:
        if not self._speak(decision, _OK_MAIL):
            self._envelope = None

    def _take_rcpt(self, decision: Decision) -> None:
        envelope = self._envelope
        assert envelope is not None
        path, self._rcpt_pending = self._rcpt_pending, None
        assert path is not None
        if self._speak(decision, _OK_RCPT):
            self._envelope = Envelope(
                reverse_path=envelope.reverse_path,
                forward_paths=(*envelope.forward_paths, path.path),
                mail_parameters=envelope.mail_parameters,
                rcpt_parameters=(*envelope.rcpt_parameters, path.parameters),
            )

    def _take_data(self, decision: Decision) -> None:
        if self._speak(decision, _GO_AHEAD):
            self._receiver = DataReceiver(self._config.size_octets_max)
            self._eat = self._eat_data

    def _take_chunk(self, decision: Decision) -> None:
        """Go on with the octets of a chunk; a no is said after them. RFC 3030 §2."""
        if decision.disconnect != "no":
            self._speak(decision, b"")
        elif not decision.positive and decision.reply is not None:
            self._failure = decision.reply.encode()
        self._begin_chunk()

    def _take_over(self, decision: Decision) -> None:
        self._speak(decision, _OK_MESSAGE)

    def _take_login(self, decision: Decision) -> None:
        if self._speak(decision, b"235 2.7.0 Authentication successful\r\n"):
            self.peer = msgspec.structs.replace(self.peer, username=self._auth_username)

    # ------------------------------------------------------------------------------------ commands

    def _ehlo(self, argument: bytes) -> None:
        self._introduced(argument, extended=True)

    def _helo(self, argument: bytes) -> None:
        self._introduced(argument, extended=False)

    def _introduced(self, argument: bytes, *, extended: bool) -> None:
        name = helo_argument(argument)
        if name is None:
            self._mistake(_BAD_SYNTAX)
            return
        self._reset()
        self.peer = msgspec.structs.replace(self.peer, helo_name=name, extended=extended)
        self._answer(self._policy.helo(self.peer, self._now_ms), self._welcome)

    def _extensions(self) -> bytes:
        config = self._config
        offered = (
            ("PIPELINING", config.pipelining),
            (f"SIZE {config.size_octets_max}", True),
            ("8BITMIME", config.eight_bit_mime),
            ("SMTPUTF8", config.smtputf8),
            ("ENHANCEDSTATUSCODES", True),
            ("CHUNKING", config.chunking),
            ("BINARYMIME", config.chunking and config.binary_mime),
            ("DSN", config.dsn),
            ("STARTTLS", config.starttls and not self.peer.tls),
            ("REQUIRETLS", config.requiretls and self.peer.tls),
            ("AUTH PLAIN LOGIN", config.auth and self.peer.tls),
        )
        lines = (config.host_name, *(keyword for keyword, is_offered in offered if is_offered))
        return Reply(250, "", lines).encode()

    def _mail(self, argument: bytes) -> None:
        if self._envelope is not None or not self.peer.helo_name:
            self._mistake(_BAD_SEQUENCE)
            return
        if self._chunking:
            self._reset()
        path = path_argument(argument, mail=True)
        if path is None:
            self._mistake(_BAD_SYNTAX)
            return
        refusal = self._check_mail(path) if path.parameters or not path.path.isascii() else b""
        if refusal:
            self._say(refusal)
            return
        self._envelope = Envelope(reverse_path=path.path, mail_parameters=path.parameters)
        self._answer(self._policy.mail(self.peer, self._envelope, self._now_ms), self._take_mail)

    def _check_mail(self, path: PathArgument) -> bytes:
        """Say what is wrong with the parameters of MAIL, or nothing."""
        parameters = path.parameters
        if not parameters.keys() <= _MAIL_PARAMETERS:
            return b"555 5.5.4 Parameter of MAIL not recognized\r\n"
        if parameters.get("BODY", "7BIT").upper() not in _BODIES:
            return _BAD_SYNTAX
        size = parameters.get("SIZE", "0")
        if not (size.isascii() and size.isdigit() and len(size) <= _SIZE_DIGITS_MAX):
            return _BAD_SYNTAX
        if int(size) > self._config.size_octets_max:
            return _TOO_LARGE
        if not path.path.isascii() and "SMTPUTF8" not in parameters:
            return _NOT_ASCII
        return b""

    def _rcpt(self, argument: bytes) -> None:
        envelope = self._envelope
        if envelope is None:
            self._mistake(_BAD_SEQUENCE)
            return
        path = path_argument(argument, mail=False)
        if path is None or not path.path:
            self._mistake(_BAD_SYNTAX)
        elif not path.parameters.keys() <= _RCPT_PARAMETERS:
            self._say(b"555 5.5.4 Parameter of RCPT not recognized\r\n")
        elif not path.path.isascii() and "SMTPUTF8" not in envelope.mail_parameters:
            self._say(_NOT_ASCII)
        elif len(envelope.forward_paths) >= self._config.recipients_max:
            self._say(b"452 4.5.3 Too many recipients\r\n")
        else:
            self._rcpt_pending = path
            if path.parameters:
                envelope = msgspec.structs.replace(envelope, pending=path.parameters)
            decision = self._policy.rcpt(self.peer, envelope, path.path, self._now_ms)
            self._answer(decision, self._take_rcpt)

    def _data(self, argument: bytes) -> None:
        envelope = self._envelope
        if argument.strip():
            self._mistake(_BAD_SYNTAX)
        elif envelope is None or self._chunking:
            self._mistake(_BAD_SEQUENCE)
        elif not envelope.forward_paths:
            self._say(_NO_RECIPIENTS)
        elif envelope.mail_parameters.get("BODY", "").upper() == "BINARYMIME":
            self._mistake(_BAD_SEQUENCE)  # RFC 3030 §3: binary goes by BDAT alone
        else:
            self._answer(self._policy.data(self.peer, envelope, self._now_ms), self._take_data)

    def _bdat(self, argument: bytes) -> None:
        parsed = bdat_argument(argument)
        if parsed is None or not self._config.chunking:
            # How many octets follow is not known, so nothing behind this line can be trusted.
            self._give_up(_BAD_SYNTAX)
            return
        octets, self._last_chunk = parsed
        self._chunk_left = octets
        self._chunks_octets += octets
        envelope = self._envelope
        if self._failure or envelope is None:
            self._failure = _BAD_SEQUENCE
        elif not envelope.forward_paths:
            self._failure = _NO_RECIPIENTS
        elif self._chunks_octets > self._config.size_octets_max:
            self._failure = _TOO_LARGE
            self._chunks.clear()
        elif not self._chunking:
            self._chunking = True
            self._answer(self._policy.data(self.peer, envelope, self._now_ms), self._take_chunk)
            return
        self._chunking = True
        self._begin_chunk()

    def _rset(self, _argument: bytes) -> None:
        self._reset()
        self._say(_OK_RSET)

    def _noop(self, _argument: bytes) -> None:
        self._say(_OK_RSET)

    def _vrfy(self, _argument: bytes) -> None:
        self._say(b"252 2.5.0 Cannot verify, but will take a message\r\n")

    def _quit(self, _argument: bytes) -> None:
        self._give_up(_BYE)

    def _starttls(self, argument: bytes) -> None:
        if not self._config.starttls or self.peer.tls or argument:
            self._mistake(_BAD_SEQUENCE)
        elif self._position < len(self._buffer):
            self._give_up(b"554 5.5.1 Nothing may follow STARTTLS in clear\r\n")  # RFC 3207 §4.2
        else:
            self._say(b"220 2.0.0 Ready to start TLS\r\n")
            self.tls_wanted = True

    # ------------------------------------------------------------------------------------ AUTH, RFC 4954

    def _auth(self, argument: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        self._auth_mechanism = mechanism.decode("ascii", "replace").upper()
        if (
            not (self._config.auth and self.peer.tls)
            or self.peer.username
            or self._envelope is not None
            or not self.peer.extended
        ):
            self._mistake(_BAD_SEQUENCE)
        elif self._auth_mechanism not in ("PLAIN", "LOGIN"):
            self._mistake(b"504 5.5.4 Mechanism not recognized\r\n")
        elif initial:
            self._auth_response(initial)
        else:
            self._challenge(b"" if self._auth_mechanism == "PLAIN" else b"Username:")

    def _challenge(self, text: bytes) -> None:
        self._say(b"334 %b\r\n" % b64encode(text))
        self._eat = self._eat_auth

    def _eat_auth(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        self._eat = self._eat_command
        if line == b"*":
            self._auth_username = ""
            self._mistake(b"501 5.7.0 Authentication cancelled\r\n")
        else:
            self._auth_response(line)
        return True

    def _auth_response(self, response: bytes) -> None:
        if self._auth_mechanism == "PLAIN":
            credentials = plain_credentials(response)
        else:
            answer = login_answer(response)
            if answer is not None and not self._auth_username:
                self._auth_username = answer
                self._challenge(b"Password:")
                return
            credentials = None if answer is None else (self._auth_username, answer)
        self._auth_username = ""
        if credentials is None or not credentials[0]:
            self._mistake(b"501 5.5.2 Cannot decode the response\r\n")
            return
        username, password = credentials
        self._auth_username = username
        self._answer(
            self._policy.auth(self.peer, username, password, self._now_ms), self._take_login
        )

    # ------------------------------------------------------------------------------------ inner steps

    def _begin_chunk(self) -> None:
        if self._chunk_left:
            self._eat = self._eat_chunk
        else:
            self._chunk_ended()

    def _reset(self) -> None:
        """Forget the transaction. RFC 5321 §4.1.1.5."""
        self._envelope = None
        if self._chunking:
            self._chunking = False
            self._chunks = []
            self._chunks_octets = 0
            self._failure = b""
