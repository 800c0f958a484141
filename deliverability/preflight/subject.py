"""What is examined: a domain or a message, and what is known about how it will be sent."""

from __future__ import annotations

__all__ = ("EndpointAnswer", "Enrolment", "Facts", "History", "Source", "Stream", "Subject")

from collections.abc import Mapping
from typing import Literal

import msgspec

from deliverability.dkim.keys import SigningKey


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that mail goes out from, and the name it gives in EHLO."""

    address: str
    ehlo: str = ""


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By what a stream is known to providers."""

    name: str
    from_domain: str = ""
    selectors: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What went to a provider lately, and what will: messages a day, and the share of complaints (0.001 is 0.1 %)."""

    provider: str
    recent_per_day: int | None = None
    planned_per_day: int | None = None
    spam_rate: float | None = None


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which feedback of providers is subscribed to."""

    google_postmaster: bool = False
    yahoo_cfl: bool = False
    microsoft_snds: bool = False
    microsoft_jmrp: bool = False


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can't be looked up and has to be told."""

    history: tuple[History, ...] = ()
    enrolled: Enrolment | None = None
    stream: tuple[Stream, ...] = ()
    source: tuple[Source, ...] = ()


class EndpointAnswer(msgspec.Struct, frozen=True):
    """What an unsubscribe address answered to `POST` with `List-Unsubscribe=One-Click`, without cookies.

    `status` 0 where there was no answer; then `failure` says why.
    """

    status: int
    elapsed_ms: int
    location: str = ""
    failure: str = ""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined. Empty means not known; checks that need it are listed as unchecked.

    `message` with CRLF, signed as it will be sent. `keys` sign mail of this domain; `selectors` (selector, domain)
    are looked up where there is no key at hand. `tls` is how the sending side is set up. `asks_consent`: whether
    consent and suppressions are asked again right before a message leaves.
    """

    target: str
    kind: Literal["domain", "template", "message"]
    from_domain: str
    mail_from_domain: str = ""
    message: bytes = b""
    marketing: bool = True
    sources: tuple[Source, ...] = ()
    keys: tuple[SigningKey, ...] = ()
    selectors: tuple[tuple[str, str], ...] = ()
    tls: Literal["required", "opportunistic", "never", ""] = ""
    asks_consent: bool | None = None
    facts: Facts = Facts()
    endpoints: Mapping[str, EndpointAnswer] = {}
    notes: tuple[str, ...] = ()
