"""Warm-up: a simulated year with complaints and blocks; it holds, goes on, and never doubles a day's volume."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.warmup.plan import (
    DayReport,
    WarmupOptions,
    WarmupPhase,
    begin_warmup,
    forecast,
    next_day,
)

OPTIONS = WarmupOptions()


@pytest.mark.parametrize("seed", range(8))
def test_a_year_with_complaints_and_blocks(seed: int) -> None:
    chance = random.Random(seed)
    state, phases, volumes = begin_warmup(OPTIONS), set(), []
    bad_until = 0
    for day in range(1, 366):
        if chance.random() < 0.02:
            bad_until = day + chance.randint(1, 4)
        bad = day <= bad_until
        sent = state.volume if chance.random() < 0.9 else int(state.volume * chance.random())
        report = DayReport(
            sent=sent,
            complaints=sum(
                chance.random() < (0.004 if bad else 0.0003) for _ in range(min(sent, 400))
            )
            * max(1, sent // 400),
            deferrals=int(sent * chance.random() * (0.3 if bad else 0.05)),
            blocks=int(sent * 0.02) if bad and chance.random() < 0.5 else 0,
            stopped=bad and chance.random() < 0.2,
        )
        phases.add(state.phase)
        volumes.append(state.volume)
        following = next_day(state, report, OPTIONS)
        assert following.volume < 2 * max(state.volume, 1)
        if following.volume > state.volume:
            assert following.volume < 2 * sent
            assert not report.stopped
        if report.stopped:
            assert following.volume <= max(1, state.volume // 2)
        state = following
    assert {WarmupPhase.GROWING, WarmupPhase.HELD, WarmupPhase.RESTING} <= phases
    assert max(volumes) > 20 * OPTIONS.first_day  # it went on


_REPORTS = st.builds(
    DayReport,
    sent=st.integers(0, 100_000),
    complaints=st.integers(0, 500),
    deferrals=st.integers(0, 50_000),
    blocks=st.integers(0, 5_000),
    stopped=st.booleans(),
)


@given(st.lists(_REPORTS, max_size=60))
def test_no_history_ever_doubles_a_day_or_loses_the_plan(reports: list[DayReport]) -> None:
    state = begin_warmup(OPTIONS)
    for report in reports:
        following = next_day(state, report, OPTIONS)
        assert 1 <= following.volume <= OPTIONS.goal_per_day
        assert following.volume < 2 * state.volume or following.volume == state.volume == 1
        assert following.day == state.day + 1
        state = following


def test_trouble_rests_and_then_goes_on() -> None:
    state = begin_warmup(OPTIONS)
    for _ in range(10):
        state = next_day(state, DayReport(sent=state.volume), OPTIONS)
    before = state.volume
    state = next_day(state, DayReport(sent=before, stopped=True), OPTIONS)
    assert (state.phase, state.volume) == (WarmupPhase.RESTING, before // 2)
    volumes = []
    for _ in range(8):
        state = next_day(state, DayReport(sent=state.volume), OPTIONS)
        volumes.append(state.volume)
    assert volumes[:2] == [before // 2] * 2
    assert volumes[-1] > before


def test_a_volume_that_is_not_used_does_not_grow() -> None:
    state = begin_warmup(OPTIONS)
    following = next_day(state, DayReport(sent=10), OPTIONS)
    assert (following.phase, following.volume) == (WarmupPhase.HELD, state.volume)


def test_the_forecast_reaches_its_goal_without_doubling() -> None:
    plan = forecast(OPTIONS)
    assert plan[-1].volume == OPTIONS.goal_per_day
    assert 15 <= len(plan) <= 45
    for before, after in itertools.pairwise(plan):
        assert before.volume < after.volume < 2 * before.volume
