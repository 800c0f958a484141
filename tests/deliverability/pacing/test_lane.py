"""The lane: it keeps below what it found, follows Google's recipe, and never passes what rules allow."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.greylist import Greylist, GreylistMode
from deliverability.pacing.lane import Lane, LaneOptions
from deliverability.pacing.recovery import STOP_MS
from deliverability.pacing.signals import Cause

MINUTE = 60_000
HOUR = 60 * MINUTE
BEGIN = 1_764_000_000_000


def drive(lane: Lane, begin_ms: int, end_ms: int, quota: int, length_ms: int) -> tuple[int, int]:
    """Send as the lane allows to a provider with a rolling quota; return accepted and deferred."""
    times: list[int] = []
    now_ms, accepted, deferred = begin_ms, 0, 0
    while now_ms < end_ms:
        wait_ms = lane.wait_ms(now_ms)
        if wait_ms > 0:
            now_ms += wait_ms
            continue
        lane.sent(now_ms)
        times = [each for each in times if each > now_ms - length_ms]
        if len(times) < quota:
            times.append(now_ms)
            accepted += 1
            lane.answered(Cause.ACCEPTED, now_ms + 300, latency_ms=300)
        else:
            deferred += 1
            lane.answered(Cause.RATE, now_ms + 300, latency_ms=300)
        now_ms += 300
    return accepted, deferred


def test_a_quota_is_found_and_kept_to() -> None:
    lane = Lane(LaneOptions(), BEGIN)
    drive(lane, BEGIN, BEGIN + 4 * HOUR, 240, HOUR)
    accepted, deferred = drive(lane, BEGIN + 5 * HOUR, BEGIN + 15 * HOUR, 240, HOUR)
    assert accepted >= 0.93 * 2_400
    assert deferred <= 0.03 * accepted


def test_the_report_names_the_window() -> None:
    lane = Lane(LaneOptions(), BEGIN)
    drive(lane, BEGIN, BEGIN + 4 * HOUR, 240, HOUR)
    report = lane.report(BEGIN + 4 * HOUR)
    assert report.trips >= 1
    assert "in 60 min" in report.reason


def test_googles_recipe_stops_probes_and_grows_by_one() -> None:
    lane = Lane(LaneOptions(first_per_hour=36_000), BEGIN)
    lane.connected(5)
    lane.sent(BEGIN)
    lane.answered(Cause.STOP, BEGIN)
    assert lane.phase.value == "recovering"
    assert lane.wait_ms(BEGIN) >= STOP_MS
    assert lane.connection_target(BEGIN) == 0
    now_ms = BEGIN + STOP_MS
    assert lane.wait_ms(now_ms) == 0
    assert lane.connection_target(now_ms) == 1
    lane.sent(now_ms)
    assert lane.wait_ms(now_ms) > 0  # one probe at a time
    lane.answered(Cause.STOP, now_ms + 500)
    assert lane.wait_ms(now_ms + 500) >= STOP_MS
    now_ms += 500 + STOP_MS
    targets = []
    while lane.phase.value == "recovering":
        wait_ms = lane.wait_ms(now_ms)
        now_ms += wait_ms
        if not wait_ms:
            lane.sent(now_ms)
            lane.answered(Cause.ACCEPTED, now_ms, latency_ms=2_000_000)
            targets.append(lane.connection_target(now_ms))
    assert targets[0] == 1
    assert lane.phase.value == "cruising"


def test_connections_settle_just_below_what_is_refused() -> None:
    lane = Lane(LaneOptions(), BEGIN)
    now_ms, refused = BEGIN, 0
    for _ in range(500):
        now_ms += 20_000
        target = lane.connections.target(now_ms, 10)
        if target > 3:
            refused += 1
            lane.connection_refused(Cause.CONNECTIONS, now_ms, 3)
    assert lane.connections.target(now_ms + 1, 10) == 3
    assert refused <= 5


_ANSWERS = st.lists(
    st.tuples(st.sampled_from(list(Cause)), st.integers(0, 20 * MINUTE), st.integers(0, 60_000)),
    max_size=120,
)


@given(_ANSWERS, st.integers(10, 5_000), st.integers(1, 9))
def test_any_history_keeps_to_the_rules_and_goes_on(
    answers: list[tuple[Cause, int, int]], max_per_hour: int, connections: int
) -> None:
    options = LaneOptions(max_per_hour=max_per_hour, max_connections=connections)
    lane, now_ms, sent = Lane(options, BEGIN), BEGIN, []
    for cause, gap_ms, latency_ms in answers:
        now_ms += gap_ms
        wait_ms = lane.wait_ms(now_ms)
        assert wait_ms <= 25 * HOUR
        now_ms += wait_ms
        if lane.wait_ms(now_ms) == 0:
            lane.sent(now_ms)
            sent.append(now_ms)
            lane.answered(cause, now_ms, latency_ms=latency_ms, on_connection=3)
        assert 0 <= lane.connection_target(now_ms) <= connections
        assert 0 < lane.report(now_ms).per_hour <= max_per_hour
        assert lane.messages_per_connection() >= 1
    for begin_ms in sent:
        used = sum(begin_ms <= each < begin_ms + HOUR for each in sent)
        assert used <= max_per_hour * 1.01 + 3


def test_a_greylist_that_lets_in_is_waited_for() -> None:
    greylist, now_ms = Greylist(), BEGIN
    greylist.sent_fresh(now_ms)
    greylist.deferred(0, now_ms)
    assert greylist.mode.value == "learning"
    assert greylist.holds_fresh(now_ms) == now_ms + MINUTE
    greylist.accepted(6 * MINUTE, now_ms)
    for _ in range(3):
        greylist.accepted(0, now_ms)
    assert greylist.mode.value == "lets-in"
    assert greylist.holds_fresh(now_ms) == 0


def test_a_greylist_for_each_message_is_not_waited_for_and_its_delay_is_learned() -> None:
    greylist, needed_ms, delays, now_ms = Greylist(), 7 * MINUTE, [], BEGIN
    for _ in range(40):
        greylist.deferred(0, now_ms)
        age_ms = 0
        while age_ms < needed_ms:
            age_ms += greylist.delay_ms()
            if age_ms < needed_ms:
                greylist.deferred(age_ms, now_ms + age_ms)
        now_ms += age_ms
        greylist.accepted(age_ms, now_ms)
        delays.append(age_ms)
    assert greylist.mode is GreylistMode.EACH_MESSAGE
    assert needed_ms <= greylist.delay_ms() <= 1.4 * needed_ms


def test_fresh_mail_does_not_wait_for_ever_for_retries_that_never_come() -> None:
    """Every probe's message expired or was cancelled: nothing will ever pass, and nobody will say so."""
    greylist, now_ms, went, at_worst = Greylist(), BEGIN, [BEGIN], 0
    for _ in range(40):
        greylist.sent_fresh(now_ms)
        greylist.deferred(0, now_ms)
        while greylist.holds_fresh(now_ms) > now_ms:
            now_ms = greylist.holds_fresh(now_ms)
            at_worst = max(at_worst, now_ms - went[-1])
            assert now_ms - went[-1] <= HOUR + 2 * MINUTE, "fresh mail waits for ever"
        went.append(now_ms)
    assert at_worst > 10 * MINUTE  # it did wait for the probes at first
    assert greylist.mode is GreylistMode.EACH_MESSAGE  # after hours of that it is as without us


@given(st.lists(st.tuples(st.sampled_from(["probe", "again", "pass", "lost"]), st.integers(0, 90))))
def test_whatever_becomes_of_probes_fresh_mail_goes_within_an_hour(
    history: list[tuple[str, int]],
) -> None:
    greylist, now_ms = Greylist(), BEGIN
    for what, minutes in history:
        now_ms += minutes * MINUTE
        match what:
            case "probe":
                greylist.sent_fresh(now_ms)
                greylist.deferred(0, now_ms)
            case "again":
                greylist.deferred(5 * MINUTE, now_ms)
            case "pass":
                greylist.accepted(7 * MINUTE, now_ms)
    held_ms = 0
    while greylist.holds_fresh(now_ms + held_ms):
        held_ms += MINUTE
        assert held_ms <= HOUR + 2 * MINUTE
