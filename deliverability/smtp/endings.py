"""Endings and events: what a client session tells the one who drives it.

Law: every transaction that a session took gets exactly one ending; the session ends with exactly one
`Closed`, after which it says and takes nothing more.
"""

from __future__ import annotations

__all__ = (
    "Aborted",
    "Accepted",
    "Closed",
    "ClosedBy",
    "Ended",
    "Ending",
    "Event",
    "Lost",
    "Ready",
    "Rejected",
    "TlsWanted",
    "TransactionPhase",
)

from typing import Literal, TypeAlias

import msgspec

from deliverability.smtp.capabilities import Capabilities
from deliverability.smtp.envelope import Transaction
from deliverability.smtp.reply import Reply
from engine.errors import Phase

TransactionPhase = Literal["mail", "rcpt", "data", "dot"]
"""The command whose reply decided, or was awaited; `dot` stands for `BDAT LAST` too."""


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The server took responsibility: 2yz after the dot. RFC 5321 §4.2.5."""

    reply: Reply


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """The server said no; whether for now or for good is in the reply.

    `local`: the session refused it itself, since the server lacks what the transaction needs; nothing
    was sent, and `reply` is what a relay would have to say.
    """

    phase: TransactionPhase
    reply: Reply
    local: bool = False


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """The session ended without an answer.

    `begun`: the end of the content may have left this process, so the message may have arrived. Not
    begun means for certain that it didn't.
    """

    phase: TransactionPhase
    begun: bool
    reason: str


class Aborted(msgspec.Struct, frozen=True, tag="aborted"):
    """The caller withdrew it before the end of the content was sent: it did not arrive."""

    reason: str = ""


Ending: TypeAlias = Accepted | Rejected | Lost | Aborted

ClosedBy = Literal["quit", "refused", "service", "violation", "timeout", "lost", "aborted"]
"""Why a session is over.

`quit`: we asked. `refused`: the server would not have us (greeting, EHLO, TLS, AUTH). `service`: 421.
`violation`: the peer broke the protocol. `timeout`: it didn't answer. `lost`: the connection went away.
`aborted`: we closed it, to withdraw a message or at once.
"""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The session can take transactions."""

    capabilities: Capabilities


class TlsWanted(msgspec.Struct, frozen=True, tag="tls_wanted"):
    """The server agreed to TLS: the driver makes the handshake, then calls `tls_established`.

    `injected`: something stood behind the 220 in clear and was thrown away. A server sends nothing there,
    an attacker may (CVE-2011-0411 and its kin; RFC 3207 §4.2).
    """

    injected: bool = False


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A transaction is over."""

    transaction: Transaction
    ending: Ending


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """The session is over, and what is left is to close the connection."""

    by: ClosedBy
    phase: Phase
    reason: str
    reply: Reply | None = None


Event: TypeAlias = Ready | TlsWanted | Ended | Closed
