"""Schedules of scenarios: when each fires next, and the run that it makes then.

When a schedule has fired last is a file. One that fell due while the instance was down is made up for if it is no more
than an hour late, the newest of several alone; what is older is left out, and logged.
"""

from __future__ import annotations

__all__ = ("LATE_MAX_MS", "Schedules")

from pathlib import Path
from typing import Final

import msgspec
import structlog

from actors.planning.aims import Enter
from actors.planning.runs import Run, run_id
from actors.planning.versions import VersionDesk
from engine.errors import DamageError
from engine.store.catalog_files import write_durably
from scenarios.checking import load
from scenarios.cron import Cron, next_fire, parse_cron
from scenarios.model import Entry
from scenarios.zones import UTC, zone_of

log = structlog.get_logger()

LATE_MAX_MS: Final = 3_600_000


class _Schedule(msgspec.Struct, frozen=True):
    tenant: str
    scenario: str
    number: int
    entry: Entry
    cron: Cron
    zone: str

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.scenario}/{self.number}/{self.entry.schedule}/{self.zone}"


class Schedules:
    """The schedules of an instance."""

    def __init__(self, data_dir: Path, versions: VersionDesk) -> None:
        self._path = data_dir / "schedules.json"
        self._versions = versions
        self._catalog = -1
        self._schedules: list[_Schedule] = []
        self._looked: dict[str, int] = self._read()  # up to when each schedule was looked at, ms

    def look(self, now: int) -> None:
        """Make the runs of what is due by now."""
        head = self._versions.head()
        if head.version != self._catalog:
            self._schedules = self._find()
            self._catalog = head.version
        before = dict(self._looked)
        for schedule in self._schedules:
            self._fire(schedule, now, head.version)
        if self._looked != before:
            write_durably(self._path, msgspec.json.encode(self._looked))

    def _fire(self, schedule: _Schedule, now: int, catalog: int) -> None:
        zone = zone_of(schedule.zone) or UTC
        since = self._looked.get(schedule.key)
        if since is None:  # new: it fires from now on
            self._looked[schedule.key] = now
            return
        newest = None
        since = max(since, now - 2 * LATE_MAX_MS)
        while (fires := next_fire(schedule.cron, since, zone)) is not None and fires <= now:
            newest = since = fires
        if newest is None:
            return
        self._looked[schedule.key] = newest
        if now - newest > LATE_MAX_MS:
            log.warning("schedule_left_out", scenario=schedule.scenario, due=newest)
            return
        entry = schedule.entry
        aim = Enter(schedule.scenario, "schedule", {"at": newest}, entry.segment, newest)
        self._versions.runs.add(
            Run(
                id=run_id("schedule", schedule.key, str(newest)),
                tenant=schedule.tenant,
                aim=aim,
                subject=f"schedule of {schedule.scenario}",
                created_at=now,
                catalog=catalog,
            )
        )

    def _find(self) -> list[_Schedule]:
        """List the schedules of all current scenarios."""
        found = []
        files = self._versions
        head = files.head()
        for item in head.items:
            if item.section != "scenario":
                continue
            scenario = load(files.text(item.tenant, item.name) or "", item.name)
            for number, entry in enumerate(scenario.entries):
                if entry.schedule:
                    zone = entry.zone or files.contact_settings(item.tenant).zone
                    cron = parse_cron(entry.schedule)
                    found.append(_Schedule(item.tenant, item.name, number, entry, cron, zone))
        return found

    def _read(self) -> dict[str, int]:
        if not self._path.exists():
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except msgspec.MsgspecError as error:
            raise DamageError(f"{self._path}: {error}") from error
