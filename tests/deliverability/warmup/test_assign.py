"""Assignment: nobody is lost or written to twice, no room is passed, and the eager ones go to the new source."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.warmup.assign import Recipient, Room, assign_recipients

_ROOMS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=5).map(
    lambda drawn: [Room(f"s{n}", left, warm) for n, (left, warm) in enumerate(drawn)]
)
_RECIPIENTS = st.lists(st.integers(0, 9), max_size=60).map(
    lambda drawn: [Recipient(f"r{n}", engagement) for n, engagement in enumerate(drawn)]
)


@given(_RECIPIENTS, _ROOMS)
def test_everyone_once_and_no_room_passed(recipients: list[Recipient], rooms: list[Room]) -> None:
    assignment = assign_recipients(recipients, rooms)
    assigned = [each for ids in assignment.by_source.values() for each in ids]
    assert sorted([*assigned, *assignment.waiting]) == sorted(each.id for each in recipients)
    for room in rooms:
        assert len(assignment.by_source.get(room.source, ())) <= room.left
    assert len(assigned) == min(len(recipients), sum(room.left for room in rooms))


def test_the_most_engaged_go_to_the_new_source_and_the_rest_to_warm_ones() -> None:
    recipients = [
        Recipient("cold", 0),
        Recipient("keen", 9),
        Recipient("fair", 5),
        Recipient("last", 0),
    ]
    rooms = [Room("warm", 2, is_warm=True), Room("new", 1, is_warm=False)]
    assignment = assign_recipients(recipients, rooms)
    assert assignment.by_source == {"new": ("keen",), "warm": ("fair", "cold")}
    assert assignment.waiting == ("last",)
