"""One hierarchy of errors for all of Veredus.

    VeredusError
    ├── UserError                 somebody can mend it: place, what was expected, how to mend it; no traceback
    │   ├── ConfigError           a key of the configuration file or an environment override
    │   ├── InputError            a file, request, record or flag that isn't what it must be
    │   └── RefusedError          understood, but not allowed now (mode, allow-list, lock, limit)
    ├── CapacityError             a named limit was reached; try again after `retry_after_s`
    ├── TransportError            the network or the peer failed, with the phase in which it did
    ├── StoreError                the store failed; what was not acknowledged may or may not be durable
    │   └── DamageError           checksums or invariants of stored data don't hold
    └── ProtocolError
        ├── LocalProtocolError    we broke the protocol
        └── RemoteProtocolError   the peer did

Outcomes that are expected (SMTP replies, DNS answers, policy decisions) are values, never exceptions.
Mistakes of the programmer are assertions.
"""

from __future__ import annotations

__all__ = (
    "CapacityError",
    "ConfigError",
    "DamageError",
    "InputError",
    "LocalProtocolError",
    "Place",
    "ProtocolError",
    "RefusedError",
    "RemoteProtocolError",
    "StoreError",
    "TransportError",
    "UserError",
    "VeredusError",
)

from typing import Any, Literal

import msgspec

Phase = Literal[
    "resolve", "connect", "greeting", "tls", "auth", "mail", "rcpt", "data", "dot", "quit"
]


class Place(msgspec.Struct, frozen=True):
    """Where a mistake is: any part may be unknown; lines and columns count from 1."""

    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""  # inside the document, such as `steps[2].if` or `smtp.timeout_s`

    def __str__(self) -> str:
        """Render as `file:line:column: path`, leaving out what is unknown."""
        parts = [self.file] if self.file else []
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        where = ":".join(parts)
        if self.path:
            where = f"{where}: {self.path}" if where else self.path
        return where


class VeredusError(Exception):
    """The root of everything that Veredus raises on purpose. Crosses processes whole, fields and all."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields, since constructors differ."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[VeredusError], args: tuple[Any, ...], fields: dict[str, Any]
) -> VeredusError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class UserError(VeredusError):
    """A mistake that the user can mend.

    Args:
        message: what is wrong and what was expected, one sentence.
        place: where.
        mend: how to mend it, one sentence, shown after the message.
    """

    def __init__(self, message: str, place: Place | None = None, mend: str = "") -> None:
        self.message = message
        self.place = place or Place()
        self.mend = mend
        super().__init__(message)

    def __str__(self) -> str:
        """One line: place, message, mend."""
        where = str(self.place)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.mend})" if self.mend else text


class ConfigError(UserError):
    """A configuration key is unknown, missing, of a wrong type, or out of range."""


class InputError(UserError):
    """A file, record, request or flag isn't what it must be."""


class RefusedError(UserError):
    """A request that was understood but is not allowed now."""


class CapacityError(VeredusError):
    """A named limit was reached; nothing was taken, and the same call may be made again."""

    def __init__(self, limit: str, retry_after_s: float = 1.0) -> None:
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(f"limit reached: {limit}")


class TransportError(VeredusError):
    """The network or the peer failed in a phase of the session. RFC 5321 §3."""

    def __init__(self, phase: Phase, reason: str, host: str = "") -> None:
        self.phase = phase
        self.reason = reason
        self.host = host
        super().__init__(f"{phase}: {reason}" + (f" ({host})" if host else ""))


class StoreError(VeredusError):
    """The store failed; after it on `commit`, what was in the batch may or may not be durable."""


class DamageError(StoreError):
    """Stored data contradicts its checksum or an invariant; starting is refused rather than guessed."""


class ProtocolError(VeredusError):
    """Somebody broke the protocol: see the two children."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a programmer's mistake or hostile content of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the connection can't be used again."""
