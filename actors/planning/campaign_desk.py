"""What is done with campaigns: by command, and by the passing of time."""

from __future__ import annotations

__all__ = ("CampaignDesk",)

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from actors.planning.aims import Aim, Enter, Release, Stop
from actors.planning.campaigns import (
    ENDED,
    CampaignFiles,
    CampaignRecord,
    CampaignReport,
    report_of,
)
from actors.planning.counting import Counting
from actors.planning.runs import Run, run_id
from actors.planning.versions import Author, VersionDesk
from engine.errors import InputError, RefusedError
from scenarios.campaign import Campaign, load_campaign, start_of
from scenarios.settings import Pause

SHARE = 10_000
PATIENCE_MS = 600_000
"""After so long a campaign ends though inputs of it are missing: they lie in quarantine."""

Seed = Callable[[CampaignRecord], Awaitable[None]]


class CampaignDesk:
    """Creates, starts, pauses and ends campaigns, and lets them go on as time passes.

    Args:
        data_dir: where they are kept.
        versions: publishes what they are run by, and keeps their runs.
        counting: what has been counted of them.
    """

    def __init__(self, data_dir: Path, versions: VersionDesk, counting: Counting) -> None:
        self._files = CampaignFiles(data_dir)
        self._versions = versions
        self._runs = versions.runs
        self._counting = counting

    # ---- by command

    def create(self, tenant: str, text: str, file: str, author: Author) -> CampaignRecord:
        """Create a campaign, or replace one that wasn't started.

        Raises: InputError: the file has mistakes, or names what isn't published; RefusedError: it was started already.
        """
        campaign = load_campaign(text, file)
        known = self._files.find(tenant, campaign.name)
        if known is not None and known.state != "draft":
            raise RefusedError(
                f"campaign {campaign.name} was started; it can't be changed any more",
                mend="create one of another name",
            )
        self._check(tenant, campaign)
        self._versions.note(tenant, f"campaign {tenant}/{campaign.name}", "create", author, text)
        record = CampaignRecord(tenant=tenant, campaign=campaign, text=text)
        told = record.told(author.now, "created", author.actor)
        return self._files.keep(msgspec.structs.replace(record, story=told))

    def _check(self, tenant: str, campaign: Campaign) -> None:
        items = [one for one in self._versions.head().items if one.tenant == tenant]
        segments = [one.name for one in items if one.section == "segment"]
        if campaign.segment and campaign.segment not in segments:
            known = ", ".join(segments) or "none"
            raise InputError(f"there is no segment {campaign.segment!r}", mend=f"there are {known}")
        templates = {one.name for one in items if one.section == "template"}
        for name in campaign.templates().values():
            if name not in templates:
                known = ", ".join(sorted(templates)) or "none"
                raise InputError(f"there is no template {name!r}", mend=f"there are {known}")

    def start(self, tenant: str, name: str, author: Author) -> CampaignRecord:
        """Start a campaign: now, or at its time. Raises: RefusedError: it was started already."""
        record = self._files.get(tenant, name)
        if record.state != "draft":
            raise RefusedError(f"campaign {name} is {record.state}")
        self._check(tenant, record.campaign)
        subject = f"campaign {tenant}/{name}"
        content = msgspec.json.encode(record.campaign)
        entry = [("campaign", record.campaign.scenario, content)]
        self._versions.put(tenant, entry, subject, "start", author)
        at = start_of(record.campaign, author.now)
        return self._turn(record, author, "started", state="scheduled", start_at=at)

    def pause(self, tenant: str, name: str, author: Author) -> CampaignRecord:
        """Hold a campaign: its fan-out, its waits, its mail that isn't begun."""
        record = self._running(tenant, name)
        if record.paused:
            raise RefusedError(f"campaign {name} is paused already")
        self._hold(record, Pause(author.now), "pause", author)
        for run in self._runs_of(record):
            if run.state == "running":
                self._runs.keep(msgspec.structs.replace(run, state="paused"))
        return self._turn(record, author, "paused", paused=True)

    def resume(self, tenant: str, name: str, author: Author) -> CampaignRecord:
        """Let a campaign go on."""
        record = self._running(tenant, name)
        if not record.paused:
            raise RefusedError(f"campaign {name} isn't paused")
        self._hold(record, Pause(0), "resume", author)
        for run in self._runs_of(record):
            if run.state == "paused":
                self._runs.keep(msgspec.structs.replace(run, state="running"))
        release = Release(record.campaign.scenario)
        record = self._run(record, release, f"resume {author.now}", author.now)
        return self._turn(record, author, "resumed", paused=False)

    def cancel(self, tenant: str, name: str, author: Author) -> CampaignRecord:
        """End a campaign: what isn't begun is cancelled."""
        record = self._files.get(tenant, name)
        if record.state in ENDED or record.state == "ending":
            raise RefusedError(f"campaign {name} is {record.state}")
        self._versions.note(tenant, f"campaign {tenant}/{name}", "cancel", author)
        return self._end(
            record, "cancelled", author.reason or "by command", author.now, author.actor
        )

    def get(self, tenant: str, name: str) -> CampaignRecord:
        """Show a campaign. Raises: InputError: there is none."""
        return self._files.get(tenant, name)

    def all(self, tenant: str) -> list[CampaignRecord]:
        """List a tenant's campaigns."""
        return self._files.all(tenant)

    def report(self, tenant: str, name: str) -> CampaignReport:
        """Tell what a campaign came to, so far or in the end."""
        record = self._files.get(tenant, name)
        runs = [run for run in self._runs_of(record) if isinstance(run.aim, Enter)]
        walking = any(run.state in {"running", "paused"} for run in runs)
        given = sum(run.given for run in runs)
        if record.as_of:
            given += len(record.campaign.seeds)
        return report_of(record, self._counting.campaign(tenant, name), given, walking)

    # ---- by time

    async def look(self, now: int, seed: Seed) -> None:
        """Let all campaigns go on. `seed` gives a campaign to its seeds; doing it again is harmless."""
        for record in self._files.all():
            if record.state not in ENDED and record.state != "draft":
                await self._advance(record, now, seed)

    async def _advance(self, record: CampaignRecord, now: int, seed: Seed) -> None:
        if record.state == "ending":
            self._finish(record, now, "stopped" if record.why.startswith("rule: ") else "cancelled")
            return
        why = self._against(record)
        if why:
            self._end(record, "stopped", f"rule: {why}", now)
        elif record.paused:
            return
        elif record.state == "scheduled":
            if now >= record.start_at:
                await self._begin(record, now, seed)
        elif record.state == "sending":
            if self._walked(record):
                self._after_fan_out(record, now)
        elif record.state == "testing":
            if now >= record.decide_at:
                self._decide(record, now)
        elif record.state == "sending_rest":
            if self._walked(record):
                self._turn_by_time(record, now, "given to the rest", state="finishing")
        elif record.state == "finishing":
            self._finish(record, now, "done")

    async def _begin(self, record: CampaignRecord, now: int, seed: Seed) -> None:
        test = record.campaign.test
        until = SHARE if test is None else test.sample_percent * SHARE // 100
        record = self._files.keep(msgspec.structs.replace(record, as_of=record.as_of or now))
        await seed(record)
        record = self._run(record, self._enter(record, 0, until), "fan-out", now)
        self._turn_by_time(record, now, "fan-out begun", state="sending")

    def _enter(self, record: CampaignRecord, begin: int, end: int, **data: str) -> Enter:
        campaign = record.campaign
        return Enter(
            scenario=campaign.scenario,
            source="campaign",
            data=dict(data),
            segment=campaign.segment,
            as_of=record.as_of,
            salt=campaign.scenario,
            share_from=begin,
            share_to=end,
        )

    def _after_fan_out(self, record: CampaignRecord, now: int) -> None:
        test = record.campaign.test
        if test is None:
            self._turn_by_time(record, now, "given to all", state="finishing")
            return
        at = now + test.after_ms
        self._turn_by_time(record, now, "given to the sample", state="testing", decide_at=at)

    def _decide(self, record: CampaignRecord, now: int) -> None:
        """Give the rest the variant that more of its readers liked; of equals the first."""
        test = record.campaign.test
        assert test is not None
        counts = self._counting.campaign(record.tenant, record.campaign.name)

        def liked(name: str) -> float:
            step = f"step:test-{name}:"
            delivered = counts.get(f"{step}end:delivered", 0)
            return counts.get(f"{step}mail.{test.metric}", 0) / delivered if delivered else 0.0

        winner = max((name for name, _ in test.variants), key=liked)
        record = msgspec.structs.replace(record, winner=winner)
        begin = test.sample_percent * SHARE // 100
        rest = self._enter(record, begin, SHARE, variant=winner)
        record = self._run(record, rest, "rest", now)
        shares = ", ".join(f"{name} {liked(name):.2%}" for name, _ in test.variants)
        what = f"variant {winner} wins ({test.metric}: {shares})"
        self._turn_by_time(record, now, what, state="sending_rest")

    def _finish(self, record: CampaignRecord, now: int, state: str) -> None:
        """End what has nothing more under way."""
        if any(run.state in {"running", "paused"} for run in self._runs_of(record)):
            return
        report = self.report(record.tenant, record.campaign.name)
        patient = now < record.story[-1].at + PATIENCE_MS
        if not report.waiting and not report.under_way and not (report.in_hand and patient):
            self._turn_by_time(record, now, state, state=state)

    def _against(self, record: CampaignRecord) -> str:
        """Tell which stop rule holds; "" for none."""
        rules = record.campaign.stop
        counts = self._counting.campaign(record.tenant, record.campaign.name)
        delivered, bounced = counts.get("end:delivered", 0), counts.get("end:bounced", 0)
        if delivered + bounced < rules.after:
            return ""
        share = 100 * bounced / (delivered + bounced)
        if rules.bounces and share > rules.bounces:
            return f"{share:.1f} % bounced, more than {rules.bounces:g} %"
        share = 100 * counts.get("mail.complained", 0) / delivered if delivered else 0.0
        if rules.complaints and share > rules.complaints:
            return f"{share:.2f} % complained, more than {rules.complaints:g} %"
        return ""

    # ---- inside

    def _end(
        self, record: CampaignRecord, what: str, why: str, now: int, actor: str = ""
    ) -> CampaignRecord:
        """Stop the fan-out, then walk to cancel what isn't begun."""
        for run in self._runs_of(record):
            if run.state in {"running", "paused"}:
                self._runs.keep(msgspec.structs.replace(run, state="cancelled", finished_at=now))
        stop = Stop(record.campaign.scenario, what)
        record = self._run(record, stop, "stop", now)
        told = record.told(now, f"{what}: {why}", actor)
        changed = msgspec.structs.replace(record, state="ending", why=why, paused=False, story=told)
        return self._files.keep(changed)

    def _run(self, record: CampaignRecord, aim: Aim, part: str, now: int) -> CampaignRecord:
        """Write a run of the campaign, named by its part, so that there is one of it."""
        identity = run_id("campaign", record.tenant, record.campaign.name, part)
        run = Run(
            id=identity,
            tenant=record.tenant,
            aim=aim,
            subject=f"campaign {record.campaign.name}: {part.partition(' ')[0]}",
            created_at=now,
            catalog=self._versions.head().version,
            rate_per_s=float(record.campaign.pace) if isinstance(aim, Enter) else 0.0,
        )
        self._runs.add(run)
        runs = list(dict.fromkeys([*record.runs, identity]))
        return self._files.keep(msgspec.structs.replace(record, runs=runs))

    def _runs_of(self, record: CampaignRecord) -> list[Run]:
        found = [self._runs.find(identity) for identity in record.runs]
        return [run for run in found if run is not None]

    def _walked(self, record: CampaignRecord) -> bool:
        return all(run.state in {"done", "cancelled"} for run in self._runs_of(record))

    def _running(self, tenant: str, name: str) -> CampaignRecord:
        record = self._files.get(tenant, name)
        if record.state in ENDED or record.state in {"draft", "ending"}:
            raise RefusedError(f"campaign {name} is {record.state}")
        return record

    def _hold(self, record: CampaignRecord, pause: Pause, action: str, author: Author) -> None:
        entry = [("pause", record.campaign.scenario, msgspec.json.encode(pause))]
        subject = f"campaign {record.tenant}/{record.campaign.name}"
        self._versions.put(record.tenant, entry, subject, action, author)

    def _turn(
        self, record: CampaignRecord, author: Author, what: str, **changes: object
    ) -> CampaignRecord:
        told = record.told(author.now, what, author.actor)
        return self._files.keep(msgspec.structs.replace(record, story=told, **changes))

    def _turn_by_time(
        self, record: CampaignRecord, now: int, what: str, **changes: object
    ) -> CampaignRecord:
        told = record.told(now, what)
        return self._files.keep(msgspec.structs.replace(record, story=told, **changes))
