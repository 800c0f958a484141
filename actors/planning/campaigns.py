"""Campaigns on disk, and what becomes of one next. `advance` is pure but for the files that it is given.

    draft ──start──▶ scheduled ──its time──▶ sending ──────────────▶ finishing ──all ended──▶ done
                                               │ sample sent             ▲
                                               ▼                         │ rest sent
                                            testing ──after──▶ sending the rest
    any of these ──cancel, or a stop rule──▶ ending ──all ended──▶ cancelled | stopped

Each step is written before what it entails is begun, and all that it entails is named by the campaign, so that doing it
again after a crash does nothing twice. A pause holds it in any state: fan-out, waits, and mail that isn't begun.
"""

from __future__ import annotations

__all__ = (
    "CampaignFiles",
    "CampaignRecord",
    "CampaignReport",
    "CampaignState",
    "Part",
    "report_of",
)

from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import DamageError, InputError
from engine.store.catalog_files import write_durably
from scenarios.campaign import Campaign

CampaignState = Literal[
    "draft",
    "scheduled",
    "sending",
    "testing",
    "sending_rest",
    "finishing",
    "ending",
    "done",
    "cancelled",
    "stopped",
]
ENDED = ("done", "cancelled", "stopped")


class Moment(msgspec.Struct, frozen=True):
    """Something that happened to a campaign."""

    at: int
    what: str
    actor: str = ""


class CampaignRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign and how it stands. `as_of` is the moment whose members of the segment get it, ms."""

    tenant: str
    campaign: Campaign
    text: str
    state: CampaignState = "draft"
    paused: bool = False
    start_at: int = 0
    as_of: int = 0
    decide_at: int = 0
    winner: str = ""
    why: str = ""  # it was ended
    runs: list[str] = []
    story: list[Moment] = []

    def told(self, at: int, what: str, actor: str = "") -> list[Moment]:
        """Give the story with one moment more."""
        return [*self.story, Moment(at, what, actor)]


class Part(msgspec.Struct, frozen=True):
    """What one step of a campaign (a variant, in the sample or in the rest) came to."""

    sent: int
    delivered: int
    opened: int
    clicked: int


class CampaignReport(msgspec.Struct, frozen=True):
    """What a campaign came to. `adds_up` tells whether three sums hold.

    given = entered + refused + in_hand; entered = sent + unsent + left + waiting; sent = ends + under_way. At the end
    nothing waits, is under way, or in hand.
    """

    name: str
    state: str
    paused: bool
    segment: str
    as_of: int
    started_at: int
    given: int  # contacts whom the fan-out gave it
    entered: int
    refused: dict[str, int]
    in_hand: int  # not counted yet
    sent: int
    unsent: dict[str, int]
    left: dict[str, int]  # ended before they were sent anything, by reason
    waiting: int
    ends: dict[str, int]  # of what was sent, by how it ended
    under_way: int
    opened: int
    clicked: int
    complained: int
    unsubscribed: int
    adds_up: bool
    finished: bool
    winner: str = ""
    why: str = ""
    parts: dict[str, Part] = {}
    story: list[Moment] = []
    outlook: list[
        str
    ] = []  # of the tenant's queues of bulk mail that are slow, or too slow for some of it


def report_of(
    record: CampaignRecord, counts: dict[str, int], given: int, walking: bool
) -> CampaignReport:
    """Make the report from what was counted. While the fan-out walks, contacts in hand aren't counted yet."""
    refused, unsent = _by_reason(counts, "refused:"), _by_reason(counts, "unsent:")
    left, ends = _by_reason(counts, "ended:"), _by_reason(counts, "end:")
    entered, sent = counts.get("entered", 0), counts.get("sent", 0)
    waiting = entered - sent - sum(unsent.values()) - sum(left.values())
    under_way = sent - sum(ends.values())
    in_hand = given - entered - sum(refused.values())
    finished = record.state in ENDED
    return CampaignReport(
        name=record.campaign.name,
        state=record.state,
        paused=record.paused,
        segment=record.campaign.segment,
        as_of=record.as_of,
        started_at=record.start_at,
        given=given,
        entered=entered,
        refused=refused,
        in_hand=in_hand,
        sent=sent,
        unsent=unsent,
        left=left,
        waiting=waiting,
        ends=ends,
        under_way=under_way,
        opened=counts.get("mail.opened", 0),
        clicked=counts.get("mail.clicked", 0),
        complained=counts.get("mail.complained", 0),
        unsubscribed=counts.get("mail.unsubscribed", 0),
        adds_up=min(waiting, under_way) >= 0
        and (walking or in_hand >= 0)
        and not (finished and (waiting or under_way or in_hand)),
        finished=finished,
        winner=record.winner,
        why=record.why,
        parts=_parts(counts),
        story=record.story,
    )


def _by_reason(counts: dict[str, int], prefix: str) -> dict[str, int]:
    found = {key[len(prefix) :]: n for key, n in counts.items() if key.startswith(prefix)}
    return dict(sorted(found.items()))


def _parts(counts: dict[str, int]) -> dict[str, Part]:
    steps = {key.split(":", 2)[1] for key in counts if key.startswith("step:")}
    return {
        step: Part(
            counts.get(f"step:{step}:sent", 0),
            counts.get(f"step:{step}:end:delivered", 0),
            counts.get(f"step:{step}:mail.opened", 0),
            counts.get(f"step:{step}:mail.clicked", 0),
        )
        for step in sorted(steps)
    }


class CampaignFiles:
    """The campaigns of a data directory. One writer."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "campaigns"

    def keep(self, record: CampaignRecord) -> CampaignRecord:
        """Write how a campaign stands; durable on return."""
        path = self._path(record.tenant, record.campaign.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, msgspec.json.encode(record))
        return record

    def find(self, tenant: str, name: str) -> CampaignRecord | None:
        """Read a campaign."""
        path = self._path(tenant, name)
        return _read(path) if path.exists() else None

    def get(self, tenant: str, name: str) -> CampaignRecord:
        """Read a campaign. Raises: InputError: there is none."""
        known = {record.campaign.name: record for record in self.all(tenant)}
        if name not in known:
            mend = f"there are {', '.join(known)}" if known else "`veredus campaign create FILE`"
            raise InputError(f"there is no campaign {name[:80]!r}", mend=mend)
        return known[name]

    def all(self, tenant: str = "") -> list[CampaignRecord]:
        """Read all campaigns of a tenant ("" of all)."""
        if not self._folder.is_dir():
            return []
        found = [_read(path) for path in self._folder.glob("*/*.json")]
        mine = [record for record in found if tenant in {"", record.tenant}]
        return sorted(mine, key=lambda record: (record.tenant, record.campaign.name))

    def _path(self, tenant: str, name: str) -> Path:
        return self._folder / tenant / f"{name}.json"


def _read(path: Path) -> CampaignRecord:
    try:
        return msgspec.json.decode(path.read_bytes(), type=CampaignRecord)
    except msgspec.MsgspecError as error:
        raise DamageError(f"campaign {path}: {error}") from error
