"""What a twin decides at one point of a session, and what it decides about."""

from __future__ import annotations

__all__ = (
    "GO_AHEAD",
    "OK_MAIL",
    "OK_RCPT",
    "OK_TAKEN",
    "Attempt",
    "Connection",
    "Phase",
    "Rule",
    "Taken",
    "Verdict",
    "attempt_key",
)

from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import msgspec

from deliverability.smtp.reply import Reply

if TYPE_CHECKING:
    from deliverability.twin.provider import Provider
    from deliverability.twin.quota import Window

Phase = Literal["connect", "mail", "rcpt", "data", "dot"]
"""Where a decision falls: greeting, MAIL, RCPT, DATA, and the final dot. RFC 5321 §3."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings of all models have in common: frozen, by keyword, no unknown keys."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """One decision.

    `reply` None says nothing at all. `closes` ends the connection after the reply, or instead of
    it. `taken` is set at the dot alone: the mail is on record, whatever the client hears.
    `delay_ms` is real time to let pass before the reply. `cause` names the model, and is empty
    where all is well.
    """

    reply: Reply | None
    cause: str = ""
    closes: bool = False
    taken: bool = False
    delay_ms: int = 0

    @property
    def refuses(self) -> bool:
        """Whether the client's command didn't succeed, or seems so to the client."""
        return self.closes or self.reply is None or self.reply.code >= 400

    @property
    def permanent(self) -> bool:
        """Whether the client is told never to try again."""
        return self.reply is not None and self.reply.code >= 500


OK_MAIL = Verdict(Reply(250, "2.1.0", ("Ok",)))
"""MAIL succeeds. It and the next three are the usual words, by which a server may know them."""
OK_RCPT = Verdict(Reply(250, "2.1.5", ("Ok",)))
"""RCPT succeeds, in the usual words."""
GO_AHEAD = Verdict(Reply(354, "", ("End data with <CR><LF>.<CR><LF>",)))
"""The content may come."""
OK_TAKEN = Verdict(Reply(250, "2.0.0", ("Ok",)), taken=True)
"""The mail is taken, in the usual words."""


class Connection:
    """One connection of a client, as the models see it. Made and changed by `Twin` alone."""

    __slots__ = (
        "attempts",
        "entered",
        "port_of",
        "refused",
        "reverse_path",
        "source",
        "taken",
        "tls",
    )

    def __init__(self, source: str, port_of: str) -> None:
        self.source = source
        """The client's address."""
        self.port_of = port_of
        """The provider whose own port this is; empty on the port that all share."""
        self.tls = False
        self.reverse_path = ""
        self.attempts: list[tuple[Provider, Attempt]] = []
        """Recipients of the transaction that were accepted so far."""
        self.refused = 0
        """Commands that were refused on this connection."""
        self.taken: dict[str, int] = {}
        """Mails taken on this connection, by provider."""
        self.entered: set[str] = set()
        """Names of the providers that count this connection."""


class Attempt:
    """One message on its way to one recipient, at one time.

    Without a message at hand until the dot, a message is told apart by its two paths: with a
    reverse-path per message (VERP) that is exact; otherwise mails between the same two paths share
    their history.
    """

    __slots__ = ("connection", "forward_path", "held", "key", "now", "tries")

    def __init__(
        self, now: int, connection: Connection, forward_path: str, key: bytes, tries: int
    ) -> None:
        self.now = now
        self.connection = connection
        self.forward_path = forward_path
        self.key = key
        self.tries = tries
        """How often this message was turned away before."""
        self.held: list[Window] = []
        """Places in quotas that are reserved for it."""


class Taken(msgspec.Struct, frozen=True):
    """One mail that was taken for one recipient."""

    reverse_path: str
    forward_path: str
    provider: str


def attempt_key(reverse_path: str, forward_path: str) -> bytes:
    """Derive the key under which a message's history is kept; it contains no address."""
    raw = f"{len(reverse_path)}:{reverse_path}{forward_path}"
    return blake2b(raw.encode("utf-8", "surrogateescape"), digest_size=12).digest()
