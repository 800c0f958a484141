"""The protocol of hand-over between processes: nothing is lost, and only what was in doubt arrives twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.worker.egress_desk import EgressDesk
from actors.worker.egress_port import HeldMessage
from actors.worker.egress_wire import (
    Attempt,
    Exchange,
    Fates,
    Grant,
    Granting,
    Question,
    Questions,
    Welcome,
    Wish,
)
from actors.worker.remote_egress import RemoteEgress, RemoteSettings
from deliverability.egress import Asked
from deliverability.governor import Gate, Lease
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import Adopted
from engine.keyspace import contact_key, message_key
from engine.vocabulary import Message
from tests.actors.worker.protocol_world import Faults, World


def run(seed: int, faults: Faults, messages: int = 60) -> World:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), seed, faults, messages)
        world.run()
        if world.sender is not None:
            world.sender.ledger.close()
        return world


def check(world: World) -> None:
    unsettled = {
        (one.status, one.attempt) for one in world.durable.values() if one.status != "delivered"
    }
    assert not unsettled
    missing = [one for one in world.durable if not world.arrived[one]]
    assert not missing
    assert world.settled()
    doubles = sum(number - 1 for number in world.arrived.values())
    assert doubles <= world.doubts


def test_on_a_good_network_each_message_arrives_and_all_is_confirmed() -> None:
    world = run(1, Faults())
    check(world)
    assert world.kinds["unattempted"] == 0


def test_a_ledger_in_which_nothing_is_open_is_removed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), 3, Faults(egress_deaths=3), 80)
        world.run()
        check(world)
        assert world.lives > 1
        world.rest(5000)
        assert world.sender is not None
        world.sender.ledger.close()
        assert [path.name for path in Path(folder).iterdir()] == [f"e0-{world.lives:04}.ledger"]


def test_an_egress_that_stays_away_leaves_doubt_and_no_loss() -> None:
    world = run(5, Faults(egress_deaths=1, away_ms=20_000))
    check(world)
    assert world.doubts > 0


@pytest.mark.parametrize("seed", range(12))
def test_everything_at_once(seed: int) -> None:
    faults = Faults(
        0.05, 0.05, 0.03, egress_deaths=3, owner_deaths=2, failed_commits=3, late_syncs=0.3
    )
    check(run(seed, faults))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**9),
    lose=st.sampled_from((0.0, 0.02, 0.2)),
    repeat=st.sampled_from((0.0, 0.1, 0.5)),
    slow=st.sampled_from((0.0, 0.05, 0.2)),
    egress_deaths=st.integers(0, 4),
    owner_deaths=st.integers(0, 3),
    failed_commits=st.integers(0, 3),
    late_syncs=st.sampled_from((0.0, 0.3)),
)
def test_whatever_the_network_does(
    seed: int,
    lose: float,
    repeat: float,
    slow: float,
    egress_deaths: int,
    owner_deaths: int,
    failed_commits: int,
    late_syncs: float,
) -> None:
    deaths = egress_deaths, owner_deaths
    check(run(seed, Faults(lose, repeat, slow, *deaths, failed_commits, late_syncs=late_syncs), 30))


def test_a_lane_whose_token_comes_is_wished_for_at_once() -> None:
    """Log time that passes to a parked lane's token isn't kept waiting by the pause after empty answers."""
    time, lane = {"now": 1000, "mono": 5}, b"2default/a.example"
    remote = RemoteEgress(0, b"e0", lambda: time["now"], lambda: time["mono"])
    (greeting,) = remote.requests()
    remote.answered(greeting[0], Welcome(7, 2000))
    (questions,) = remote.requests()
    remote.answered(questions[0], Fates(7))
    remote.offer(lane, ready=True)
    remote.pump()
    (wish,) = remote.requests()
    remote.answered(wish[0], Granting(7, [Grant(lane, 0, 0, parked=1004)]))
    assert remote.parked_until(lane) == 1004
    assert remote.requests() == []
    time["now"] = 1004
    assert remote.parked_until(lane) is None
    assert len(remote.requests()) == 1


@pytest.mark.parametrize("back", [False, True])
def test_what_was_decided_while_its_egress_went_away_was_never_begun(back: bool) -> None:
    """Its tick was being synced meanwhile: it is ready again at once, not in doubt once nobody answered for long."""
    lane = b"2default/a.example"
    remote = RemoteEgress(0, b"e0", lambda: 1, lambda: 5)
    _greeted(remote, 7)
    remote.offer(lane, ready=True)
    remote.pump()
    (wish,) = remote.requests()
    remote.answered(wish[0], Granting(7, [Grant(lane, 3, 900)]))
    offer = remote.offer(lane, ready=True)
    assert offer is not None
    remote.pump()
    (more,) = remote.requests()
    remote.failed(more[0])
    if back:
        _greeted(remote, 8)
    contact = contact_key("t", "c")
    message = Message(
        message_id=b"m" * 16,
        tenant="t",
        attempt=4,
        route="default/a.example",
        message_class=2,
        template="t",
        address="a@a.example",
        display_name="",
        variables={},
        stream="s",
        scenario="",
        step="",
        date=0,
        not_after=offer.credit.not_after,
        incarnation=offer.credit.incarnation,
        contact=contact,
    )
    remote.accept(1, message)
    remote.pump()
    (answer,) = remote.outcomes()
    assert (answer.key, answer.touches) == (message_key("t", b"m" * 16), (contact,))
    assert answer.body == AttemptOutcome(4, "unattempted", "egress_away")
    assert not remote.in_hand
    remote.confirmed()
    assert not remote.unconfirmed_count


def _greeted(remote: RemoteEgress, incarnation: int) -> None:
    """Let an egress say who it is, and that it has nothing."""
    (greeting,) = remote.requests()
    remote.answered(greeting[0], Welcome(incarnation, 2000))
    (questions,) = remote.requests()
    remote.answered(questions[0], Fates(incarnation))


def test_what_was_meant_for_a_former_life_is_refused_whole() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), 9, Faults(), 4)
        assert world.sender is not None
        desk = world.sender.desk
        refused = desk.answer(Exchange(0, 99, 5, wishes=[Wish(b"2default/a.example", 5, True)]))
        assert refused == Granting(world.lives, refused=True)
        assert desk.answer(Questions(0, 99, [], complete=True)) == Fates(world.lives)
        world.sender.ledger.close()


def test_what_a_damaged_ledger_may_have_had_is_in_doubt() -> None:
    """Asked for by a new life; what the living egress knows, it answers as ever."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), 9, Faults(), 4)
        sender = world.sender
        assert sender is not None
        damaged = Adopted("e0-0000.ledger", {}, set(), damaged=True)
        sender.desk = EgressDesk(
            sender.egress,
            Gate(lambda _: Lease(1, None, 1, None, 1, 1)),
            [damaged],
            lambda _: 0,
            sender.mono,
        )
        question = Question(Attempt(b"m" * 16, 2), 1)
        asked = Questions(0, world.lives, [question], complete=True)
        told = sender.desk.answer(asked)
        assert told == Fates(world.lives, [AttemptOutcome(2, "in_doubt", "ledger_damaged")])
        assert sender.desk.answer(asked) == told, "the other owners haven't asked yet"
        sender.ledger.close()


def test_a_doubt_of_our_own_is_not_confirmed_to_the_egress_which_may_know_better() -> None:
    mono = {"now": 0}
    settings = RemoteSettings(lost_after_ms=1000)
    remote = RemoteEgress(0, b"e0", lambda: 1, lambda: mono["now"], settings)
    key = message_key("t", b"m" * 16)
    remote.hold([HeldMessage(key, b"m" * 16, 1, contact_key("t", "c"), 3, b"e0")])
    assert remote.fate(Asked(b"m" * 16, 1), 3, fence=True) is None
    mono["now"] = 1001
    remote.requests()
    (doubt,) = remote.outcomes()
    assert (doubt.body.kind, doubt.body.cause) == ("in_doubt", "egress_lost")
    remote.confirmed()
    assert (remote.unsaid, remote.unconfirmed_count, remote.in_hand) == (0, 0, 0)
