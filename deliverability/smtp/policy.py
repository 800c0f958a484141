"""Policy: who decides what a server answers. Pure; the server session asks, phase by phase.

A decision is a value: which reply, how late, and whether the connection survives it. That is enough to
act every provider's manners: greylisting, tarpits, hangs, a dot without a reply.
"""

from __future__ import annotations

__all__ = (
    "ACCEPT",
    "PENDING",
    "Decision",
    "Disconnect",
    "Envelope",
    "Peer",
    "ServerPolicy",
    "reject",
)

from typing import Literal, Protocol

import msgspec

from deliverability.smtp.reply import Reply

Disconnect = Literal["no", "before", "after"]
"""Whether the connection is closed, and whether the reply is still sent."""


class Decision(msgspec.Struct, frozen=True):
    """What to answer. `reply` None stands for the phase's usual positive reply.

    `delay_ms` passes before the reply; later commands wait behind it. `silent`: the decision counts, but
    no reply is sent, to this command or any later one (a dot that nobody answers): with pipelining, the
    next reply would be taken for the missing one. `pending`: there is no decision yet; the session stops
    until `ServerSession.decide` is called.
    """

    reply: Reply | None = None
    delay_ms: int = 0
    disconnect: Disconnect = "no"
    silent: bool = False
    pending: bool = False

    @property
    def positive(self) -> bool:
        """Whether the command is taken."""
        return self.reply is None or self.reply.code < 400


ACCEPT = Decision()
"""Yes, at once, with the usual reply."""

PENDING = Decision(pending=True)
"""Not decided yet: for a listener that must first make the message durable."""


def reject(code: int, enhanced: str, text: str, *, disconnect: Disconnect = "no") -> Decision:
    """Make a negative decision: 4yz for now, 5yz for good."""
    return Decision(Reply(code, enhanced, (text,)), disconnect=disconnect)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The other end of the connection, as far as it is known."""

    address: str = ""
    port: int = 0
    helo_name: str = ""
    extended: bool = False
    tls: bool = False
    username: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a transaction so far. Parameters are as sent, keywords in capitals.

    `pending`: those of the recipient that is being decided.
    """

    reverse_path: bytes
    forward_paths: tuple[bytes, ...] = ()
    mail_parameters: dict[str, str] = {}
    rcpt_parameters: tuple[dict[str, str], ...] = ()
    pending: dict[str, str] = {}


class ServerPolicy(Protocol):
    """Decides for one connection. All calls of a connection come in the order of the session.

    Each command was found well-formed and in sequence before; what isn't, the session refuses itself.
    """

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        """Decide on the greeting."""

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        """Decide on EHLO or HELO; the name is in `peer`."""

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        """Decide on AUTH; only asked where the configuration offers it."""

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Decide on the reverse-path."""

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        """Decide on one more forward-path, which isn't in the envelope yet."""

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        """Decide whether content may come: at DATA, or at the first BDAT (where a yes isn't sent)."""

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        """Decide on the whole message; a yes takes responsibility for it. RFC 5321 §4.2.5."""

    def closed(self, reason: str) -> None:
        """Hear, once, that the connection is over."""
