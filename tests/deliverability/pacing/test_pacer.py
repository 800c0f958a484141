"""The pacer and its senders: limits hold whatever is lost or dies, and mail goes on."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.pacing.exchange import PaceAsk, Path, Want, path_name
from deliverability.pacing.lane import Phase
from deliverability.pacing.pacer import KeptPacing, Pacer, PacerOptions
from deliverability.pacing.warming import WarmupPlan
from deliverability.warmup.plan import WarmupOptions
from tests.deliverability.pacing.pace_world import BEGIN, PATH, World

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FAST = PacerOptions(first_per_hour=36_000)
WP = """
[provider."wp"]
match = [{ MXSuffix = "wp.example" }]
max_message_rate = "RATE"
"""


@pytest.mark.parametrize(
    ("rate", "quantity", "period"), [("30/min", 30, MINUTE), ("7/min", 7, MINUTE)]
)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    crashes=st.lists(st.sampled_from(["w0", "w1", "pacer", "nobody"]), max_size=6),
)
def test_a_rule_holds_in_every_window_whatever_is_lost_or_dies(
    rate: str, quantity: int, period: int, seed: int, loss: float, crashes: list[str]
) -> None:
    world = World(WP.replace("RATE", rate), FAST, senders=2, seed=seed, loss=loss)
    restarts = 0
    for who in crashes:
        world.run(20_000)
        match who:
            case "w0" | "w1":
                world.crash_sender(int(who[1]))
            case "pacer":
                world.crash_pacer()
                restarts += 1
    world.run(3 * MINUTE)
    # a new pacer doesn't know what its predecessor gave, so it begins with no burst
    assert world.most_in(period) <= quantity + restarts
    assert len(world.sent) >= quantity  # and it goes on


def test_several_senders_share_what_one_provider_takes() -> None:
    """A window of 100 in ten minutes that nobody told: found, and kept to, by three senders together."""
    taken: deque[int] = deque(maxlen=100)

    def reply(_path: Path, now: int) -> tuple[int, str]:
        if len(taken) == 100 and taken[0] > now - 10 * MINUTE:
            return 450, "4.7.1 You sent too many messages"
        taken.append(now)
        return 250, "ok"

    options = PacerOptions(first_per_hour=600)
    world = World("", options, senders=3, step_ms=3000, reply=reply)
    world.run(4 * HOUR)
    assert len(world.sent) >= 0.7 * 100 * 24
    assert world.deferred <= 0.04 * len(world.sent)


def test_what_was_learned_outlives_the_pacer() -> None:
    def reply(_path: Path, now: int) -> tuple[int, str]:
        recent = [at for at, _ in world.sent if at > now - MINUTE]
        return (250, "ok") if len(recent) < 20 else (450, "4.7.1 rate limit exceeded")

    world = World("", PacerOptions(first_per_hour=3600), senders=1, step_ms=500, reply=reply)
    world.run(HOUR)
    world.kept = world.pacer.kept()
    before, lane = world.deferred, next(iter(world.pacer.lanes.values()))
    ceiling = lane.lane.memory(world.now).ceiling_per_hour
    world.crash_pacer()
    world.run(30 * MINUTE)
    again = next(iter(world.pacer.lanes.values()))
    assert again.lane is not lane.lane
    assert again.lane.memory(world.now).ceiling_per_hour == pytest.approx(ceiling, rel=0.3)
    assert world.deferred - before <= 3


def test_automation_suspends_a_path_and_that_outlives_the_pacer() -> None:
    rules = (
        WP.replace("RATE", "100/s")
        + """
[[provider."wp".automation]]
regex = "blocked for now"
trigger = { Threshold = "3/hr" }
action = "Suspend"
duration = "1 hour"
"""
    )
    world = World(
        rules, FAST, senders=2, reply=lambda _path, _now: (450, "4.7.0 you are blocked for now")
    )
    world.run(MINUTE)
    acts = world.pacer.take_acted()
    assert [act.kind for act in acts] == ["Suspend"] * len(acts)
    assert acts[0].matches == 3
    assert "rules.toml" in acts[0].rule
    tried = world.deferred
    world.crash_pacer()
    world.run(30 * MINUTE)
    assert world.deferred == tried
    world.reply = lambda _path, _now: (250, "ok")
    world.run(31 * MINUTE)
    assert world.sent


def test_automation_lowers_a_rate_for_a_while_and_gives_it_back() -> None:
    rules = (
        WP.replace("RATE", "600/min")
        + """
[[provider."wp".automation]]
regex = "slow down"
action = { SetConfig = { name = "max_message_rate", value = "6/min" } }
duration = "10 minutes"
"""
    )
    said: list[int] = []

    def reply(_path: Path, now: int) -> tuple[int, str]:
        if not said:
            said.append(now)
            return 450, "4.7.0 slow down"
        return 250, "ok"

    world = World(rules, PacerOptions(first_per_hour=36_000), senders=2, reply=reply)
    world.run(8 * MINUTE)
    assert world.most_in(MINUTE) <= 6 + 2 * 64  # what senders had when the rule fired
    slow = [at for at, _ in world.sent if at > world.now - MINUTE]
    assert 4 <= len(slow) <= 6
    world.run(6 * MINUTE)
    assert sum(at > world.now - MINUTE for at, _ in world.sent) > 100


def test_urgent_mail_goes_beyond_the_pace_but_not_beyond_the_limits() -> None:
    """At ten an hour the next token is minutes away; a one-time password goes at once, and the lane pays for it."""
    world = World("", PacerOptions(first_per_hour=10), senders=1)
    world.run(2_000)
    sender = world.senders[0]
    assert not sender.purse.may_start(PATH, world.now, urgent=False)
    assert sender.purse.may_start(PATH, world.now, urgent=True)
    sender.backlog = False
    world.send(sender, PATH)
    lane = next(iter(world.pacer.lanes.values())).lane
    wait = lane.wait_ms(world.now)
    world.run(1_000)
    assert lane.wait_ms(world.now) > wait + 5 * MINUTE
    slow = World(
        WP.replace("RATE", "1/hour"), PacerOptions(first_per_hour=10), senders=1, step_ms=1000
    )
    slow.run(HOUR - MINUTE, urgent=True)
    assert len(slow.sent) == 1


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    crashes=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["pacer", "w0"])), max_size=8),
)
def test_a_warm_up_never_gives_more_than_the_day_s_volume(
    seed: int, crashes: list[tuple[int, str]]
) -> None:
    plan = WarmupPlan("a", "*", WarmupOptions(first_day=60, goal_per_day=5000))
    options = PacerOptions(first_per_hour=3600, warmups=(plan,))
    world = World("", options, senders=2, seed=seed, loss=0.1)
    for seconds, who in crashes:
        world.run(seconds * 1000)
        if who == "pacer":
            world.crash_pacer()
        else:
            world.crash_sender(0)
    world.run(3 * MINUTE)
    assert len(world.sent) + 12 * len(crashes) >= 30
    assert len(world.sent) <= 60
    world.now = BEGIN + DAY
    world.run(4 * MINUTE)
    today = sum(at >= BEGIN + DAY for at, _ in world.sent)
    assert today <= 2 * 60 - 1


def test_what_was_heard_twice_counts_once_and_an_old_question_has_no_answer() -> None:
    pacer = Pacer(World("").rules, PacerOptions(), BEGIN)
    world = World("", senders=1)
    purse = world.senders[0].purse
    world.senders[0].wish(BEGIN)
    purse.accepted(PATH, "t", "marketing", 10, 100, 0)
    first = purse.ask(BEGIN)
    assert pacer.ask(first, BEGIN) is not None
    assert pacer.ask(first, BEGIN + 10) is None
    again = purse.ask(BEGIN + 250)  # no answer came: it is told again
    assert [one.number for one in again.heard] == [1]
    answer = pacer.ask(again, BEGIN + 250)
    assert answer is not None
    assert answer.heard == 1
    lane = next(iter(pacer.lanes.values()))
    assert lane.counts.finals == 1
    older = PaceAsk("w0", 0, 99, [Want(PATH, 5)])
    assert pacer.ask(older, BEGIN + 300) is None


def test_a_dead_sender_with_a_probe_keeps_nobody_waiting() -> None:
    world = World("", FAST, senders=1, reply=lambda _p, _n: (450, "4.7.1 rate limit exceeded"))
    world.run(MINUTE)
    lane = next(iter(world.pacer.lanes.values()))
    assert lane.lane.phase is Phase.PAUSED
    lane.lane.sent(world.now)  # a probe that nobody will ever answer for
    world.crash_sender(0)
    world.reply = lambda _path, _now: (250, "ok")
    world.run(45 * MINUTE)
    assert world.sent
    assert path_name(PATH) in world.pacer.paths
    assert isinstance(world.pacer.kept(), KeptPacing)


def test_a_pacer_that_is_away_leaves_a_trickle() -> None:
    world = World("", FAST, senders=1, loss=0.0)
    world.run(MINUTE)
    world.loss = 1.0
    sender, before = world.senders[0], len(world.sent)
    for _ in range(10):
        world.run(MINUTE)
        sender.wish(world.now)
        sender.purse.trickle(world.now, MINUTE)
    assert 8 <= len(world.sent) - before <= 80
