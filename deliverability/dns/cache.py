"""A bounded cache of answers. Time is given, so it runs on any clock.

An answer is kept for its TTL, at most a day. Negative answers are kept as RFC 2308 §5 has it, at most three hours;
failures for a short while (§7.1: at most five minutes), so that a dead server isn't asked for every message.
When it is full, the answer used longest ago goes.
"""

from __future__ import annotations

__all__ = ("DnsCache",)

from collections import OrderedDict

import msgspec

from deliverability.dns.asking import Answer, Outcome, Question

_FOUND_S_MAX = 86_400
_NEGATIVE_S_MAX = (
    10_800  # RFC 2308 §5: one to three hours work well, more than a day has been a problem
)
_FAILURE_S = 30  # §7: at most 300


class DnsCache:
    """Answers by question, at most `entries_max` of them."""

    def __init__(self, entries_max: int = 100_000) -> None:
        assert entries_max > 0, "a cache holds something"
        self._entries_max = entries_max
        self._kept: OrderedDict[Question, tuple[int, Answer]] = OrderedDict()

    def __len__(self) -> int:
        """The number of answers kept, stale ones included."""
        return len(self._kept)

    def get(self, question: Question, now: int) -> Answer | None:
        """Give a kept answer with what is left of its TTL, or None."""
        found = self._kept.get(question)
        if found is None:
            return None
        until, answer = found
        if now >= until:
            del self._kept[question]
            return None
        self._kept.move_to_end(question)
        return msgspec.structs.replace(answer, ttl_s=(until - now) // 1000)

    def put(self, question: Question, answer: Answer, now: int) -> None:
        """Keep an answer for as long as it may be; one without time to live isn't kept."""
        kept_s = _kept_s(answer)
        if kept_s <= 0:
            return
        self._kept[question] = (now + kept_s * 1000, answer)
        self._kept.move_to_end(question)
        if len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)


def _kept_s(answer: Answer) -> int:
    match answer.outcome:
        case Outcome.FOUND:
            return min(answer.ttl_s, _FOUND_S_MAX)
        case Outcome.NO_DATA | Outcome.NXDOMAIN:
            return min(answer.ttl_s, _NEGATIVE_S_MAX)
        case Outcome.SERVFAIL | Outcome.TIMEOUT | Outcome.BOGUS:
            return _FAILURE_S
