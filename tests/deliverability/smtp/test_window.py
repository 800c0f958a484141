"""The window: follows rate times round trip, up to its bound, and doesn't fill the queues of a slow server."""

from __future__ import annotations

from collections import deque

import pytest

from deliverability.smtp.window import SLACK_S, Window


def settled(most: int, *, trip_s: float, sign_s: float, server_s: float = 0.0) -> tuple[int, float]:
    """Send for a while; returns the window in the end, and messages a second of the second half.

    A message costs the sender `sign_s`; the server takes one at a time, for `server_s`; the rest is `trip_s`.
    """
    window = Window(most)
    now, free_at, done, half_at = 0.0, 0.0, 0, 0.0
    flying: deque[tuple[float, float, int]] = deque()
    while done < 6000:
        while flying and flying[0][0] <= now:
            at, sent, beside = flying.popleft()
            window.accepted(at - sent, beside)
            done += 1
            half_at = now if done == 3000 else half_at
        if len(flying) < window.size:
            now += sign_s
            free_at = max(free_at, now + trip_s / 2) + server_s
            flying.append((free_at + trip_s / 2, now, len(flying) + 1))
        else:
            now = flying[0][0]
    return window.size, 3000 / (now - half_at)


@pytest.mark.parametrize("trip_ms", [20, 100, 300])
def test_a_far_server_is_kept_busy(trip_ms: int) -> None:
    _, rate = settled(512, trip_s=trip_ms / 1000, sign_s=0.001)
    assert rate >= 950


def test_the_window_is_no_wider_than_rate_times_round_trip_needs() -> None:
    size, _ = settled(512, trip_s=0.1, sign_s=0.001)
    assert 100 <= size <= 220
    size, _ = settled(512, trip_s=0.0002, sign_s=0.001)
    assert size <= 6


def test_its_bound_holds_whatever_the_round_trip() -> None:
    size, rate = settled(16, trip_s=0.1, sign_s=0.001)
    assert size == 16
    assert rate == pytest.approx(160, rel=0.1)


def test_contents_dont_queue_at_a_slow_server() -> None:
    """One that takes 50 a second would have 512 of ours, all in doubt when it falls over."""
    size, rate = settled(512, trip_s=0.01, sign_s=0.001, server_s=0.02)
    assert size <= 24
    assert rate >= 48


def test_without_a_clock_it_opens_to_its_bound() -> None:
    window = Window(16)
    for _ in range(20):
        window.accepted(0.0, window.size)
    assert window.size == 16
    window.refused(transient=False)
    assert window.size == 8
    window.refused(transient=True)
    assert window.size == 1


def test_slack_covers_turns_of_the_loop() -> None:
    window = Window(64)
    window.accepted(0.001, window.size)
    for _ in range(40):
        window.accepted(0.001 + SLACK_S, window.size)
    assert window.size > 30
