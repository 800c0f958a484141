"""Signals and retries: what a reply says about pace, and when to try again for each cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.retry import burns_attempt, next_attempt
from deliverability.pacing.signals import Cause, cause_of_outcome, cause_of_reply

MINUTE = 60_000
WEEK = 7 * 86_400_000


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("250 2.0.0 OK", Cause.ACCEPTED),
        ("421 4.7.28 unusual rate of mail from your address", Cause.STOP),
        ("451 4.7.652 has exceeded the maximum number of connections", Cause.CONNECTIONS),
        ("421 Too many concurrent connections", Cause.CONNECTIONS),
        ("450 4.7.1 deferred by rule #CR-IN-DEF-2", Cause.RATE),
        ("470 4.7.1 sent too many messages", Cause.RATE),
        ("450 4.7.1 Greylisting in action", Cause.GREYLIST),
        ("421 Max messages per connection reached", Cause.PER_CONNECTION),
        ("421 4.7.0 [TSS04] temporarily deferred due to user complaints", Cause.REPUTATION),
        ("452 4.2.2 mailbox full", Cause.MAILBOX_FULL),
        ("451 4.3.0 local error", Cause.TRANSIENT),
        ("550 5.1.1 no such user", Cause.PERMANENT),
    ],
)
def test_causes(text: str, cause: Cause) -> None:
    assert cause_of_reply(int(text[:3]), text) is cause


@given(st.integers(200, 599), st.text(max_size=2_000))
def test_every_reply_has_a_cause(code: int, text: str) -> None:
    cause = cause_of_reply(code, text)
    assert (cause is Cause.PERMANENT) == (code >= 500)
    assert (cause is Cause.ACCEPTED) == (code < 300)


@pytest.mark.parametrize(
    ("text", "classified", "cause"),
    [
        ("550 5.7.1 slow down", "sending-too-fast", Cause.RATE),
        ("554 5.7.0 no more of you", "low-reputation", Cause.REPUTATION),
        ("554 too many of them open", "too-many-connections", Cause.CONNECTIONS),
        ("550 5.1.1 no such user", "mailbox-unknown", Cause.PERMANENT),
        ("552 5.2.2 full", "mailbox-full", Cause.PERMANENT),
        ("451 4.7.1 slow down", "sending-too-fast", Cause.RATE),
    ],
)
def test_a_refusal_for_good_may_be_about_pace(text: str, classified: str, cause: Cause) -> None:
    """The message is lost, but what waits behind it needn't be: the classifier's word slows the lane down."""
    assert cause_of_outcome(int(text[:3]), text, classified) is cause


def test_rate_deferrals_burn_no_attempt() -> None:
    free = [cause for cause in Cause if not burns_attempt(cause)]
    assert free == [Cause.RATE, Cause.STOP, Cause.CONNECTIONS, Cause.PER_CONNECTION]


def test_greylisting_waits_minutes_and_a_full_mailbox_hours() -> None:
    def delay(cause: Cause, learned_ms: int = 0) -> int:
        return next_attempt(
            cause, 1, now_ms=0, accepted_ms=0, expires_ms=WEEK, draw=0.0, learned_ms=learned_ms
        ).due_ms

    assert delay(Cause.GREYLIST) == 5 * MINUTE
    assert delay(Cause.GREYLIST, learned_ms=7 * MINUTE) == 7 * MINUTE
    assert delay(Cause.MAILBOX_FULL) == 360 * MINUTE


def test_mail_with_a_short_life_retries_soon_and_expires() -> None:
    first = next_attempt(Cause.TRANSIENT, 1, now_ms=0, accepted_ms=0, expires_ms=5 * MINUTE, draw=0)
    late = next_attempt(
        Cause.TRANSIENT, 9, now_ms=4 * MINUTE, accepted_ms=0, expires_ms=5 * MINUTE, draw=0
    )
    assert (first.due_ms, first.expired, late.expired) == (15_000, False, True)


@given(
    st.sampled_from([c for c in Cause if c not in (Cause.ACCEPTED, Cause.PERMANENT)]),
    st.integers(1, 50),
    st.floats(0, 1, exclude_max=True),
)
def test_delays_grow_and_spread_by_a_tenth_at_most(
    cause: Cause, failures: int, draw: float
) -> None:
    def due(number: int, drawn: float) -> int:
        return next_attempt(
            cause, number, now_ms=1_000, accepted_ms=0, expires_ms=WEEK, draw=drawn
        ).due_ms

    assert due(failures, 0) <= due(failures + 1, 0)
    assert due(failures, 0) <= due(failures, draw) <= due(failures, 0) * 1.1 + 1
