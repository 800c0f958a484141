"""The egress: credits within bounds, one outcome for each attempt, fences, floors, and what comes too late."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.egress import Asked, Concluded, Egress, EgressSettings, lane_name
from deliverability.message.records import AttemptOutcome
from engine.errors import StoreError
from engine.tick import CreditOffer
from engine.vocabulary import Message

ROUTE = "default/example.org"
SETTINGS = EgressSettings(lane_credits_min=8, in_hand_max=32)
IDS = [bytes((n % 3,)) * 4 + bytes((n,)) * 12 for n in range(12)]  # of three contacts


class Marks:
    """A ledger in memory: what was written, in order."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes, int]] = []

    def begin(self, message_id: bytes, attempt: int) -> None:
        """Note a mark."""
        self.written.append(("B", message_id, attempt))

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        """Note an outcome."""
        self.written.append(("O", message_id, outcome.attempt))

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        """Note confirmations."""
        self.written += [("C", message_id, attempt) for message_id, attempt in attempts]


def _egress(settings: EgressSettings = SETTINGS) -> tuple[Egress, Marks]:
    marks = Marks()
    return Egress(b"w0", 7, marks, settings), marks


def _message(
    message_id: bytes = IDS[0],
    attempt: int = 1,
    *,
    route: str = ROUTE,
    message_class: int = 2,
    not_after: int = 2000,
    incarnation: int = 7,
) -> Message:
    return Message(
        message_id=message_id,
        tenant="t",
        attempt=attempt,
        route=route,
        message_class=message_class,
        template="welcome",
        address="ada@example.org",
        display_name="",
        variables={},
        stream="marketing",
        scenario="",
        step="",
        date=0,
        not_after=not_after,
        incarnation=incarnation,
        contact=message_id[:4] + b"c",
    )


def _kinds(egress: Egress) -> list[tuple[bytes, int, str]]:
    told = egress.outcomes()
    return [(one.message.message_id, one.outcome.attempt, one.outcome.kind) for one in told]


# ---- credits


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 120))
def test_credits_and_what_is_in_hand_never_exceed_the_bound(seed: int, steps: int) -> None:
    """Over all lanes together, whatever expires, comes back, arrives late or concludes."""
    chance, (egress, _), now = Random(seed), _egress(), 0
    lanes = [(c, f"default/{n}.example") for c in (0, 1, 2) for n in range(8)]
    offers: list[CreditOffer] = []
    started: list[Message] = []
    number = 0
    for _ in range(steps):
        now += chance.choice((0, 10, 300, 2500))
        message_class, route = chance.choice(lanes)
        deed = chance.choice(("offer", "offer", "use", "use", "back", "take", "end", "expire"))
        if deed == "offer":
            offer = egress.offer(lane_name(message_class, route), now)
            if offer is not None:
                assert offer.credit.not_after == now + SETTINGS.credit_ms
                offers.append(offer)
        elif deed == "use" and offers:
            offer = offers.pop()
            lane, at = offer.lane.decode(), offer.credit.not_after
            for _ in range(offer.number):
                number += 1
                egress.accept(
                    1,
                    _message(
                        number.to_bytes(16),
                        route=lane[1:],
                        message_class=int(lane[0]),
                        not_after=at,
                    ),
                    now,
                )
        elif deed == "back" and offers:
            egress.take_back(offers.pop())
        elif deed == "take":
            message = egress.take(route, now)
            if message is not None:
                started.append(message)
        elif deed == "end" and started:
            message = started.pop()
            egress.conclude(message, AttemptOutcome(message.attempt, "delivered"))
        elif deed == "expire":
            egress.expire(now)
        living = sum(offer.number for offer in offers if offer.credit.not_after >= now)
        assert egress.in_hand + living <= SETTINGS.in_hand_max


def test_a_share_of_the_credits_is_reserved_for_what_is_urgent() -> None:
    """When bulk has all it may have, class 0 still gets some."""
    egress, _ = _egress(EgressSettings(lane_credits_min=1000, in_hand_max=80))
    bulk = egress.offer(lane_name(2, ROUTE), 0)
    assert bulk is not None
    assert bulk.number == 70
    assert egress.offer(lane_name(2, "default/other.example"), 0) is None
    urgent = egress.offer(lane_name(0, ROUTE), 0)
    assert urgent is not None
    assert urgent.number == 10


def test_credits_follow_the_pace_and_what_the_asker_allows() -> None:
    """Half a second of work at the rate just measured; never more than `most`."""
    egress, _ = _egress(EgressSettings(lane_credits_min=2, in_hand_max=4000))
    lane, now = lane_name(2, ROUTE), 0
    for round_number in range(20):
        now += 100
        offer = egress.offer(lane, now)
        assert offer is not None
        for n in range(offer.number):
            message = _message((1000 * round_number + n).to_bytes(16), not_after=now + 2000)
            egress.accept(1, message, now)
        while (message_taken := egress.take(ROUTE, now)) is not None:
            egress.conclude(message_taken, AttemptOutcome(1, "delivered"))
    offer = egress.offer(lane, now + 100)
    assert offer is not None
    assert offer.number > 2
    egress.take_back(offer)
    few = egress.offer(lane, now + 100, 1)
    assert few is not None
    assert few.number == 1


def test_what_comes_back_for_want_of_time_lowers_the_credits_until_none_does() -> None:
    """A machine or a server too slow for the least number of credits is given less; later as much as before."""
    egress, _ = _egress(EgressSettings(lane_credits_min=64, in_hand_max=4000))
    lane = lane_name(2, ROUTE)

    def granted(now: int) -> int:
        offer = egress.offer(lane, now)
        assert offer is not None
        egress.take_back(offer)
        return offer.number

    assert granted(0) == 64
    egress.accept(1, _message(not_after=100), 0)
    egress.expire(200)
    assert granted(200) == 32
    egress.accept(1, _message(IDS[1], not_after=250), 300)
    assert granted(300) == 16
    assert [kind for _, _, kind in _kinds(egress)] == ["unattempted", "unattempted"]
    assert granted(400) == 19
    assert max(granted(at) for at in range(500, 5000, 100)) == 64


def test_a_draining_egress_grants_and_takes_nothing() -> None:
    """What it is handed comes back unattempted."""
    egress, marks = _egress()
    egress.draining = True
    assert egress.offer(lane_name(2, ROUTE), 0) is None
    egress.accept(1, _message(), 0)
    assert _kinds(egress) == [(IDS[0], 1, "unattempted")]
    assert marks.written == []


def test_lanes_that_nobody_uses_are_forgotten() -> None:
    """A million domains don't stay in memory."""
    egress, _ = _egress()
    for n in range(100):
        egress.offer(lane_name(2, f"default/{n}.example"), 0)
        egress.expire(3000 * n)
    egress.expire(10_000_000)
    assert egress._lanes == {}


# ---- hand-over


def test_a_message_goes_its_way_and_is_forgotten_when_confirmed() -> None:
    """Mark before, outcome after, confirmation last: the ledger has them in this order."""
    egress, marks = _egress()
    message = _message()
    egress.accept(1, message, 0)
    assert list(egress.waiting()) == [(ROUTE, 1)]
    assert egress.take(ROUTE, 10) == message
    assert egress.begin(message, 20)
    egress.conclude(message, AttemptOutcome(1, "delivered"))
    assert egress.in_hand == 0
    assert (egress.fresh_count, egress.unconfirmed_count) == (1, 1)
    told = egress.outcomes()
    assert egress.outcomes() == []
    assert egress.unconfirmed() == told
    egress.confirmed(told)
    egress.confirmed(told)
    assert egress.unconfirmed() == []
    assert [tag for tag, _, _ in marks.written] == ["B", "O", "C"]


@pytest.mark.parametrize(
    ("epoch", "message", "now"),
    [
        (1, _message(not_after=5), 6),
        (1, _message(incarnation=6), 0),
    ],
)
def test_what_comes_too_late_or_for_a_former_life_comes_back(
    epoch: int, message: Message, now: int
) -> None:
    """Unattempted, without a mark."""
    egress, marks = _egress()
    egress.accept(epoch, message, now)
    assert _kinds(egress) == [(IDS[0], 1, "unattempted")]
    assert egress.take(ROUTE, now) is None
    assert marks.written == []


def test_a_hand_over_that_comes_again_is_refused_silently() -> None:
    """Its outcome is on its way or known; an older attempt never comes after a newer one."""
    egress, _ = _egress()
    egress.accept(1, _message(attempt=2), 0)
    egress.accept(1, _message(attempt=2), 0)
    egress.accept(1, _message(attempt=1), 0)
    assert egress.in_hand == 1
    assert egress.take(ROUTE, 0) is not None
    assert egress.take(ROUTE, 0) is None
    assert egress.outcomes() == []


def test_the_most_urgent_class_goes_first() -> None:
    """Then in order."""
    egress, _ = _egress()
    for n, message_class in enumerate((2, 1, 0, 2, 0)):
        egress.accept(1, _message(IDS[n], message_class=message_class), 0)
    taken = [egress.take(ROUTE, 0) for _ in range(6)]
    assert [m and IDS.index(m.message_id) for m in taken] == [2, 4, 1, 0, 3, None]


def test_what_waits_too_long_goes_back() -> None:
    """By the clock of whoever takes, and by housekeeping."""
    egress, _ = _egress()
    egress.accept(1, _message(IDS[0], not_after=100), 0)
    egress.accept(1, _message(IDS[1], not_after=100), 0)
    egress.expire(100)
    assert egress.in_hand == 2
    assert egress.take(ROUTE, 101) is None
    assert _kinds(egress) == [(IDS[0], 1, "unattempted"), (IDS[1], 1, "unattempted")]


def test_a_message_that_was_started_long_ago_isnt_begun() -> None:
    """More than a minute after MAIL FROM the view of the world is too old."""
    egress, marks = _egress()
    message = _message()
    egress.accept(1, message, 0)
    egress.take(ROUTE, 0)
    assert not egress.begin(message, SETTINGS.started_ms_max + 1)
    assert marks.written == []


def test_a_route_that_is_down_fails_what_waits_for_it() -> None:
    """Each with its own attempt; what is started has its own end."""
    egress, _ = _egress()
    for n in range(3):
        egress.accept(1, _message(IDS[n], attempt=n + 1), 0)
    egress.take(ROUTE, 0)
    assert egress.fail_route(ROUTE, AttemptOutcome(0, "deferred", "connection")) == 2
    assert _kinds(egress) == [(IDS[1], 2, "deferred"), (IDS[2], 3, "deferred")]
    assert egress.in_hand == 1


def test_a_route_that_is_down_fails_all_though_the_ledger_is_full() -> None:
    """None of them was begun, so nothing depends on what the ledger can't keep."""

    class Full(Marks):
        def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
            raise StoreError("no space left on device")

    egress = Egress(b"w0", 7, Full(), SETTINGS)
    for n in range(3):
        egress.accept(1, _message(IDS[n]), 0)
    assert egress.fail_route(ROUTE, AttemptOutcome(0, "deferred", "connection")) == 3
    assert [kind for _, _, kind in _kinds(egress)] == ["deferred"] * 3
    assert egress.in_hand == 0


# ---- cancel, fence, floor


@pytest.mark.parametrize("state", ["waiting", "started", "begun"])
def test_a_cancel_is_granted_until_the_begin_mark(state: str) -> None:
    """After it the true outcome wins."""
    egress, _ = _egress()
    message = _message()
    egress.accept(1, message, 0)
    if state != "waiting":
        egress.take(ROUTE, 0)
    if state == "begun":
        egress.begin(message, 0)
    egress.cancel(IDS[0], 9)  # of another attempt
    egress.cancel(IDS[5], 1)  # of nobody
    egress.cancel(IDS[0], 1)
    if state == "waiting":
        assert _kinds(egress) == [(IDS[0], 1, "cancelled")]
    else:
        assert egress.withdrawn(message) == (state == "started")
        assert egress.outcomes() == []
    if state == "started":
        assert not egress.begin(message, 0)


def test_asking_is_fencing() -> None:
    """What isn't begun is dropped before the answer, whatever is on its way is refused, what is begun has its end."""
    egress, _ = _egress()
    waiting, started, begun = (_message(IDS[n]) for n in (0, 3, 6))  # of one contact
    for message in (started, begun, waiting):
        egress.accept(1, message, 0)
    assert egress.take(ROUTE, 0) == started
    assert egress.take(ROUTE, 0) == begun
    assert egress.begin(begun, 0)

    def ask(message_id: bytes, attempt: int = 1) -> str | None:
        outcome = egress.fate(Asked(message_id, attempt), 2, fence=True)
        return outcome.cause if outcome is not None else None

    assert ask(IDS[0]) == "fenced"
    assert ask(IDS[0]) == "never_arrived"
    assert ask(IDS[3]) is None
    assert ask(IDS[6]) is None
    assert not egress.begin(started, 1)
    assert ask(IDS[9]) == "never_arrived"
    egress.accept(1, _message(IDS[9]), 1)  # was asked for: too late, in silence
    egress.accept(1, _message(IDS[9], attempt=2), 1)  # of the former owner: below the floor
    assert _kinds(egress) == [(IDS[9], 2, "unattempted")]
    egress.accept(2, _message(IDS[9], attempt=3), 1)
    assert egress.take(ROUTE, 1) is not None
    egress.conclude(begun, AttemptOutcome(1, "delivered"))
    known = egress.fate(Asked(IDS[6], 1), 2, fence=True)
    assert known is not None
    assert known.kind == "delivered"


def test_a_floor_stops_what_was_started_under_a_lower_epoch() -> None:
    """Also a message that nobody asked for, of a contact whose other message was asked for."""
    egress, _ = _egress()
    other = _message(IDS[3])
    egress.accept(1, other, 0)
    assert egress.take(ROUTE, 0) == other
    egress.fate(Asked(IDS[0], 1), 2, fence=True)
    assert not egress.begin(other, 0)


# ---- one outcome for each attempt


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 150))
def test_each_attempt_has_one_outcome_and_a_mark_only_if_it_was_begun(
    seed: int, steps: int
) -> None:
    """Whatever is repeated, cancelled, asked, expired or ended in whatever order."""
    chance, (egress, marks), now = Random(seed), _egress(), 0
    attempts = dict.fromkeys(IDS, 0)
    in_flight: list[tuple[Message, bool]] = []
    told: list[tuple[bytes, int]] = []
    accepted: list[Message] = []

    def hear() -> None:
        told.extend((one.message.message_id, one.outcome.attempt) for one in egress.outcomes())

    for _ in range(steps):
        now += chance.choice((0, 1, 500))
        message_id = chance.choice(IDS)
        deed = chance.choice(
            ("new", "new", "again", "take", "take", "begin", "end", "cancel", "ask", "expire")
        )
        if deed == "new":
            attempts[message_id] += 1
            message = _message(message_id, attempts[message_id], not_after=now + 1000)
            accepted.append(message)
            if message_id in egress._hands:
                continue  # a partition hands over the next attempt only after an outcome
            egress.accept(1, message, now)
        elif deed == "again" and accepted:
            egress.accept(1, chance.choice(accepted), now)
        elif deed == "take":
            taken = egress.take(ROUTE, now)
            if taken is not None:
                in_flight.append((taken, False))
        elif deed == "begin" and in_flight:
            message, begun = in_flight.pop(0)
            if begun or egress.begin(message, now):
                in_flight.append((message, True))
            else:
                egress.conclude(message, AttemptOutcome(message.attempt, "unattempted"))
        elif deed == "end" and in_flight:
            message, begun = in_flight.pop(0)
            egress.conclude(
                message, AttemptOutcome(message.attempt, "delivered" if begun else "deferred")
            )
            egress.conclude(message, AttemptOutcome(message.attempt, "bounced"))
        elif deed == "cancel":
            egress.cancel(message_id, attempts[message_id])
        elif deed == "ask":
            outcome = egress.fate(Asked(message_id, attempts[message_id]), 1, fence=False)
            hear()
            key = (message_id, attempts[message_id])
            if outcome is not None and key not in told:
                told.append(key)
        elif deed == "expire":
            egress.expire(now)
        hear()
    assert len(told) == len(set(told)), "an attempt had two outcomes"
    begun_marks = [entry for entry in marks.written if entry[0] == "B"]
    assert len(begun_marks) == len(set(begun_marks)), "an attempt was begun twice"
    open_hands = {
        (hand.message.message_id, hand.message.attempt) for hand in egress._hands.values()
    }
    assert open_hands.isdisjoint(told)
    assert {(m, a) for _, m, a in begun_marks} <= set(told) | open_hands


def test_an_outcome_is_known_even_when_the_ledger_fails() -> None:
    """A full disk: the mark alone means doubt, but whoever lives still tells the truth."""

    class Full(Marks):
        def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
            raise OSError("no space left")

    egress = Egress(b"w0", 7, Full(), SETTINGS)
    message = _message()
    egress.accept(1, message, 0)
    egress.take(ROUTE, 0)
    egress.begin(message, 0)
    with pytest.raises(OSError, match="no space"):
        egress.conclude(message, AttemptOutcome(1, "delivered"))
    assert egress.outcomes() == [Concluded(message, AttemptOutcome(1, "delivered"))]
    assert egress.in_hand == 0


# ---- who is next


def _of(tenant: str, n: int, message_class: int) -> Message:
    made = _message(n.to_bytes(16), message_class=message_class, not_after=10**6)
    return msgspec.structs.replace(made, tenant=tenant)


def test_tenants_share_a_route_by_weight_and_urgent_mail_goes_first() -> None:
    """A tenant with a thousand messages in hand leaves another its share; a code overtakes both."""
    egress = Egress(b"w0", 7, Marks(), EgressSettings(in_hand_max=10_000), weights={"gold": 2})
    for n in range(1000):
        egress.accept(1, _of("noisy", n, 2), 0)
    for n in range(300):
        egress.accept(1, _of("gold", 2000 + n, 2), 0)
    egress.accept(1, _of("noisy", 5000, 1), 0)
    assert egress.urgency(ROUTE) == 1
    took = [egress.take(ROUTE, 0) for _ in range(301)]
    assert took[0] is not None
    assert took[0].message_class == 1
    tenants = [one.tenant for one in took[1:] if one is not None]
    assert abs(tenants.count("gold") - 200) <= 10


def test_what_comes_back_is_counted() -> None:
    egress, _ = _egress()
    egress.accept(1, _of("t", 1, 2), 0)
    egress.accept(1, _of("t", 2, 2), 0)
    egress.expire(10**9)
    assert (egress.handed_over, egress.unattempted) == (2, 2)
