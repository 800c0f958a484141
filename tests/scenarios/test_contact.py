"""The contact machine: consents, suppressions, permission, erasure; and that it is total."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine import At, Wake
from engine.vocabulary import (
    Cancel,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    MarkSuppressed,
    MaySend,
    OutcomeNotice,
    Permit,
    Refuse,
    Send,
    SendDirect,
)
from scenarios.migration import MoveJourneys
from scenarios.state import Contact
from tests.scenarios.world import World

HELLO = """
scenario: hello
entry: {event: joined}
reentry: always
steps:
  - {id: hi, send: {template: hi, topic: news, late: 1h}}
  - {id: later, wait: 1d}
  - {id: again, send: {template: again, topic: news}}
"""


def joined(consent: bool = True) -> tuple[World, bytes]:
    """A contact that has just joined, with a message under way."""
    world = World(HELLO)
    world.now = 1_000
    world.give("ann", ContactPut({"email": "ann@Example.COM", "name": "Ann"}))
    if consent:
        world.give("ann", ConsentGiven("news", True, 5))
    world.give("ann", Event("joined", 1_000, {"from": "web"}))
    [(_, _, message, _)] = world.sent
    return world, message


def asked(world: World, message: bytes, attempt: int = 1, due: int = 1_000) -> Any:
    world.give("ann", MaySend(message, attempt, "marketing", "news", due))
    return world.told[-1].body


def test_a_send_tells_the_message_with_the_domain_in_lower_case() -> None:
    world, _ = joined()
    send = world.sent[0][3]
    assert (
        send.template,
        send.stream,
        send.topic,
        send.domain,
        send.due,
    ) == ("hi", "marketing", "news", "example.com", 1_000)
    assert (send.scenario, send.step, send.message_class) == ("hello", "hi", 2)


def test_the_journey_goes_on_at_once_and_the_contact_wakes_when_its_wait_is_over() -> None:
    world, _ = joined()
    assert next(iter(world.places.values())) == At(1_000 + 86_400_000)
    world.drain()
    assert [send.step for _, _, _, send in world.sent] == ["hi", "again"]
    assert world.contact("ann").journeys == ()


def test_a_permit_carries_address_name_and_variables() -> None:
    world, message = joined()
    permit = asked(world, message)
    assert isinstance(permit, Permit)
    assert (permit.address, permit.display_name) == ("ann@Example.COM", "Ann")
    assert permit.variables["contact"]["name"] == "Ann"
    assert permit.variables["event"] == {"from": "web"}
    assert permit.variables["journey"]["scenario"] == "hello"


def test_without_consent_a_marketing_message_is_refused() -> None:
    world, message = joined(consent=False)
    assert asked(world, message) == Refuse(1, "no_consent")


def test_a_withdrawal_between_decision_and_hand_over_counts() -> None:
    world, message = joined()
    world.give("ann", ConsentGiven("news", False, 6))
    assert asked(world, message) == Refuse(1, "no_consent")


def test_of_consents_of_the_same_time_the_withdrawal_wins_in_either_order() -> None:
    for first, second in ((True, False), (False, True)):
        world = World()
        world.give("ann", ConsentGiven("news", first, 7))
        world.give("ann", ConsentGiven("news", second, 7))
        assert not world.contact("ann").consents["news"].granted


def test_an_older_consent_changes_nothing() -> None:
    world = World()
    world.give("ann", ConsentGiven("news", False, 9))
    world.give("ann", ConsentGiven("news", True, 8))
    assert not world.contact("ann").consents["news"].granted


@pytest.mark.parametrize("stream", ["", "marketing"])
def test_a_suppression_of_the_stream_or_of_all_refuses(stream: str) -> None:
    world, message = joined()
    world.give("ann", MarkSuppressed("complaint", stream))
    assert asked(world, message) == Refuse(1, "suppressed")


def test_a_suppression_of_another_stream_does_not_refuse() -> None:
    world, message = joined()
    world.give("ann", MarkSuppressed("complaint", "newsletters"))
    assert isinstance(asked(world, message), Permit)


def test_a_send_later_than_its_step_allows_is_refused() -> None:
    world, message = joined()
    world.now = 1_000 + 3_600_000
    assert isinstance(asked(world, message), Permit)
    world.now += 1
    assert asked(world, message) == Refuse(1, "late")


def test_a_message_that_has_its_final_outcome_is_not_permitted_again() -> None:
    world, message = joined()
    world.give("ann", OutcomeNotice(message, "deferred", 1, 1_000, final=False))
    assert isinstance(asked(world, message, 2), Permit)
    world.give("ann", OutcomeNotice(message, "delivered", 2, 1_000, final=True))
    assert asked(world, message, 3) == Refuse(3, "cancelled")
    assert world.contact("ann").sends == {}


def test_a_contact_without_address_gets_no_message_and_its_journey_goes_on() -> None:
    world = World(HELLO)
    world.give("bob", Event("joined", 0))
    assert world.sent == []
    assert [fact["reason"] for fact in world.facts("send_skipped")] == ["no_address"]
    assert len(world.contact("bob").journeys) == 1


def test_a_record_version_that_is_older_is_ignored_and_none_removes_an_attribute() -> None:
    world = World()
    world.give("ann", ContactPut({"plan": "pro", "city": "Oslo"}, version=5))
    world.give("ann", ContactPut({"plan": "free"}, version=4))
    world.give("ann", ContactPut({"city": None}))
    assert world.contact("ann").attributes == {"plan": "pro"}


def test_erasure_leaves_a_tombstone_and_cancels_what_is_under_way() -> None:
    world, message = joined()
    world.give("ann", SendDirect(b"direct0123456789", "otp", {"code": 1}))
    world.told.clear()
    world.give("ann", Erase("asked"))
    assert [Cancel("erased")] * 2 == [tell.body for tell in world.told]
    assert world.contact("ann") == Contact(erased_at=1_000)
    assert list(world.places.values()) == [None]
    assert asked(world, message) == Refuse(1, "erased")


def test_after_erasure_inputs_are_acknowledged_dropped_and_counted() -> None:
    world, _ = joined()
    world.give("ann", Erase())
    world.give("ann", Event("joined", 1))
    world.give("ann", ContactPut({"email": "ann@example.com"}))
    world.give("ann", OutcomeNotice(b"x" * 16, "delivered", 1, 1, final=True))
    assert world.contact("ann") == Contact(erased_at=1_000, dropped=2)


def test_a_direct_message_to_an_erased_contact_exists_and_is_cancelled() -> None:
    world, _ = joined()
    world.give("ann", Erase())
    world.told.clear()
    world.give("ann", SendDirect(b"direct0123456789", "otp", {}, address="ann@example.com"))
    send, cancel = [tell.body for tell in world.told]
    assert (isinstance(send, Send), cancel) == (True, Cancel("erased"))


def test_a_direct_message_goes_without_consent_to_its_own_address() -> None:
    world = World()
    body = SendDirect(b"direct0123456789", "otp", {"code": 7}, address="x@bücher.example")
    world.give("ann", body)
    assert world.sent[0][3].domain == "xn--bcher-kva.example"
    world.give("ann", MaySend(body.message_id, 1, "transactional", "", 0))
    permit = world.told[-1].body
    assert (permit.address, permit.variables["code"]) == ("x@bücher.example", 7)


def test_a_direct_message_without_any_address_is_cancelled_at_once() -> None:
    world = World()
    world.give("ann", SendDirect(b"direct0123456789", "otp", {}))
    assert [Cancel("no_address")] == [tell.body for tell in world.told[1:]]


def test_nobody_is_asked_for_permission_and_what_is_told_to_nobody_stays_nobody() -> None:
    world = World(HELLO)
    world.give("ann", MaySend(b"x" * 16, 1, "marketing", "news", 0))
    assert [Refuse(1, "cancelled")] == [tell.body for tell in world.told]
    for body in (OutcomeNotice(b"x" * 16, "delivered", 1, 0, final=True), Wake()):
        assert world.give("ann", body).state is None


def test_a_contact_with_too_many_messages_under_way_gets_no_more() -> None:
    world, _ = joined()
    for number in range(1_000):
        world.give("ann", SendDirect(number.to_bytes(16), "otp", {}))
    world.told.clear()
    world.give("ann", SendDirect(b"y" * 16, "otp", {}))
    assert [Cancel("too_many_under_way")] == [tell.body for tell in world.told[1:]]
    world.drain()
    assert [fact["reason"] for fact in world.facts("send_skipped")][-1] == "too_many_under_way"


def test_a_historical_event_is_counted_and_opens_nothing() -> None:
    world = World(HELLO)
    world.give("ann", Event("joined", 0, {}, historical=True))
    assert world.contact("ann").counts == {"joined": 1}
    assert (world.contact("ann").journeys, world.sent) == ((), [])


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
_ids = st.sampled_from([b"a" * 16, b"b" * 16])
_inputs = st.one_of(
    st.builds(
        Event,
        st.sampled_from(["joined", "other"]),
        st.integers(-5, 10**13),
        st.dictionaries(st.text(max_size=2), _json, max_size=2),
        st.booleans(),
    ),
    st.builds(
        ContactPut,
        st.dictionaries(st.sampled_from(["email", "name", "x"]), _json | st.just("a@b.example")),
        st.none() | st.integers(0, 3),
    ),
    st.builds(ConsentGiven, st.just("news"), st.booleans(), st.integers(0, 3)),
    st.builds(Erase),
    st.builds(MarkSuppressed, st.just("bounce"), st.sampled_from(["", "marketing"])),
    st.builds(SendDirect, _ids, st.just("otp"), st.just({})),
    st.builds(
        MaySend, _ids, st.integers(1, 3), st.just("marketing"), st.just("news"), st.integers(0, 9)
    ),
    st.builds(OutcomeNotice, _ids, st.just("delivered"), st.just(1), st.just(1), st.booleans()),
    st.builds(MoveJourneys, st.just("hello"), st.sampled_from(["", "x"])),
    st.just(Wake()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_inputs, st.integers(0, 200_000_000)), max_size=12))
def test_every_state_has_an_answer_to_every_input_and_survives_encoding(
    steps: list[tuple[Any, int]],
) -> None:
    world = World(HELLO)
    codec = msgspec.msgpack.Decoder(Contact)
    inputs = msgspec.msgpack.Decoder(world.machine.input_type)
    for body, later in steps:
        world.now += later
        before = msgspec.msgpack.encode(world.states.get(key := next(iter(world.states), None)))  # type: ignore[arg-type]
        old = world.states.get(key) if key else None
        again = inputs.decode(msgspec.msgpack.encode(body))
        assert body == again
        transition = world.give("ann", body)
        assert old is None or msgspec.msgpack.encode(old) == before, "the old state was changed"
        if transition.state is not None:
            encoded = msgspec.msgpack.encode(transition.state)
            assert msgspec.msgpack.encode(codec.decode(encoded)) == encoded
            due = [journey.due for journey in transition.state.journeys if journey.due]
            assert transition.place == (At(min(due)) if due else None)
