"""What a reply says about pace: which of our quantities was too much, if any.

Only the causes that pacing acts upon are told apart; everything else about a reply is the classifier's business
(`deliverability.feedback`). Enhanced codes decide where a provider gives them a meaning of its own, else the text.
"""

from __future__ import annotations

__all__ = ("Cause", "cause_of_outcome", "cause_of_reply")

import enum
import re


class Cause(enum.Enum):
    """Why an attempt did not end in acceptance, as far as it concerns pace."""

    ACCEPTED = "accepted"
    RATE = "rate"  # too much per time: slow the queue, burn no attempts
    STOP = "stop"  # Google's 4.7.28: stop altogether, then the recipe of `recovery`
    CONNECTIONS = "connections"  # too many at the same time
    PER_CONNECTION = "per-connection"  # too many messages on this one
    GREYLIST = "greylist"
    REPUTATION = "reputation"  # complaints or blocks: slow down for long
    MAILBOX_FULL = "mailbox-full"
    TRANSIENT = "transient"  # anything else that passes; says nothing about pace
    PERMANENT = "permanent"


_TEXT_CAUSES: tuple[tuple[Cause, tuple[str, ...]], ...] = (
    (Cause.STOP, (r"\b4\.7\.28\b", r"unusual rate of (unsolicited|e?mail)")),
    (
        Cause.PER_CONNECTION,
        (r"messages? (for this|per|on this) (session|connection)", r"this connection reached"),
    ),
    (
        Cause.CONNECTIONS,
        (
            r"\b4\.7\.652\b",
            r"too many (concurrent |simultaneous )?connections",
            r"trop de connexions",
            r"maximum number of connections",
            r"max concurrent connections",
            r"concurren\w+ connection",
        ),
    ),
    (Cause.GREYLIST, (r"gr[ae]y-?list",)),
    (
        Cause.REPUTATION,
        (r"user complaints", r"ip reputation", r"\[(ip)?tss?0[45]\]", r"(poor|bad) reputation"),
    ),
    (
        Cause.MAILBOX_FULL,
        (r"\b4\.2\.2\b", r"mailbox (is )?full", r"over ?quota", r"quota exceeded"),
    ),
    (
        Cause.RATE,
        (
            r"#CR-IN-DEF-2",
            r"sent too many",
            r"too (many|much) (messages|mail|e-?mails|recipients)",
            r"rate.?limit",
            r"rate that",
            r"sending rate",
            r"\bthrottl",
            r"temporarily deferred",
            r"\[tss?0[123]\]",
            r"frequency limited",
            r"(hourly|daily) limit",
        ),
    ),
)
_COMPILED = tuple(
    (cause, re.compile("|".join(patterns), re.IGNORECASE)) for cause, patterns in _TEXT_CAUSES
)
_TEXT_MAX = 1_000


def cause_of_reply(code: int, text: str) -> Cause:
    """Return what a reply says about pace.

    Args:
        code: the reply code; 0 if the connection broke instead.
        text: enhanced code and text as one line; only the first 1,000 characters are read.
    """
    if 200 <= code < 300:
        return Cause.ACCEPTED
    if code >= 500:
        return Cause.PERMANENT
    cut = text[:_TEXT_MAX]
    return next((cause for cause, found in _COMPILED if found.search(cut)), Cause.TRANSIENT)


_CLASSIFIED = {
    "sending-too-fast": Cause.RATE,
    "volume-or-complaints": Cause.REPUTATION,
    "low-reputation": Cause.REPUTATION,
    "too-many-connections": Cause.CONNECTIONS,
    "greylisted": Cause.GREYLIST,
    "mailbox-full": Cause.MAILBOX_FULL,
}


_WHATEVER_THE_CODE = frozenset(
    ("sending-too-fast", "volume-or-complaints", "low-reputation", "too-many-connections")
)
"""Some hosts refuse for good (5yz) what is sent too fast: that message is lost, those behind it needn't be."""


def cause_of_outcome(code: int, text: str, classified: str) -> Cause:
    """Return what a reply says about pace, by its text, and where that says nothing by what the classifier found.

    A permanent refusal slows down, too, where the classifier finds that the pace or our name is what it is about.

    Args:
        code: the reply code; 0 if there was none.
        text: enhanced code and text.
        classified: the cause that `deliverability.feedback` gave it.
    """
    found = cause_of_reply(code, text)
    if found is Cause.TRANSIENT:
        return _CLASSIFIED.get(classified, found)
    if found is Cause.PERMANENT and classified in _WHATEVER_THE_CODE:
        return _CLASSIFIED[classified]
    return found
