"""Automation: thresholds in a sliding window, firings that hold and end."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.shaping.automation import AutomationState, active_firings, decide
from deliverability.shaping.reading import read_rule_set
from deliverability.shaping.rules import AutomationRule

HOUR = 3_600_000


def rules_of(trigger: str, extra: str = "") -> tuple[AutomationRule, ...]:
    text = f"""
[[default.automation]]
regex = "too (many|much)"
trigger = {trigger}
action = "Suspend"
duration = "30m"
{extra}
"""
    return read_rule_set([("f.toml", text)]).sections()[0].automation


def test_a_threshold_fires_at_its_count_within_its_period_only() -> None:
    rules, state, fired_at = rules_of('{Threshold = "3/hr"}'), AutomationState(), []
    for minute in (0, 40, 80, 90, 95):
        state, fired = decide(state, rules, scope="s", reply="421 too many", now_ms=minute * 60_000)
        fired_at += [(minute, each.matches) for each in fired]
    assert fired_at == [(90, 3)]
    assert [each.scope for each in active_firings(state, "s", 100 * 60_000)] == ["s"]
    assert active_firings(state, "s", 121 * 60_000) == ()


def test_scopes_are_counted_apart_and_other_replies_not_at_all() -> None:
    rules, state = rules_of('{Threshold = "2/hr"}'), AutomationState()
    for scope, reply in (("a", "too many"), ("b", "too much"), ("a", "fine")):
        state, fired = decide(state, rules, scope=scope, reply=reply, now_ms=1)
        assert fired == ()
    _, fired = decide(state, rules, scope="a", reply="too many", now_ms=2)
    assert [each.scope for each in fired] == ["a"]


def test_replies_of_our_own_count_only_where_asked_for() -> None:
    for extra, expected in (("", 0), ("match_internal = true", 1)):
        _, fired = decide(
            AutomationState(),
            rules_of('"Immediate"', extra),
            scope="s",
            reply="too many",
            now_ms=0,
            internal=True,
        )
        assert len(fired) == expected


@given(st.lists(st.integers(0, 3 * HOUR), max_size=40), st.integers(2, 5))
def test_no_firing_without_enough_matches_in_its_period(times: list[int], count: int) -> None:
    rules, state = rules_of(f'{{Threshold = "{count}/hr"}}'), AutomationState()
    firings = 0
    for now_ms in sorted(times):
        state, fired = decide(state, rules, scope="s", reply="too many", now_ms=now_ms)
        for each in fired:
            firings += 1
            recent = [t for t in times if now_ms - HOUR < t <= now_ms]
            assert len(recent) >= each.matches >= count
    assert firings <= len(times) // count
