"""Ids: the same things give the same id, different things different ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.ids import ID_BYTES, derive, journey_id, message_id, row_input_id

PARTS = st.lists(st.one_of(st.text(max_size=8), st.binary(max_size=8)), max_size=4)
PLACE = b"abcd and more"


@given(PARTS, PARTS)
def test_lists_of_parts_hash_alike_only_when_equal(one: list[str], other: list[str]) -> None:
    """Lengths are hashed too, so that parts can't run into each other."""
    as_bytes = [[p.encode() if isinstance(p, str) else p for p in parts] for parts in (one, other)]
    assert (derive(PLACE, *one) == derive(PLACE, *other)) == (as_bytes[0] == as_bytes[1])


def test_an_id_carries_the_place_of_its_contact() -> None:
    """Four bytes, through every derivation."""
    journey = journey_id(PLACE, "s", "i", b"input")
    message = message_id(journey, "step", 2, "item")
    assert journey[:4] == message[:4] == PLACE[:4]
    assert len(journey) == len(message) == ID_BYTES


def test_every_part_of_a_journey_and_a_message_counts() -> None:
    """Doing another thing gives another id; doing it again gives the same."""
    journeys = {
        journey_id(PLACE, *parts)
        for parts in (("s", "i", b"x"), ("s2", "i", b"x"), ("s", "i2", b"x"), ("s", "i", b"y"))
    }
    assert len(journeys) == 4
    journey = journey_id(PLACE, "s", "i", b"x")
    messages = {
        message_id(journey, *parts)
        for parts in (("a", 1, ""), ("b", 1, ""), ("a", 2, ""), ("a", 1, "z"), ("a", 1, ""))
    }
    assert len(messages) == 4


def test_two_equal_rows_of_a_file_are_two_events() -> None:
    """The row's number is in its id; the same file read again gives the same ids."""
    assert row_input_id(b"digest", 1) != row_input_id(b"digest", 2)
    assert row_input_id(b"digest", 1) == row_input_id(b"digest", 1)
    assert row_input_id(b"digest", 1) != row_input_id(b"other", 1)


@given(st.binary(min_size=4, max_size=40), st.text(max_size=9), st.text(max_size=9), st.binary())
def test_a_journeys_id_is_derived_from_its_parts(
    contact: bytes, scenario: str, instance: str, opened_by: bytes
) -> None:
    """The written-out form is the general one."""
    expected = derive(contact, b"journey", contact, scenario, instance, opened_by)
    assert journey_id(contact, scenario, instance, opened_by) == expected
