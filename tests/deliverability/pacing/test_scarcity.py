"""A scarce quota: the chosen messages meet their deadlines and are worth the most."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.pacing.scarcity import Candidate, plan_quota

HOUR = 3_600_000


def fits(chosen: tuple[Candidate, ...]) -> bool:
    """One message an hour: the nth by deadline goes after n hours."""
    due = sorted(each.deadline_ms or 1 << 62 for each in chosen)
    return all((n + 1) * HOUR <= deadline for n, deadline in enumerate(due))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=7))
def test_no_other_choice_is_worth_more(drawn: list[tuple[int, int]]) -> None:
    candidates = [Candidate(str(n), value, hours * HOUR) for n, (value, hours) in enumerate(drawn)]
    plan = plan_quota(candidates, per_hour=1, now_ms=0)
    assert sorted([*plan.go, *plan.misses]) == sorted(each.id for each in candidates)
    chosen = tuple(each for each in candidates if each.id in plan.go)
    assert fits(chosen)
    best = max(
        sum(each.value for each in some)
        for size in range(len(candidates) + 1)
        for some in combinations(candidates, size)
        if fits(some)
    )
    assert sum(each.value for each in chosen) == best


def test_what_cannot_fit_is_known_at_once() -> None:
    candidates = [
        Candidate("cheap", 1, 2 * HOUR),
        Candidate("dear", 9, 2 * HOUR),
        Candidate("any", 0),
    ]
    plan = plan_quota(candidates, per_hour=1, now_ms=0, blocked_ms=HOUR)
    assert plan.misses == ("cheap",)
    assert plan.go == ("dear", "any")
