"""Carries out what is planned, beside a running instance: runs, schedules, campaigns, and the counts of the feeds.

All that it must know after a crash is in files of the data directory; what it does twice then changes nothing, since
runs name their inputs. It stands in nobody's way: workers go on without it.
"""

from __future__ import annotations

__all__ = ("Instance", "Keeper")

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from actors.backend import Arrival, ItemResult
from actors.planning.aims import Aim
from actors.planning.campaign_desk import CampaignDesk
from actors.planning.campaigns import CampaignRecord
from actors.planning.counting import Counting
from actors.planning.experiments import ExperimentDesk
from actors.planning.records import (
    Decision,
    DecisionAnswer,
    DecisionQuestion,
    StoryAnswer,
    StoryQuestion,
)
from actors.planning.recount import Done, Job, recounted, snapshot_stores
from actors.planning.runs import Run, run_id
from actors.planning.schedules import Schedules
from actors.planning.versions import VersionDesk
from actors.planning.walking import Places, WalkAnswer, WalkQuestion
from actors.preflighting import Preflight
from engine.errors import VeredusError
from engine.feed import FeedEntry
from scenarios.checking import load
from scenarios.compiling import compile_scenario
from scenarios.history import HistoryDiff, compare, joined
from scenarios.runs import EnterJourney

log = structlog.get_logger()

LOOK_S: Final = 0.25
KEEP_S: Final = 0.5  # how often a walk writes how far it came
RETRY_S: Final = 1.0
FEED_LIMIT: Final = 2000
INPUTS_MAX: Final = 500
DECISIONS_MS: Final = 366 * 86_400_000
DECISIONS_MAX: Final = 2000
HISTORY_MS: Final = 30 * 86_400_000
HISTORY_CONTACTS: Final = 1000
_PARTITIONS_MAX: Final = 64  # asked about in one question


class Instance(Protocol):
    """What the keeper asks of the engine."""

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions; idempotent by input id."""

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        """Let the worker that owns the question's partitions look at some contacts."""

    async def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        """Tell what was decided about an entity."""

    async def stories(self, question: StoryQuestion) -> StoryAnswer:
        """Give some contacts of a partition with their events."""

    def by_owner(self, partitions: list[int]) -> list[list[int]]:
        """Group partitions by the worker that owns them."""

    async def feed(self, places: list[tuple[int, int]], limit: int) -> list[list[FeedEntry]]:
        """Read each worker's feed behind a place in it."""

    async def use_catalog(self, version: int) -> bool:
        """Bring a version of the catalog to all workers; whether each of them uses it now."""


class _Walk:
    """A run under way: what it counted since it was last written."""

    def __init__(self, run: Run, partitions: int) -> None:
        places = run.places if run.places is not None else [(p, "") for p in range(partitions)]
        self.places: dict[int, bytes] = {p: bytes.fromhex(key) for p, key in places}
        self.run = run
        self.looked, self.given = run.looked, run.given
        self.counts = dict(run.counts)
        self.written = 0.0
        self.stopped = False

    def take(self, asked: Places, answer: WalkAnswer) -> None:
        remaining = dict(answer.places)
        for partition, _ in asked:
            if partition in remaining:
                self.places[partition] = remaining[partition]
            else:
                del self.places[partition]
        self.looked += answer.looked
        self.given += answer.given
        for label, number in answer.counts.items():
            self.counts[label] = self.counts.get(label, 0) + number

    def stand(self) -> Run:
        return msgspec.structs.replace(
            self.run,
            places=sorted((p, key.hex()) for p, key in self.places.items()),
            looked=self.looked,
            given=self.given,
            counts=self.counts,
        )


class Keeper:
    """Drives what is planned for one instance.

    Args:
        data_dir: where plans are kept.
        instance: the engine.
        partitions: how many there are.
        clock: wall time in ms.
    """

    def __init__(
        self, data_dir: Path, instance: Instance, partitions: int, clock: Callable[[], int]
    ) -> None:
        self._data_dir = data_dir
        self._instance = instance
        self._partitions = partitions
        self._clock = clock
        self.versions = VersionDesk(data_dir)
        self.counting = Counting(data_dir)
        self.campaigns = CampaignDesk(data_dir, self.versions, self.counting)
        self.experiments = ExperimentDesk(data_dir, self.versions, self.counting)
        self.preflight: Preflight | None = None
        """Examines a campaign before it starts, a scenario when it is published; None: nothing is demanded."""
        self._schedules = Schedules(data_dir, self.versions)
        self._brought = -1  # version of the catalog that all workers use
        self._walking: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Go on until cancelled. What fails is tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            while True:
                try:
                    await self.look(group)
                except VeredusError as error:
                    log.warning("planning_failed", error=str(error))
                    await asyncio.sleep(RETRY_S)
                await asyncio.sleep(LOOK_S)

    async def look(self, group: asyncio.TaskGroup) -> None:
        """Begin what is due: schedules, campaigns, runs."""
        now = self._clock()
        self._schedules.look(now)
        await self.campaigns.look(now, self._seed)
        self.experiments.look(now)
        newest = self.versions.head().version
        if newest != self._brought and await self._instance.use_catalog(newest):
            self._brought = newest
        self._walking = {name: task for name, task in self._walking.items() if not task.done()}
        for run in self.versions.runs.living():
            if run.state == "running" and run.not_before <= now and run.id not in self._walking:
                task = group.create_task(self._walk_on(run))
                self._walking[run.id] = task

    async def ask(self, tenant: str, aim: Aim) -> dict[str, int]:
        """Walk once over all contacts of a tenant, changing nothing; give what was counted."""
        identity = run_id("ask", tenant, repr(aim), str(self._clock()))
        walk = _Walk(Run(id=identity, tenant=tenant, aim=aim, subject="question"), self._partitions)
        await self._walk_groups(walk, keep=False)
        return walk.counts

    async def decisions(self, key: bytes, since: int, related: bytes) -> list[Decision]:
        """Tell what was decided about an entity since a time; `related`: about a journey alone."""
        since = max(since, self._clock() - DECISIONS_MS, 0)
        found: list[Decision] = []
        after = b""
        while len(found) < DECISIONS_MAX:
            question = DecisionQuestion(key, since, after, related)
            answer = await self._instance.decisions(question)
            found += answer.decisions
            after = answer.next
            if not after:
                break
        return found

    async def recount(self, tenant: str) -> Done:
        """Count all segments anew, in a process of its own over snapshots of the stores.

        Raises: RefusedError: these stores have no snapshots; StoreError: it failed.
        """
        stores = snapshot_stores(self._data_dir, self._partitions)
        segments = self.versions.segments(tenant)
        return await recounted(Job(stores, tenant, segments, self._clock()))

    async def compare(self, tenant: str, before: str, after: str) -> HistoryDiff:
        """Tell how two versions (their texts) differ over the events of the last days, of a sample of contacts."""
        old, new = compile_scenario(load(before)), compile_scenario(load(after))
        settings = self.versions.contact_settings(tenant)
        now = self._clock()
        since = max(now - HISTORY_MS, 0)
        total = HistoryDiff()
        for partition in range(self._partitions):
            question = StoryQuestion(tenant, partition, since)
            for story in (await self._instance.stories(question)).stories:
                total = joined(total, compare(old, new, [story], now, settings))
                await asyncio.sleep(0)
            if total.contacts >= HISTORY_CONTACTS:
                break
        return total

    # ---- runs

    async def _walk_on(self, run: Run) -> None:
        """Walk to the end, or until the run is paused or cancelled."""
        walk = _Walk(run, self._partitions)
        try:
            await self._catalog_everywhere(run.catalog)
            await self._walk_groups(walk, keep=True)
        except VeredusError as error:
            log.warning("run_interrupted", run=run.id, error=str(error))
            await asyncio.sleep(RETRY_S)  # it is begun again from what was written
            return
        if self._keep(walk) and not walk.places:
            done = msgspec.structs.replace(walk.stand(), state="done", finished_at=self._clock())
            self.versions.runs.keep(done)
            log.info("run_done", run=run.id, subject=run.subject, given=walk.given)

    async def _catalog_everywhere(self, version: int) -> None:
        """Wait until all workers use a version of the catalog."""
        while True:
            if await self._instance.use_catalog(version):
                return
            await asyncio.sleep(RETRY_S)

    async def _walk_groups(self, walk: _Walk, *, keep: bool) -> None:
        groups = self._instance.by_owner(sorted(walk.places))
        async with asyncio.TaskGroup() as group:
            for partitions in groups:
                group.create_task(self._walk_group(walk, partitions, len(groups), keep=keep))

    async def _walk_group(
        self, walk: _Walk, partitions: list[int], groups: int, *, keep: bool
    ) -> None:
        """Walk over the partitions of one worker."""
        loop = asyncio.get_running_loop()
        rate = walk.run.rate_per_s / groups
        inputs = min(INPUTS_MAX, max(int(rate * LOOK_S), 1)) if rate else INPUTS_MAX
        while not walk.stopped:
            asked = [(p, walk.places[p]) for p in partitions if p in walk.places][:_PARTITIONS_MAX]
            if not asked or (keep and not self._goes_on(walk)):
                return
            began = loop.time()
            question = WalkQuestion(
                walk.run.aim, walk.run.id, walk.run.tenant, asked, inputs=inputs
            )
            answer = await self._instance.walk(question)
            if answer.retry_after_s:
                await asyncio.sleep(answer.retry_after_s)
                continue
            walk.take(asked, answer)
            if keep and loop.time() > walk.written + KEEP_S:
                walk.written = loop.time()
                self._keep(walk)
            pause = answer.given / rate - (loop.time() - began) if rate else 0.0
            await asyncio.sleep(max(pause, 0.0))

    def _goes_on(self, walk: _Walk) -> bool:
        """Look before each question whether somebody has paused or ended the run."""
        known = self.versions.runs.find(walk.run.id)
        if known is not None and known.state != "running":
            self._keep(walk)
        return not walk.stopped

    def _keep(self, walk: _Walk) -> bool:
        """Write how far a walk came, unless somebody has paused or ended it. Returns whether it goes on."""
        known = self.versions.runs.find(walk.run.id)
        if known is not None and known.state != "running":
            walk.stopped = True
            stood = msgspec.structs.replace(
                walk.stand(), state=known.state, finished_at=known.finished_at
            )
            self.versions.runs.keep(stood)
            return False
        self.versions.runs.keep(walk.stand())
        return True

    # ---- campaigns

    async def _seed(self, record: CampaignRecord) -> None:
        """Give a campaign to its seeds, each once."""
        campaign = record.campaign
        body = EnterJourney(campaign.scenario, "campaign", {}, "seed")
        now = self._clock()
        arrivals = [
            Arrival(record.tenant, contact, f"seed\x1f{campaign.name}", now, body)
            for contact in campaign.seeds
        ]
        if arrivals:
            await self._catalog_everywhere(self.versions.head().version)
            await self._instance.admit(arrivals)

    # ---- counts

    async def _count(self) -> None:
        """Follow the feeds."""
        while True:
            try:
                pages = await self._instance.feed(self.counting.counts.places, FEED_LIMIT)
                number = self.counting.take(pages)
                self.counting.keep()
            except VeredusError as error:
                log.warning("counting_failed", error=str(error))
                number = 0
            await asyncio.sleep(0 if number >= FEED_LIMIT else LOOK_S)
