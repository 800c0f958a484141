"""The catalogue of checks: what is demanded, by whom, since when, and how much it weighs.

Rows 1 to 21 are those of the field's table of provider demands; row 0 is what RFCs or practice ask for beside it.
Dates are of the page or copy that was read; `MUST` is what a provider rejects for, or announces to.
"""

from __future__ import annotations

__all__ = ("CHECKS", "Check", "Demand", "Level", "Verdict")

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """What a finding means for the send."""

    PASS = "pass"  # noqa: S105 (a verdict)
    WARN = "warn"
    BLOCK = "block"


class Level(StrEnum):
    """How a provider asks."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"


class Demand(msgspec.Struct, frozen=True):
    """Who demands something: `source` and `date` of what was read, `replies` that refuse mail for it."""

    provider: str
    level: Level
    source: str
    date: str
    replies: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True):
    """A check: its row in the table of demands, and what failing it weighs."""

    name: str
    row: int
    title: str
    weight: Verdict
    demands: tuple[Demand, ...]


_PAGES = {
    "Google": ("Email sender guidelines, support.google.com/mail/answer/81126", "2026-03-21"),
    "Yahoo": ("Sender best practices, senders.yahooinc.com", "2026-07-02"),
    "Microsoft": (
        "Outlook requirements for high-volume senders, techcommunity.microsoft.com",
        "2025-05-05",
    ),
    "Apple": ("Postmaster information for iCloud Mail, support.apple.com", "2025-02-25"),
    "Orange": ("reported by senders, not published", "2025-08"),
}


def _by(*named: str) -> tuple[Demand, ...]:
    """`Google`, `Google?` (should), `Google??` (may), with reply codes after a colon."""
    demands = []
    for one in named:
        name, _, codes = one.partition(":")
        level = (Level.MUST, Level.SHOULD, Level.MAY)[name.count("?")]
        provider = name.rstrip("?")
        source, date = _PAGES[provider]
        demands.append(Demand(provider, level, source, date, tuple(codes.split())))
    return tuple(demands)


def _rfc(source: str, date: str, level: Level = Level.MUST) -> tuple[Demand, ...]:
    return (Demand("IETF", level, source, date),)


def _practice(why: str, provider: str = "practice") -> tuple[Demand, ...]:
    """Ask for what no page in the notes of the field demands: known practice, and why."""
    return (Demand(provider, Level.SHOULD, why, "2026-11"),)


_BLOCK, _WARN = Verdict.BLOCK, Verdict.WARN
_ALL = ("Google", "Yahoo", "Microsoft:5.7.515", "Apple")
_TABLE: tuple[tuple[str, int, str, Verdict, tuple[Demand, ...]], ...] = (
    (
        "spf",
        1,
        "SPF passes for the addresses that send",
        _BLOCK,
        _by("Google:4.7.27 5.7.27", "Yahoo", "Microsoft:5.7.515", "Apple"),
    ),
    (
        "spf-lookups",
        1,
        "SPF needs at most 10 DNS look-ups",
        _BLOCK,
        _rfc("RFC 7208 §4.6.4", "2014-04"),
    ),
    (
        "spf-scope",
        1,
        "SPF names only your own addresses",
        _WARN,
        _rfc("RFC 7208 §11.1", "2014-04", Level.SHOULD),
    ),
    ("dkim-record", 2, "DKIM keys can be looked up now, and match", _BLOCK, _by(*_ALL)),
    (
        "dkim-signature",
        2,
        "The message is signed, and the signature verifies",
        _BLOCK,
        _by("Google:4.7.30 5.7.30", "Yahoo", "Microsoft:5.7.515", "Apple"),
    ),
    (
        "dkim-strength",
        2,
        "DKIM keys are strong enough",
        _BLOCK,
        (*_by("Google", "Yahoo"), *_rfc("RFC 8301 §3.2", "2018-01")),
    ),
    (
        "dkim-testing",
        2,
        "DKIM records aren't marked as a test",
        _WARN,
        _rfc("RFC 6376 §3.6.1", "2011-09", Level.SHOULD),
    ),
    (
        "dmarc-record",
        3,
        "The From domain has a DMARC policy",
        _BLOCK,
        _by("Google:4.7.31", "Yahoo", "Microsoft:5.7.515", "Apple"),
    ),
    ("dmarc-reports", 3, "DMARC reports go somewhere", _WARN, _by("Google?", "Yahoo?")),
    (
        "alignment",
        4,
        "SPF or DKIM aligns with the From domain",
        _BLOCK,
        _by("Google:4.7.32", "Yahoo", "Microsoft:5.7.515"),
    ),
    ("alignment-both", 4, "SPF and DKIM both align", _WARN, _by("Google?")),
    (
        "ptr",
        5,
        "Each sending address has a name that leads back to it",
        _BLOCK,
        _by("Google:4.7.23 5.7.25", "Yahoo", "Apple"),
    ),
    (
        "ehlo",
        5,
        "The EHLO name leads to the sending address",
        _BLOCK,
        _by("Google", "Yahoo", "Apple"),
    ),
    ("tls", 6, "Mail goes out over TLS", _WARN, _by("Google:4.7.29 5.7.29", "Yahoo")),
    (
        "form",
        7,
        "The message has the form of RFC 5322",
        _BLOCK,
        (*_by("Google", "Yahoo"), *_rfc("RFC 5322 §2.1, §3.6", "2008-10")),
    ),
    (
        "one-click",
        8,
        "One-click unsubscribing in the header, signed",
        _BLOCK,
        (*_by("Google", "Yahoo", "Microsoft?"), *_rfc("RFC 8058 §3, §4", "2017-01")),
    ),
    (
        "endpoint",
        9,
        "The one-click address answers POST",
        _BLOCK,
        (*_by("Google", "Yahoo"), *_rfc("RFC 8058 §3.1", "2017-01")),
    ),
    (
        "visible-link",
        10,
        "The body has a visible unsubscribe link",
        _WARN,
        _by("Google", "Yahoo", "Microsoft?", "Apple"),
    ),
    (
        "honoured",
        11,
        "Unsubscribing is honoured, for queued mail too",
        _BLOCK,
        _by("Google", "Yahoo"),
    ),
    (
        "spam-rate",
        12,
        "Complaints stay below 0.1 %, never reach 0.3 %",
        _BLOCK,
        _by("Google", "Yahoo"),
    ),
    ("freemail", 13, "From isn't a mailbox provider's own domain", _BLOCK, _by("Google", "Yahoo")),
    ("domain-exists", 14, "From and MAIL FROM domains exist", _BLOCK, _by("Yahoo")),
    ("can-receive", 15, "From and Reply-To can receive mail", _WARN, _by("Microsoft")),
    ("feedback-id", 16, "A Feedback-ID groups complaints", _WARN, _by("Google??", "Orange?")),
    ("volume-class", 17, "The rules of bulk senders are kept", _WARN, _by("Google", "Microsoft")),
    (
        "streams",
        18,
        "Marketing and transactional mail are kept apart",
        _WARN,
        _by("Google?", "Yahoo?"),
    ),
    ("volume-step", 19, "Volume at most doubles", _BLOCK, _by("Google:4.7.28")),
    ("arc", 20, "Forwarded mail carries ARC", _WARN, _by("Google?", "Yahoo?", "Apple?")),
    (
        "enrolled",
        21,
        "You are enrolled for the providers' feedback",
        _WARN,
        _by("Google??", "Yahoo", "Microsoft?"),
    ),
    (
        "tls-reports",
        0,
        "TLS policies and reports of your own domain are in order",
        _WARN,
        _rfc("RFC 8461 §3, RFC 8460 §3", "2018-09", Level.MAY),
    ),
    (
        "text-part",
        0,
        "There is a text part beside the HTML",
        _WARN,
        _practice("readers without HTML, and filters, read the text"),
    ),
    (
        "clipping",
        0,
        "Gmail shows the whole message",
        _WARN,
        _practice("Gmail clips HTML above 102 KB (observed, not published)", "Google"),
    ),
    (
        "weight",
        0,
        "Images and size are in proportion",
        _WARN,
        _practice("images are blocked by default in many readers"),
    ),
    (
        "attachments",
        0,
        "No attachment is of a kind that is refused",
        _BLOCK,
        _practice(
            "support.google.com/mail/answer/6590 lists refused types (not read again)", "Google"
        ),
    ),
    (
        "link-target",
        0,
        "Links go where their text says",
        _BLOCK,
        _practice("a text that names another site is what phishing looks like"),
    ),
    (
        "link-form",
        0,
        "Links are HTTPS, to names that resolve",
        _WARN,
        _practice("filters follow links; block lists name shorteners and bare addresses"),
    ),
    (
        "link-alignment",
        0,
        "Links and tracking are on your own domain",
        _WARN,
        _practice("a shared tracking domain shares its reputation"),
    ),
    (
        "active-content",
        0,
        "No scripts or forms",
        _WARN,
        _practice("readers don't run it, filters count it"),
    ),
    (
        "display-name",
        0,
        "Names don't pretend to be somebody else",
        _BLOCK,
        _practice("impersonation in From is what phishing looks like"),
    ),
)

CHECKS: Mapping[str, Check] = {row[0]: Check(*row) for row in _TABLE}
"""All checks, in the order in which they are shown."""
