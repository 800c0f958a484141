"""What a sender and the pacer say to each other: what it could use, what it heard, and what it may do. Structs alone.

A *path* is one source and one site. The pacer gives whole messages (*tokens*) for a path, not rates: what was given is
counted at once, so nothing that dies, is lost or comes late can make the sum pass a limit; it only wastes some. A token
that isn't used within `TOKEN_MS` is worth nothing, and is told as unused with the next question.
"""

from __future__ import annotations

__all__ = (
    "AHEAD_MS",
    "TOKEN_MS",
    "FlowGiven",
    "FlowWant",
    "Given",
    "Heard",
    "PaceAnswer",
    "PaceAsk",
    "Path",
    "Want",
    "path_name",
)

import msgspec

TOKEN_MS = 5_000
"""How long a token may be used, on the sender's clock, from when it asked."""

AHEAD_MS = 400
"""Tokens are given for so long ahead: senders ask every quarter of a second."""


class Path(msgspec.Struct, frozen=True, array_like=True):
    """A source and a site; `domain` is one of those that the site serves, `hosts` its MX hosts as far as known."""

    source: str
    site: str
    domain: str
    hosts: tuple[str, ...] = ()


def path_name(path: Path) -> str:
    """Name a path."""
    return f"{path.source} {path.site}"


class Want(msgspec.Struct, frozen=True, array_like=True):
    """What a sender could use on a path, and what it did since its last question.

    Args of the struct:
        path: which.
        tokens: messages that it could start soon, beyond those it has tokens for.
        open: connections that it has.
        connections: those it could use.
        opened: connections opened since.
        unused: tokens that ended unused since.
        borrowed: loans used since; each is a message that went.
        lapsed: loans that ended unused since.
        loans: loans that it has.
    """

    path: Path
    tokens: int
    open: int = 0
    connections: int = 0
    opened: int = 0
    unused: int = 0
    borrowed: int = 0
    lapsed: int = 0
    loans: int = 0


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What became of attempts on a path: so many of one kind, or one reply that isn't an acceptance.

    Args of the struct:
        path: its name.
        kind: `delivered`, `deferred`, `bounced`, or `refused` for a connection.
        cause: as the classifier says (`deliverability.feedback.taxonomy`).
        number: how many; more than one for acceptances alone.
        code: reply code; 0: there was no reply.
        text: enhanced code and text of the reply.
        tenant, stream, campaign: whose mail it was; of acceptances the counts are by `tenant` and `stream` too.
        latency_ms: from MAIL to the reply, the mean where there are several.
        age_ms: how long ago the message was first tried; 0: just now.
        on_connection: messages that this connection had carried.
        size: bytes, added up.
    """

    path: str
    kind: str
    cause: str = ""
    number: int = 1
    code: int = 0
    text: str = ""
    tenant: str = ""
    stream: str = ""
    campaign: str = ""
    latency_ms: int = 0
    age_ms: int = 0
    on_connection: int = 0
    size: int = 0


class FlowWant(msgspec.Struct, frozen=True, array_like=True):
    """What a sender could use of a limit of tenants and streams (`flows`).

    `unused`: tokens that ended so since; `waiting`: how many messages it believes to wait for their turn.
    """

    name: str
    tokens: int
    unused: int = 0
    waiting: int = 0


class FlowGiven(msgspec.Struct, frozen=True, array_like=True):
    """Messages more that a sender may start under such a limit."""

    tokens: int = 0


class PaceAsk(msgspec.Struct, frozen=True, array_like=True):
    """A question. `number` grows with each; `heard` begins behind what the pacer is known to have heard.

    `first` is the number of the first entry of `heard`, counted over the sender's life, so that repetition is harmless.
    """

    holder: str
    incarnation: int
    number: int
    wants: list[Want]
    heard: list[Heard] = []
    first: int = 0
    flows: list[FlowWant] = []


class Given(msgspec.Struct, frozen=True, array_like=True):
    """What a sender may do on a path.

    Args of the struct:
        tokens: messages more that it may start within `TOKEN_MS`.
        wait_ms: when it is worth asking again, if it got fewer than it wanted.
        connections: how many may be open.
        per_connection: messages after which to close one.
        loans: messages for urgent mail, beyond the pace but within the limits; as `tokens` otherwise.
        void: what it still has of tokens and loans is taken back: the path was stopped.
        retry_ms: how long the site's greylisting wants, if that was learned; else 0.
    """

    tokens: int = 0
    wait_ms: int = 0
    connections: int = 0
    per_connection: int = 0
    loans: int = 0
    void: bool = False
    retry_ms: int = 0


class PaceAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a question, by path. `heard`: how many entries this pacer has heard of this life, in all."""

    number: int
    incarnation: int
    given: dict[str, Given]
    heard: int = 0
    flows: dict[str, FlowGiven] = {}
