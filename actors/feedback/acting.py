"""Carries out what findings ask for: streams that do harm are held by a mark on their queues, and let go later.

Each measure is a mark with the actor `feedback` and the finding as its reason: `veredus queue list` shows it, `veredus
queue resume` overrules it, the control log has both. Alerts are told once in the log while a finding lasts.
"""

from __future__ import annotations

__all__ = ("Acting", "ActingParts")

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec
import structlog

from actors.cluster.calls import WorkerLostError
from actors.queues import QueueCommand, Queues
from deliverability.feedback.findings import Finding
from deliverability.feedback.measures import Held, Measure, Measures, next_measures
from engine.errors import StoreError, VeredusError
from engine.store.catalog_files import write_durably

log = structlog.get_logger()

EVERY_S = 10.0
ACTOR = "feedback"
REASON_MAX = 200
DOMAINS_MAX = 100


class ActingParts(msgspec.Struct, frozen=True):
    """The world of what acts. `domains_of` gives the domains that a provider is known to serve."""

    queues: Queues
    findings: Callable[[], Sequence[Finding]]
    domains_of: Callable[[str], Sequence[str]]
    bulk: Callable[[], Collection[tuple[str, str]]]
    path: Path
    now: Callable[[], int]
    hold_ms: int


class Acting:
    """One for an instance. Raises: StoreError: what an earlier life wrote can't be read."""

    def __init__(self, parts: ActingParts) -> None:
        self._parts = parts
        self._alerted: set[str] = set()
        self.measures = self._read()

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.step()
            except WorkerLostError as error:
                log.info("measures_not_taken", error=str(error))
            except VeredusError as error:
                log.warning("measures_not_taken", error=str(error))

    async def step(self) -> int:
        """Look once. Returns how many measures were taken."""
        parts = self._parts
        findings = parts.findings()
        self._alert(findings)
        tenants = {held.tenant for held in self.measures.held.values()}
        tenants |= {one.tenant for one in findings if one.do == "pause" and one.tenant}
        standing: dict[int, str] = {}
        by_finding: dict[tuple[str, str], int] = {}
        for tenant in sorted(tenants):
            for mark in (await parts.queues.list(tenant)).marks:
                standing[mark.number] = tenant
                if mark.actor == ACTOR and mark.action == "suspend":
                    by_finding[tenant, mark.reason.partition(": ")[0]] = mark.number
        todo = next_measures(
            self.measures, findings, standing, parts.bulk(), parts.now(), parts.hold_ms
        )
        for one in todo:
            await self._take(one, by_finding)
        return len(todo)

    async def _take(self, one: Measure, by_finding: dict[tuple[str, str], int]) -> None:
        held = one.held
        if one.do == "hold":
            # a mark of before a crash that came between it and the file is taken for this one
            number = by_finding.get((held.tenant, held.finding)) or await self._hold(held)
            self._keep(msgspec.structs.replace(held, mark=number))
        elif one.do == "let_go":
            lift = QueueCommand(
                mark=held.mark, reason=f"no longer found: {held.finding}"[:REASON_MAX]
            )
            await self._parts.queues.act(held.tenant, "resume", lift, ACTOR)
            self._drop(held.finding)
        elif one.do == "overruled":
            self._keep(held)
        else:
            self._drop(held.finding)
        log.warning(
            "feedback_measure",
            do=one.do,
            finding=held.finding,
            tenant=held.tenant,
            stream=held.stream,
            provider=held.provider,
        )

    async def _hold(self, held: Held) -> int:
        domains = list(self._parts.domains_of(held.provider))[:DOMAINS_MAX] if held.provider else []
        command = QueueCommand(stream=held.stream, domain=domains, reason=_reason(held))
        return (await self._parts.queues.act(held.tenant, "suspend", command, ACTOR)).number

    def _alert(self, findings: Sequence[Finding]) -> None:
        for one in findings:
            if one.id not in self._alerted and one.gravity != "note":
                log.warning(
                    "feedback_finding",
                    finding=one.id,
                    gravity=one.gravity,
                    do=one.do,
                    says=one.says,
                )
        self._alerted = {one.id for one in findings}

    # ---- on disk

    def _keep(self, held: Held) -> None:
        self._write({**self.measures.held, held.finding: held})

    def _drop(self, finding: str) -> None:
        self._write({name: one for name, one in self.measures.held.items() if name != finding})

    def _write(self, held: dict[str, Held]) -> None:
        made = Measures(held)
        self._parts.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._parts.path, msgspec.json.encode(made))
        self.measures = made

    def _read(self) -> Measures:
        try:
            return msgspec.json.decode(self._parts.path.read_bytes(), type=Measures)
        except FileNotFoundError:
            return Measures()
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{self._parts.path}: {error}") from error


def _reason(held: Held) -> str:
    return f"{held.finding}: {held.says}"[:REASON_MAX]
