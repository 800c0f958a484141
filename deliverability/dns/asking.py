"""Questions, answers, and generators that ask.

An `Asking[T]` yields questions, is sent answers and returns a T; `yield from` composes them.
"""

from __future__ import annotations

__all__ = (
    "Answer",
    "Asking",
    "Lookup",
    "MxRecord",
    "Outcome",
    "Question",
    "Record",
    "RecordType",
    "TlsaRecord",
    "ask",
    "run",
)

from collections.abc import Callable, Generator
from enum import StrEnum
from typing import TypeAlias, TypeVar

import msgspec

from deliverability.dns.names import query_name

T = TypeVar("T")


class RecordType(StrEnum):
    """The types of record that mail needs."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    PTR = "PTR"
    SOA = "SOA"
    TLSA = "TLSA"
    TXT = "TXT"


class Outcome(StrEnum):
    """What became of a question."""

    FOUND = "found"
    NO_DATA = "no data"  # the name exists, this type doesn't: RFC 2308 §2.2
    NXDOMAIN = "no such name"  # RFC 2308 §2.1
    SERVFAIL = "server failure"
    TIMEOUT = "timeout"
    BOGUS = "bogus"  # a validating resolver holds the answer to be forged: RFC 4035 §4.3

    @property
    def settled(self) -> bool:
        """Whether it says something about the name, rather than about its servers."""
        return self in (Outcome.FOUND, Outcome.NO_DATA, Outcome.NXDOMAIN)


class Question(msgspec.Struct, frozen=True):
    """A name in lower case, as A-labels, without the last dot; and a type."""

    name: str
    kind: RecordType


class MxRecord(msgspec.Struct, frozen=True, order=True):
    """Where mail goes; the lower preference first. `host` "" is the null MX (RFC 7505)."""

    preference: int
    host: str


class TlsaRecord(msgspec.Struct, frozen=True):
    """A certificate association. RFC 6698 §2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        """Render as in a zone file. RFC 6698 §2.2."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


Record: TypeAlias = str | bytes | MxRecord | TlsaRecord
"""An address or a name is text; a TXT is bytes, its strings joined (RFC 7208 §3.3)."""


class Answer(msgspec.Struct, frozen=True):
    """What came back; CNAMEs are followed, and `canonical` is the name at their end.

    `ttl_s`: how long it may be kept; of a negative answer as RFC 2308 §5 has it. `secure`: the resolver
    validated it (AD), which counts only where the way to the resolver can be trusted.
    """

    outcome: Outcome
    records: tuple[Record, ...] = ()
    ttl_s: int = 0
    canonical: str = ""
    secure: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The addresses or names it holds."""
        return tuple(record for record in self.records if isinstance(record, str))

    @property
    def texts(self) -> tuple[bytes, ...]:
        """The texts it holds."""
        return tuple(record for record in self.records if isinstance(record, bytes))

    @property
    def exchanges(self) -> tuple[MxRecord, ...]:
        """The MX records it holds."""
        return tuple(record for record in self.records if isinstance(record, MxRecord))


Asking: TypeAlias = Generator[Question, Answer, T]
Lookup: TypeAlias = Callable[[Question], Answer]


def ask(name: str, kind: RecordType) -> Asking[Answer]:
    """Ask one question. A name that can't be asked (RFC 1035 §2.3.4) doesn't exist."""
    asked = query_name(name)
    if not asked:
        return Answer(Outcome.NXDOMAIN)
    return (yield Question(asked, kind))


def run(asking: Asking[T], lookup: Lookup) -> T:
    """Drive a generator to its result with a function that answers."""
    try:
        question = next(asking)
        while True:
            question = asking.send(lookup(question))
    except StopIteration as done:
        result: T = done.value
        return result
