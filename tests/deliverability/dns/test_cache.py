"""The cache: time to live, negative answers, failures, and its bound."""

from __future__ import annotations

import pytest

from deliverability.dns.asking import Answer, Outcome, Question, RecordType
from deliverability.dns.cache import DnsCache

QUESTION = Question("shop.example", RecordType.A)


@pytest.mark.parametrize(
    ("outcome", "ttl_s", "kept_s"),
    [
        (Outcome.FOUND, 300, 300),
        (Outcome.FOUND, 10_000_000, 86_400),
        (Outcome.NXDOMAIN, 900, 900),
        (Outcome.NO_DATA, 1_000_000, 10_800),
        (Outcome.SERVFAIL, 0, 30),
        (Outcome.TIMEOUT, 0, 30),
        (Outcome.BOGUS, 0, 30),
    ],
)
def test_answers_are_kept_as_long_as_they_may(outcome: Outcome, ttl_s: int, kept_s: int) -> None:
    """To the millisecond before, and no longer; what is given tells what is left."""
    cache = DnsCache()
    cache.put(QUESTION, Answer(outcome, ttl_s=ttl_s), now=5_000)
    kept = cache.get(QUESTION, 5_000 + kept_s * 1000 - 1000)
    assert kept is not None
    assert (kept.outcome, kept.ttl_s) == (outcome, 1)
    assert cache.get(QUESTION, 5_000 + kept_s * 1000) is None
    assert len(cache) == 0


def test_an_answer_without_time_to_live_is_not_kept() -> None:
    """RFC 1035 §3.2.1: zero means for this transaction only."""
    cache = DnsCache()
    cache.put(QUESTION, Answer(Outcome.FOUND, ("192.0.2.1",), 0), now=0)
    assert cache.get(QUESTION, 0) is None


def test_types_are_kept_apart() -> None:
    """NO_DATA for AAAA says nothing about A."""
    cache = DnsCache()
    cache.put(Question("a.example", RecordType.AAAA), Answer(Outcome.NO_DATA, ttl_s=60), now=0)
    assert cache.get(Question("a.example", RecordType.A), 0) is None


def test_the_one_used_longest_ago_goes_first() -> None:
    """At its bound it forgets, and never grows."""
    cache = DnsCache(entries_max=2)
    names = [Question(f"{n}.example", RecordType.A) for n in range(3)]
    for question in names[:2]:
        cache.put(question, Answer(Outcome.FOUND, ("192.0.2.1",), 60), now=0)
    assert cache.get(names[0], 1) is not None
    cache.put(names[2], Answer(Outcome.FOUND, ("192.0.2.1",), 60), now=2)
    assert len(cache) == 2
    assert cache.get(names[1], 3) is None
    assert cache.get(names[0], 3) is not None
