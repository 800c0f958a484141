"""Counts of segments, campaigns and experiments, from the feed of each store: once each, over any crash.

Counts and the place in the feeds up to which they count are one file, replaced as a whole.
"""

from __future__ import annotations

__all__ = ("Counting", "FeedCounts")

from pathlib import Path
from typing import Any, Final

import msgspec

from deliverability.message.records import OutcomeRecord
from engine.errors import DamageError
from engine.feed import FeedEntry
from engine.store.catalog_files import write_durably
from scenarios.runs import CAMPAIGN_PREFIX

_OUTCOME: Final = msgspec.msgpack.Decoder(OutcomeRecord)
_TOLD: Final = msgspec.msgpack.Decoder(dict[str, Any])


class FeedCounts(msgspec.Struct):
    """What was counted, and where to go on in each worker's feed.

    Segments by "tenant NUL segment": contacts in it. Campaigns by "tenant NUL campaign": `entered`, `refused:REASON`,
    `sent`, `unsent:REASON`, `ended:REASON`; ends of mail as `end:STATUS`; `mail.clicked` and its like count contacts.
    By step the same with "step:STEP:" before it. Experiments by "tenant NUL key": contacts as `VARIANT:assigned`, and
    what they did.
    """

    places: list[tuple[int, int]] = []
    segments: dict[str, int] = {}
    campaigns: dict[str, dict[str, int]] = {}
    experiments: dict[str, dict[str, int]] = {}


class Counting:
    """Keeps the counts of an instance."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "feed-counts.json"
        self.counts = self._read()
        self._changed = False

    def take(self, pages: list[list[FeedEntry]]) -> int:
        """Count entries of each worker's feed, behind the place where the last ones ended. Returns how many."""
        counts = self.counts
        counts.places += [(0, 0)] * (len(pages) - len(counts.places))
        number = 0
        for worker, entries in enumerate(pages):
            for entry in entries:
                self._take(entry)
            if entries:
                counts.places[worker] = (entries[-1].position, entries[-1].n)
                number += len(entries)
        self._changed = self._changed or bool(number)
        return number

    def keep(self) -> None:
        """Write what was counted; durable on return."""
        if self._changed:
            write_durably(self._path, msgspec.json.encode(self.counts))
            self._changed = False

    def campaign(self, tenant: str, name: str) -> dict[str, int]:
        """Give what was counted of a campaign."""
        return self.counts.campaigns.get(f"{tenant}\0{name}", {})

    def experiment(self, tenant: str, key: str) -> dict[str, int]:
        """Give what was counted of an experiment."""
        return self.counts.experiments.get(f"{tenant}\0{key}", {})

    def segment(self, tenant: str, name: str) -> int:
        """Tell how many contacts are in a segment."""
        return self.counts.segments.get(f"{tenant}\0{name}", 0)

    def _take(self, entry: FeedEntry) -> None:
        match entry.channel:
            case "segment":
                told = _TOLD.decode(entry.body)
                key = f"{entry.tenant}\0{told['segment']}"
                step = 1 if told["change"] == "entered" else -1
                self.counts.segments[key] = self.counts.segments.get(key, 0) + step
            case "campaign":
                told = _TOLD.decode(entry.body)
                what = f"{told['what']}:{told['reason']}" if told["reason"] else told["what"]
                self._count(entry.tenant, told["campaign"], what, str(told.get("step") or ""))
            case "experiment":
                told = _TOLD.decode(entry.body)
                place = f"{entry.tenant}\0{told['experiment']}"
                of = self.counts.experiments.setdefault(place, {})
                what = f"{told['variant']}:{told['what']}"
                of[what] = of.get(what, 0) + 1
            case "outcome":
                self._end(entry)
            case _:
                pass

    def _end(self, entry: FeedEntry) -> None:
        record = _OUTCOME.decode(entry.body)
        if record.final and record.scenario.startswith(CAMPAIGN_PREFIX):
            what = f"skipped:{record.cause}" if record.kind == "skipped" else record.kind
            name = record.scenario[len(CAMPAIGN_PREFIX) :]
            self._count(entry.tenant, name, f"end:{what}", record.step)

    def _count(self, tenant: str, campaign: str, what: str, step: str) -> None:
        into = self.counts.campaigns.setdefault(f"{tenant}\0{campaign}", {})
        into[what] = into.get(what, 0) + 1
        if step:
            of_step = f"step:{step}:{what}"
            into[of_step] = into.get(of_step, 0) + 1

    def _read(self) -> FeedCounts:
        if not self._path.exists():
            return FeedCounts()
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=FeedCounts)
        except msgspec.MsgspecError as error:
            raise DamageError(f"{self._path}: {error}") from error
