"""Hours of the day: trusted after two days, and only where they differ much."""

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.daytime import DayMemory

HOUR = 3_600_000


def remembered(days: int) -> DayMemory:
    memory = DayMemory()
    for hour in range(24 * days):
        memory.note(hour * HOUR, 100.0 if hour % 24 < 8 else 250.0 if hour % 24 < 20 else 240.0)
    return memory


def test_one_day_is_not_trusted_and_two_are() -> None:
    assert remembered(1).factor(8 * HOUR) == 1.0
    assert remembered(2).factor(8 * HOUR) == 2.5
    assert remembered(2).factor(24 * HOUR) == 100 / 240


def test_small_differences_are_left_alone() -> None:
    assert remembered(3).factor(20 * HOUR) == 1.0
    assert remembered(3).factor(3 * HOUR) == 1.0


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0.5, 5_000)), max_size=100))
def test_a_factor_is_never_zero(notes: list[tuple[int, float]]) -> None:
    memory = DayMemory()
    for hour, per_hour in sorted(notes):
        memory.note(hour * HOUR, per_hour)
    assert all(memory.factor(hour * HOUR) > 0 for hour in range(24))
