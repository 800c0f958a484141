"""The queue at stated limits."""

from __future__ import annotations

from actors.simulation.forecast import Quota, forecast, quotas_of, wait_told
from actors.simulation.worst import mails_max
from deliverability.twin.presets import mixed
from scenarios.checking import load

NINE = 28_000_020  # a minute, 60 minutes into an hour


def test_without_limits_nothing_waits() -> None:
    """All goes when it is due."""
    found = forecast({(NINE, "09:00 UTC"): 1_000, (NINE + 5, ""): 10}, ())
    assert (found.mails, found.late, found.minutes_max, found.delays) == (1_010, 0, 0, ())


def test_a_wave_drains_at_the_quota() -> None:
    """A thousand at nine with 250 an hour: the last 250 go three hours later; what comes then waits behind them."""
    found = forecast({(NINE, "09:00 UTC"): 1_000, (NINE + 120, ""): 1}, (Quota(250, 60),))
    (delay,) = found.delays
    assert (delay.meant, delay.mails, delay.late, delay.minutes_max) == (
        "09:00 UTC",
        1_000,
        750,
        180,
    )
    assert found.longest_queue == 1_000
    assert found.mails == 1_001
    assert found.late == 751


def test_the_narrowest_of_several_quotas_counts() -> None:
    """Ten an hour, but fifteen a day: the rest goes a day later."""
    found = forecast({(NINE, ""): 20}, (Quota(10, 60), Quota(15, 1440)))
    assert found.minutes_max == 1440
    assert found.late == 10


def test_a_warmup_plan_holds_each_day() -> None:
    """Fifty, seventy, … a day, from its first day on; the last day's volume holds on."""
    day = NINE // 1440
    found = forecast({(NINE, ""): 200}, (), (50, 70), day)
    assert found.late == 150
    assert found.minutes_max == (day + 3) * 1440 - NINE


def test_waits_and_worst_cases_are_told() -> None:
    """In words; and the longest way of a scenario counts loops and the branch with most mail."""
    told = [wait_told(minutes) for minutes in (0, 7, 60, 190, 1440, 1500)]
    assert told == ["0 min", "7 min", "1 h", "3 h 10 min", "1 d", "1 d 1 h"]
    send = "send: {template: t, topic: n}\n"
    scenario = load(
        "scenario: s\nentry: e\nsteps:\n"
        "  - id: l\n    repeat: 3\n    steps:\n      - id: w\n        wait: 1h\n"
        f"      - id: a\n        {send}"
        f"  - id: i\n    if: contact.x == 1\n    then:\n      - id: b\n        {send}"
        f"      - id: c\n        {send}    else:\n      - id: d\n        tag: x\n"
    )
    assert mails_max(scenario.steps) == 5


def test_quotas_of_twins_are_those_that_one_sender_meets() -> None:
    """Windows in minutes; what is counted for each recipient isn't the sender's limit."""
    quotas = quotas_of(mixed())
    assert quotas["wp-like"] == (Quota(300, 60), Quota(2500, 1440))
    assert quotas["strict"] == (Quota(20, 1),)
    assert quotas["plain"] == ()
