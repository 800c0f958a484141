"""What is counted of lives. Counts are whole numbers and add up, so the order of lives changes nothing."""

from __future__ import annotations

__all__ = ("DAY_MS", "HOUR_MS", "MINUTE_MS", "Story", "Tally")

from typing import Final

import msgspec

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


class Story(msgspec.Struct, array_like=True):
    """A way through the scenario: how many contacts took it, and the first of them by number."""

    contacts: int
    first: int


class Tally(msgspec.Struct):
    """Counts of many lives.

    Keys with parts have them joined by a tab: `branches` step and branch, `refused` step and reason, `mail` step and
    what became of it, `load` provider and hour (since 1970), `demand` provider, minute and the wall time that was meant
    ("" for none), `late` provider, that wall time and minutes from due to
    hand-over, `variants` step, variant and `assigned` or
    `converted`.
    """

    contacts: int = 0
    entered: int = 0
    mailed: int = 0
    opened: int = 0
    inputs: int = 0
    last_ms: int = 0
    events: dict[str, int] = {}
    reached: dict[str, int] = {}
    branches: dict[str, int] = {}
    ended: dict[str, int] = {}
    standing: dict[str, int] = {}
    mail: dict[str, int] = {}
    refused: dict[str, int] = {}
    cap_days: dict[int, int] = {}
    per_contact: dict[int, int] = {}
    per_day: dict[int, int] = {}
    days: dict[int, int] = {}
    load: dict[str, int] = {}
    demand: dict[str, int] = {}
    late: dict[str, int] = {}
    deferrals: dict[str, int] = {}
    variants: dict[str, int] = {}
    stories: dict[str, Story] = {}

    def add(self, other: Tally) -> None:
        """Take in the counts of other lives."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_ms = max(self.last_ms, other.last_ms)
        for name in _COUNTS:
            mine = getattr(self, name)
            for key, number in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + number
        for told, story in other.stories.items():
            mine_too = self.stories.get(told)
            if mine_too is None:
                self.stories[told] = Story(story.contacts, story.first)
            else:
                mine_too.contacts += story.contacts
                mine_too.first = min(mine_too.first, story.first)


_NUMBERS: Final = ("contacts", "entered", "mailed", "opened", "inputs")
_COUNTS: Final = tuple(
    field.name
    for field in msgspec.structs.fields(Tally)
    if field.name not in {*_NUMBERS, "last_ms", "stories"}
)
