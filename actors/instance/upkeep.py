"""What an operator looks at and mends: the quarantine, the conservation law, the control log."""

from __future__ import annotations

__all__ = ("Upkeep",)

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from actors.backend import (
    AuditEntry,
    AuditPage,
    Conservation,
    QuarantineDetail,
    QuarantinePage,
    Recount,
    Repaired,
)
from actors.instance.reach import Reach
from actors.operations.counting import told_findings
from actors.operations.quarantine import parse_id
from actors.worker.wire import NotMineError, QuarantineQuestion, RecountAnswer, WorkerStatus
from engine.control_log import Change, digest_of, verify
from engine.errors import CapacityError
from engine.quarantine import NOT_THERE
from engine.store.control_file import ControlFile
from engine.tally import holds, merged
from engine.tick import Repair


class Upkeep:
    """The upkeep of one instance; `path` is that of its control log."""

    def __init__(self, reach: Reach, path: Path) -> None:
        self._reach = reach
        self._log = ControlFile(path)

    async def audit(self, after: int, limit: int) -> AuditPage:
        """Read the control log and check its chain."""
        records = self._log.records()
        broken = verify(records)
        page = [record for record in records if record.seq > after][:limit]
        return AuditPage(
            items=[
                AuditEntry(
                    seq=record.seq,
                    at_ms=record.at,
                    actor=record.change.actor,
                    action=record.change.action,
                    subject=record.change.subject,
                    tenant=record.change.tenant,
                    reason=record.change.reason,
                    before=record.change.before.hex(),
                    after=record.change.after.hex(),
                    hash=record.hash.hex(),
                )
                for record in page
            ],
            head=records[-1].hash.hex() if records else "",
            intact=broken is None,
            broken_at=broken.seq if broken else None,
            more=bool(page) and page[-1].seq < records[-1].seq,
        )

    async def quarantine(self, after: str, limit: int) -> QuarantinePage:
        """List inputs in quarantine behind an id."""
        place = parse_id(after) if after else (0, 0)
        question = QuarantineQuestion(*place, limit + 1)
        answers = await self._reach.ask_all(lambda worker: partial(worker.quarantine, question))
        entries = [entry for answer in answers for entry in answer.entries]
        entries.sort(key=lambda entry: parse_id(entry.id))
        return QuarantinePage(entries[:limit], more=len(entries) > limit)

    async def quarantined(self, entry: str) -> QuarantineDetail | None:
        """Show an input in quarantine."""
        partition, number = parse_id(entry)
        worker = self._reach.owner_of(partition)
        question = QuarantineQuestion(partition, number, 0)
        return (await self._reach.insist(worker, partial(worker.quarantine, question))).detail

    async def repair(
        self, entry: str, action: Literal["replay", "drop"], actor: str, reason: str
    ) -> Repaired:
        """Replay or drop an input in quarantine: first on record, then done."""
        partition, number = parse_id(entry)
        detail = await self.quarantined(entry)
        if detail is None:
            return Repaired(entry, False, NOT_THERE)
        change = Change(
            actor=actor,
            action=f"quarantine_{action}",
            subject=f"quarantine {entry} ({detail.entry.kind}, {detail.entry.source})",
            tenant=detail.entry.tenant,
            reason=reason,
            before=digest_of(msgspec.json.encode(detail.input)),
        )
        self._log.append(time.time_ns() // 1_000_000, change)
        worker = self._reach.owner_of(partition)
        repair = Repair(partition, number, action)
        try:
            told = await self._reach.insist(worker, partial(worker.repair, repair))
        except NotMineError as error:
            raise CapacityError("a partition on its way to another worker", 1.0) from error
        return Repaired(entry, not told, told)

    async def conservation(
        self,
        recount: Literal["no", "last", "start"],
        look: Callable[[], Awaitable[list[WorkerStatus]]],
    ) -> Conservation:
        """Tell whether the law holds, by counters and by counting everything; `look` asks workers how they stand."""
        found = Recount()
        if recount != "no":
            start = recount == "start"
            told = await self._reach.ask_all(lambda worker: partial(worker.recount, start=start))
            if not told:  # all partitions are on their way just now
                raise CapacityError("whoever counts", 1.0)
            found = _joined(told)
        law = merged(status.law for status in await look())
        return Conservation(
            holds=all(holds(counts) for counts in law.values()),
            law={owner.replace("\0", "/"): counts for owner, counts in law.items()},
            recount=found,
        )


def _joined(answers: list[RecountAnswer]) -> Recount:
    """Make one recount of those of all workers; when all are done, compare what they told each other."""
    recounts = [answer.recount for answer in answers]
    states = {recount.state for recount in recounts}
    findings = [finding for recount in recounts for finding in recount.findings]
    state: Literal["none", "running", "done", "failed"] = "done"
    for worse in ("none", "running", "failed"):
        if worse in states:
            state = worse
    if state == "done":
        findings += told_findings(side for answer in answers for side in answer.tells)
    law = merged(recount.law for recount in recounts)
    return Recount(
        state,
        agrees=state == "done" and not findings,
        entities=sum(recount.entities for recount in recounts),
        rows=sum(recount.rows for recount in recounts),
        took_ms=max(recount.took_ms for recount in recounts),
        findings=findings,
        law={owner.replace("\0", "/"): counts for owner, counts in law.items()},
    )
