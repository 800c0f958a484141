"""Planning as the edge sees it: what is asked of a running instance about versions, segments, runs and campaigns."""

from __future__ import annotations

__all__ = (
    "CampaignLine",
    "CampaignList",
    "Decisions",
    "JourneyCount",
    "Journeys",
    "Members",
    "MoveLine",
    "Preview",
    "RunList",
    "ScenarioView",
    "SegmentView",
    "Segments",
    "Tested",
    "Versions",
    "lines_of_move",
)

import msgspec

from actors.planning.records import Decision
from actors.planning.runs import Run
from actors.planning.versions import VersionView
from actors.preflighting import PreflightLine
from scenarios.difference import Change
from scenarios.history import HistoryDiff


class Versions(msgspec.Struct, frozen=True):
    """Versions of scenarios, and which scenarios stand still."""

    versions: list[VersionView]
    paused: list[str] = []


class ScenarioView(msgspec.Struct, frozen=True):
    """A published scenario's text."""

    name: str
    version: str
    text: str


class MoveLine(msgspec.Struct, frozen=True):
    """So many journeys that stand at a step would stand at another ("": they end), and be due then."""

    step: str
    to: str
    due: str
    journeys: int


class Preview(msgspec.Struct, frozen=True):
    """What publishing or moving would do: what changed in meaning, whom it moves, what history and preflight say."""

    name: str
    before: str
    after: str
    places: dict[str, str] = {}
    changes: list[Change] = []
    moves: list[MoveLine] = []
    history: HistoryDiff | None = None
    preflight: list[PreflightLine] = []
    unexamined: str = ""


class JourneyCount(msgspec.Struct, frozen=True):
    """So many journeys of a version stand at a step."""

    version: str
    step: str
    journeys: int


class Journeys(msgspec.Struct, frozen=True):
    """Where the journeys of a scenario stand."""

    name: str
    steps: list[JourneyCount]


class RunList(msgspec.Struct, frozen=True):
    """Runs, oldest first."""

    runs: list[Run]


class SegmentView(msgspec.Struct, frozen=True):
    """A segment, and how many contacts are in it, as counted from the feed."""

    name: str
    version: str
    when: str
    description: str
    contacts: int


class Segments(msgspec.Struct, frozen=True):
    """The segments of a tenant."""

    segments: list[SegmentView]


class Members(msgspec.Struct, frozen=True):
    """For how many contacts a condition holds, of how many."""

    inside: int
    contacts: int


class Decisions(msgspec.Struct, frozen=True):
    """What was decided about a contact, oldest first."""

    contact: str
    decisions: list[Decision]


class CampaignLine(msgspec.Struct, frozen=True):
    """A campaign in a list."""

    name: str
    state: str
    paused: bool
    segment: str
    start_at: int


class CampaignList(msgspec.Struct, frozen=True):
    """Campaigns by name."""

    campaigns: list[CampaignLine]


class Tested(msgspec.Struct, frozen=True):
    """What became of a test send: message ids by recipient and variant."""

    messages: dict[str, str]
    refused: dict[str, str] = {}


def lines_of_move(counts: dict[str, int]) -> list[MoveLine]:
    """Read what a rehearsal counted."""
    found = []
    for label, number in sorted(counts.items()):
        step, to, due = label.split("\0")
        found.append(MoveLine(step, to, due, number))
    return found
