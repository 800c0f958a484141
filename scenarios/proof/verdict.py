"""Compare what a case expects with what happened: every line that is missing, and every one too many."""

from __future__ import annotations

__all__ = ("Difference", "Verdict", "judge")

from typing import Any, Literal

import msgspec

from scenarios.proof.case import Case, Expected
from scenarios.proof.rehearsal import Happened, Rehearsed

Sign = Literal[" ", "-", "+"]
_SCORE_TOLERANCE = 0.005


class Difference(msgspec.Struct, frozen=True):
    """A line of the compared timelines: agreed (" "), expected and missing ("-"), or not expected ("+").

    `at` in ms; None: whenever.
    """

    sign: Sign
    at: int | None
    text: str


class Verdict(msgspec.Struct, frozen=True):
    """What became of a case: the timelines side by side, and what differs at the end."""

    case: Case
    timeline: tuple[Difference, ...]
    remarks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.remarks and all(line.sign == " " for line in self.timeline)


def judge(case: Case, rehearsed: Rehearsed) -> Verdict:
    """Compare a case with its rehearsal."""
    missing = _by_certainty(case.then.timeline)
    left = list(enumerate(rehearsed.timeline))
    lines: list[tuple[int, int, Difference]] = []
    for expected in missing:
        found = next((one for one in left if _fits(expected, one[1])), None)
        if found is None:
            when = expected.at if expected.at is not None else case.given.at
            lines.append((when, -1, Difference("-", expected.at, _told(expected))))
        else:
            left.remove(found)
            at, one = found
            lines.append((one.at, at, Difference(" ", one.at, _told(one))))
    for at, one in left:
        looked_at = one.what != "ended" or case.then.ends
        lines.append((one.at, at, Difference("+" if looked_at else " ", one.at, _told(one))))
    lines.sort(key=lambda line: line[:2])
    return Verdict(case, tuple(line[2] for line in lines), tuple(_remarks(case, rehearsed)))


def _by_certainty(timeline: tuple[Expected, ...]) -> list[Expected]:
    """Put lines with the most said first, so that a vaguer one doesn't take their place."""
    return sorted(timeline, key=lambda one: (one.at is None, not one.detail))


def _fits(expected: Expected, happened: Happened) -> bool:
    if expected.what != happened.what or expected.name != happened.name:
        return False
    if expected.at is not None and expected.at != happened.at:
        return False
    return expected.what in {"notify", "ended"} or expected.detail in {"", happened.detail}


def _told(line: Expected | Happened) -> str:
    match line.what:
        case "send":
            named = f" ({line.detail})" if line.detail and line.detail != line.name else ""
            return f"send {line.name}{named}"
        case "not_sent":
            return f"not sent: {line.name}, {line.detail}"
        case "notify":
            return f"notify {line.name}"
        case "call" | "coupon":
            return f"{line.what} {line.name}{f' ({line.detail})' if line.detail else ''}"
        case "ended":
            return f"ended: {line.name}"


def _remarks(case: Case, rehearsed: Rehearsed) -> list[str]:
    then, contact = case.then, rehearsed.contact
    remarks = [f"the {one}" for one in rehearsed.unused]
    if then.opened is not None and then.opened != rehearsed.opened:
        remarks.append(f"expected {then.opened} journeys to open, got {rehearsed.opened}")
    if then.standing is not None:
        stands = sorted(journey.step for journey in contact.journeys)
        remarks += _differs("journeys standing at", sorted(then.standing), stands)
    if then.tags is not None:
        remarks += _differs("tags", sorted(then.tags), sorted(contact.tags))
    for name, value in then.attributes.items():
        remarks += _differs(f"contact.{name}", value, contact.attributes.get(name))
    for name, score in then.scores.items():
        points = contact.scores.get(name)
        got = points.at(rehearsed.now) if points else 0.0
        if abs(got - score) > _SCORE_TOLERANCE:
            remarks.append(f"score {name}: expected {score:g}, got {got:.2f}")
    return remarks


def _differs(name: str, expected: Any, got: Any) -> list[str]:
    same = expected == got and isinstance(expected, bool) == isinstance(got, bool)
    return [] if same else [f"{name}: expected {expected!r}, got {got!r}"]
