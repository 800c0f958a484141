"""The `Backend` of the edge, over the workers of a cluster.

A worker that dies is waited for and asked again: input ids, idempotency keys and plain reads make that harmless.
Cursors of the outcome feed name a place in each worker's store, since commit order exists only within a store.
"""

from __future__ import annotations

__all__ = ("ClusterBackend",)

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from actors.backend import (
    Arrival,
    AuditEntry,
    AuditPage,
    Conservation,
    ContactView,
    Explanation,
    ItemResult,
    MessageView,
    OutcomeEntry,
    OutcomePage,
    QuarantineDetail,
    QuarantinePage,
    QueueView,
    Readiness,
    Recount,
    Repaired,
    SendRequest,
    SendResult,
    StatusView,
    WorkerView,
)
from actors.cluster import Cluster, WorkerHandle, WorkerLostError
from actors.operations.counting import told_findings
from actors.operations.quarantine import parse_id
from actors.worker.views import OnceView
from actors.worker.wire import (
    AdmitAnswer,
    NotMineError,
    QuarantineQuestion,
    RecountAnswer,
    WireArrival,
    WorkerStatus,
)
from deliverability.injected import is_reference
from deliverability.message import OutcomeRecord
from deliverability.returned import Reported
from engine.config import Config
from engine.control_log import Change, digest_of, verify
from engine.errors import CapacityError, InputError, StoreError
from engine.feed import FeedEntry
from engine.keyspace import IDEMPOTENCY, EntityKey, Keyspace, contact_key, control_key, message_key
from engine.once import Addressed, Several
from engine.quarantine import NOT_THERE
from engine.store.catalog_files import CatalogFiles
from engine.store.control_file import ControlFile
from engine.tally import Counts, holds, merged
from engine.tick import Repair

T = TypeVar("T")

POLL_S = 0.05
N_MAX = 2**31  # behind every entry of one position
INSIST_S = 20.0
MOVING_S = 0.01
MOVING_TRIES = 45  # about ten seconds in all, each wait longer than the last
_OUTCOME = msgspec.msgpack.Decoder(OutcomeRecord)
_CURSOR = msgspec.msgpack.Decoder(list[tuple[int, int]])


class ClusterBackend:
    """Answers by asking the workers that own what is asked for."""

    def __init__(self, config: Config, cluster: Cluster, version: str) -> None:
        self._config = config
        self._cluster = cluster
        self._version = version
        self._keyspace = Keyspace(config.store.partitions)
        self._catalogs = CatalogFiles(Path(config.data_dir) / "catalog")
        self._published: set[tuple[str, str, str]] = set()
        self._started = time.time_ns() // 1_000_000
        self._reviving: dict[int, asyncio.Lock] = {}
        self._restarts: dict[int, int] = {}
        self.latest: list[WorkerStatus] = []  # as of the last look

    # ---- in

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions; one result each, in order."""
        by_worker: dict[int, list[int]] = {}
        items = []
        for n, arrival in enumerate(arrivals):
            key = contact_key(arrival.tenant, arrival.contact)
            by_worker.setdefault(self._index(key), []).append(n)
            items.append(
                WireArrival(key, arrival.body, arrival.input_id.encode(), arrival.at, arrival.raw)
            )
        answers = await asyncio.gather(
            *(self._admit(index, [items[n] for n in which]) for index, which in by_worker.items())
        )
        results: list[ItemResult] = [ItemResult("refused")] * len(arrivals)
        for which, answer in zip(by_worker.values(), answers, strict=True):
            for n, verdict in zip(which, answer.verdicts, strict=True):
                results[n] = _RESULTS[verdict]
        return results

    async def _admit(self, index: int, items: list[WireArrival]) -> AdmitAnswer:
        worker = self._cluster.workers[index]
        answer = await self._insist(worker, lambda: worker.admit(items))
        if answer.overloaded:
            raise CapacityError(answer.reason or "intake of a worker", answer.retry_after_s)
        moved = [n for n, verdict in enumerate(answer.verdicts) if verdict == "lost"]
        if not moved:
            return answer
        verdicts = list(answer.verdicts)
        for n, verdict in zip(moved, await self._again([items[n] for n in moved]), strict=True):
            verdicts[n] = verdict
        return AdmitAnswer(verdicts)

    async def _again(self, items: list[WireArrival], tries: int = 0) -> list[str]:
        """Give inputs to whoever owns their partitions by now: none of them was taken.

        Raises: CapacityError: their partitions are on their way for long.
        """
        if tries > MOVING_TRIES:
            raise CapacityError("partitions on their way to another worker", 1.0)
        await asyncio.sleep(MOVING_S * tries)
        await self._cluster.reroute()
        by_worker: dict[int, list[int]] = {}
        for n, item in enumerate(items):
            by_worker.setdefault(self._index(item.key), []).append(n)
        verdicts = [""] * len(items)
        for index, which in by_worker.items():
            worker, some = self._cluster.workers[index], [items[n] for n in which]
            answer = await self._insist(worker, partial(worker.admit, some))
            if answer.overloaded:
                raise CapacityError(answer.reason or "intake of a worker", answer.retry_after_s)
            for n, verdict in zip(which, answer.verdicts, strict=True):
                verdicts[n] = verdict
        lost = [n for n, verdict in enumerate(verdicts) if verdict == "lost"]
        if lost:
            found = await self._again([items[n] for n in lost], tries + 1)
            for n, verdict in zip(lost, found, strict=True):
                verdicts[n] = verdict
        return verdicts

    async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        """Accept requests to send under their keys, where the template is there."""
        results: list[SendResult] = [SendResult("refused")] * len(requests)
        by_worker: dict[int, list[int]] = {}
        for n, request in enumerate(requests):
            missing = self._missing_template(request)
            if missing:
                results[n] = SendResult("refused", (), f"there is no template {missing!r}")
            else:
                by_worker.setdefault(self._index(_once_key(request)), []).append(n)
        calls = (
            self._send(index, [requests[n] for n in which]) for index, which in by_worker.items()
        )
        for which, answers in zip(by_worker.values(), await asyncio.gather(*calls), strict=True):
            for n, answer in zip(which, answers, strict=True):
                results[n] = answer
        return results

    async def _send(self, index: int, requests: list[SendRequest]) -> list[SendResult]:
        """Accept requests whose keys live with one worker; of keys that may conflict, see what they stand for."""
        now = time.time_ns() // 1_000_000
        items = [_once_arrival(request, now) for request in requests]
        verdicts = (await self._admit(index, items)).verdicts
        worker = self._cluster.workers[index]
        asked = [
            item.key for item, one in zip(items, requests, strict=True) if not one.content_keyed
        ]
        try:
            views = await self._insist(worker, partial(worker.states, asked)) if asked else []
        except NotMineError:  # it moved since
            views = [await self._state(key) for key in asked]
        held = dict(zip(asked, views, strict=True))
        return [
            _send_result(request, verdict, held.get(item.key, b""))
            for request, verdict, item in zip(requests, verdicts, items, strict=True)
        ]

    def _missing_template(self, request: SendRequest) -> str:
        """Name a template that isn't published; content that came with the request is durable already."""
        for item in request.items:
            name = item.body.template
            if not is_reference(name) and not self._has_template(request.tenant, name):
                return name
        return ""

    async def returned(self, reports: Sequence[Reported]) -> list[ItemResult]:
        """Tell messages what came back about them; one result each, in order."""
        by_worker: dict[int, list[int]] = {}
        items = []
        for n, one in enumerate(reports):
            key = message_key(one.tenant, one.message_id)
            by_worker.setdefault(self._index(key), []).append(n)
            items.append(WireArrival(key, one.returned, one.input_id.encode()))
        answers = await asyncio.gather(
            *(self._admit(index, [items[n] for n in which]) for index, which in by_worker.items())
        )
        results: list[ItemResult] = [ItemResult("refused")] * len(reports)
        for which, answer in zip(by_worker.values(), answers, strict=True):
            for n, verdict in zip(which, answer.verdicts, strict=True):
                results[n] = _RESULTS[verdict]
        return results

    def feed_of(self, index: int) -> Callable[[int, int, int], Awaitable[list[FeedEntry]]]:
        """Give what reads the feed of a worker, behind a place in it."""

        async def feed(position: int, n: int, limit: int) -> list[FeedEntry]:
            worker = self._cluster.workers[index]
            page = await self._insist(worker, partial(worker.feed, position, n, limit))
            return page.entries

        return feed

    # ---- out

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        """Tell everything held about a contact."""
        raw = await self._state(contact_key(tenant, contact))
        return msgspec.json.decode(raw, type=ContactView) if raw else None

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Tell where a message stands."""
        raw = await self._state(message_key(tenant, message_id))
        return msgspec.json.decode(raw, type=Explanation).message if raw else None

    async def explain(self, tenant: str, message_id: bytes) -> Explanation | None:
        """Tell a message's story, with the inputs and decisions of the records."""
        key = message_key(tenant, message_id)
        raw = await self._state(key, story=True)
        return msgspec.json.decode(raw, type=Explanation) if raw else None

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read the feeds behind a cursor; waits for the first entry if there is none."""
        places = await self._places(cursor)
        deadline = asyncio.get_running_loop().time() + wait_ms / 1000
        while True:
            items, places, more = await self._read_feeds(tenant, places, limit)
            if items or asyncio.get_running_loop().time() >= deadline:
                return OutcomePage(items, _cursor(places), more)
            await asyncio.sleep(POLL_S)

    async def _read_feeds(
        self, tenant: str, places: list[tuple[int, int]], limit: int
    ) -> tuple[list[OutcomeEntry], list[tuple[int, int]], bool]:
        items: list[OutcomeEntry] = []
        after = list(places)
        more = False
        for worker in self._cluster.workers:
            room = limit - len(items)
            if room <= 0:
                more = True
                break
            position, n = after[worker.index]
            page = await self._insist(worker, partial(worker.feed, position, n, room))
            for entry in page.entries:
                after[worker.index] = (entry.position, entry.n)
                if entry.channel == "outcome" and entry.tenant == tenant:
                    items.append(_outcome(entry))
            more = more or len(page.entries) == room
        return items, after, more

    async def status(self) -> StatusView:
        """Describe the instance."""
        statuses = await self.statuses()
        law = merged(status.law for status in statuses)
        facts: Counts = merged({"": status.facts} for status in statuses).get("", {})
        return StatusView(
            version=self._version,
            mode=self._config.delivery.mode,
            started_ms=self._started,
            now_ms=max((status.now for status in statuses), default=0),
            partitions=self._config.store.partitions,
            contacts=facts.get("entities:c", 0),
            journeys_waiting=facts.get("timers:c", 0),
            workers=await self._worker_views(statuses),
            queues=_queues(statuses),
            law=_by_stream(law),
            quarantined=_in_quarantine(facts),
        )

    async def statuses(self) -> list[WorkerStatus]:
        """Ask all workers where they stand."""
        workers = self._cluster.workers
        self.latest = list(await asyncio.gather(*(self._insist(w, w.status) for w in workers)))
        return self.latest

    async def audit(self, after: int, limit: int) -> AuditPage:
        """Read the control log and check its chain."""
        records = ControlFile(Path(self._config.data_dir) / "control.log").records()
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

    async def ready(self) -> Readiness:
        """Tell whether inputs are taken now."""
        away = [index for index, lock in self._reviving.items() if lock.locked()]
        if away:
            return Readiness(False, f"worker {away[0]} is restarting", self._checks())
        for status in self.latest:
            if status.trouble:
                reason = f"worker {status.index}: {status.trouble}"
                return Readiness(False, reason, self._checks())
        return Readiness(True, checks=self._checks())

    # ---- operations

    async def quarantine(self, after: str, limit: int) -> QuarantinePage:
        """List inputs in quarantine behind an id."""
        place = parse_id(after) if after else (0, 0)
        question = QuarantineQuestion(*place, limit + 1)
        workers = self._cluster.workers
        answers = await asyncio.gather(
            *(self._insist(w, partial(w.quarantine, question)) for w in workers)
        )
        entries = [entry for answer in answers for entry in answer.entries]
        entries.sort(key=lambda entry: parse_id(entry.id))
        return QuarantinePage(entries[:limit], more=len(entries) > limit)

    async def quarantined(self, entry: str) -> QuarantineDetail | None:
        """Show an input in quarantine."""
        partition, number = parse_id(entry)
        worker = self._cluster.workers[self._cluster.index_of(partition)]
        question = QuarantineQuestion(partition, number, 0)
        return (await self._insist(worker, partial(worker.quarantine, question))).detail

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
        log = ControlFile(Path(self._config.data_dir) / "control.log")
        log.append(time.time_ns() // 1_000_000, change)
        worker = self._cluster.workers[self._cluster.index_of(partition)]
        repair = Repair(partition, number, action)
        told = await self._insist(worker, partial(worker.repair, repair))
        return Repaired(entry, not told, told)

    async def conservation(self, recount: Literal["no", "last", "start"]) -> Conservation:
        """Tell whether the law holds, by counters and by counting everything."""
        workers = self._cluster.workers
        found = Recount()
        if recount != "no":
            start = recount == "start"
            calls = (self._insist(w, partial(w.recount, start=start)) for w in workers)
            found = _joined(list(await asyncio.gather(*calls)))
        law = merged(status.law for status in await self.statuses())
        return Conservation(
            holds=all(holds(counts) for counts in law.values()),
            law={owner.replace("\0", "/"): counts for owner, counts in law.items()},
            recount=found,
        )

    def _checks(self) -> dict[str, str]:
        """Tell of each part what was seen last."""
        law = merged(status.law for status in self.latest)
        broken = [o.replace("\0", "/") for o, counts in sorted(law.items()) if not holds(counts)]
        differ = [f"w{s.index}" for s in self.latest if _differs(s.recount)]
        checks = {
            "conservation": f"the law doesn't hold for {', '.join(broken)}" if broken else "ok",
            "recount": f"it differs from the counters of {', '.join(differ)}" if differ else "ok",
        }
        return checks | {f"w{s.index}": s.trouble or "ok" for s in self.latest}

    # ---- for the other parts of the edge

    async def ask_all(
        self, call_of: Callable[[WorkerHandle], Callable[[], Awaitable[T]]]
    ) -> list[T]:
        """Ask every owner of partitions the same; one that is lost is waited for and asked again."""
        workers = self._cluster.workers
        return list(await asyncio.gather(*(self._insist(w, call_of(w)) for w in workers)))

    async def give(self, key: bytes, arrival: WireArrival) -> None:
        """Give one input to its partition; durable on return. Idempotent by its id.

        Raises: CapacityError; StoreError.
        """
        await self._admit(self._index(key), [arrival])

    async def published(self, version: int) -> None:
        """Wait until all workers decide by a version of the catalog.

        Raises: StoreError: one of them couldn't be reached; it takes the newest version when it is there again.
        """
        deadline = asyncio.get_running_loop().time() + INSIST_S
        while True:
            try:
                used = await self._cluster.publish(version)
            except WorkerLostError:
                used = {}
            if used and min(used.values()) >= version:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise StoreError(f"not all workers use version {version} of the catalog yet")
            await asyncio.sleep(POLL_S)

    # ---- inside

    def _has_template(self, tenant: str, name: str) -> bool:
        wanted = ("template", tenant, name)
        if wanted not in self._published:
            head = self._catalogs.head()
            self._published = {(item.section, item.tenant, item.name) for item in head.items}
        return wanted in self._published

    def _index(self, key: bytes) -> int:
        return self._cluster.index_of(self._keyspace.partition(key))

    def _worker(self, key: bytes) -> WorkerHandle:
        return self._cluster.workers[self._index(key)]

    async def _state(self, key: bytes, *, story: bool = False) -> bytes:
        """Ask the owner of an entity for its view, wherever its partition went."""
        tries = 0
        while True:
            worker = self._worker(key)
            try:
                return await self._insist(worker, partial(worker.state, key, story=story))
            except NotMineError:
                tries += 1
                if tries > MOVING_TRIES:
                    raise CapacityError("a partition on its way to another worker", 1.0) from None
                await asyncio.sleep(MOVING_S * tries)
                await self._cluster.reroute()

    async def _insist(self, worker: WorkerHandle, call: Callable[[], Awaitable[T]]) -> T:
        """Call; when the worker is lost, wait for its next life and call again, for a while."""
        deadline = asyncio.get_running_loop().time() + INSIST_S
        while True:
            try:
                return await call()
            except WorkerLostError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise StoreError(f"{error}; whether anything was taken isn't known") from error
                await self._revive(worker)

    async def ask(self, worker: WorkerHandle, call: Callable[[], Awaitable[T]]) -> T:
        """Call a worker for who asks beside the edge: a lost one is waited for, and called again."""
        return await self._insist(worker, call)

    async def _revive(self, worker: WorkerHandle) -> None:
        lock = self._reviving.setdefault(worker.index, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            if not waited:
                self._restarts[worker.index] = self._restarts.get(worker.index, 0) + 1
                await self._cluster.revive(worker)

    async def _worker_views(self, statuses: list[WorkerStatus]) -> list[WorkerView]:
        """Describe owners as they answered, and egresses as far as they do; the controller counts restarts."""
        try:
            restarts = {
                one.name: one.restarts for one in (await self._cluster.controller()).members
            }
        except WorkerLostError:
            restarts = {f"w{index}": number for index, number in self._restarts.items()}
        senders = await asyncio.gather(
            *(egress.status() for egress in self._cluster.egresses), return_exceptions=True
        )
        views = [_worker_view(status, restarts) for status in statuses]
        for index, sender in enumerate(senders):
            if isinstance(sender, WorkerStatus):
                views.append(_worker_view(sender, restarts))
            elif isinstance(sender, WorkerLostError):
                views.append(WorkerView(f"e{index}", "egress", alive=False, partitions=0))
            else:
                raise sender
        return views

    async def _places(self, cursor: str) -> list[tuple[int, int]]:
        count = len(self._cluster.workers)
        if not cursor:
            return [(0, 0)] * count
        if cursor == "latest":
            return [(status.feed_position, N_MAX) for status in await self.statuses()]
        try:
            places = _CURSOR.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            places = []
        if len(places) != count:
            raise InputError("the cursor isn't one of this instance's", mend="begin without one")
        return places


def _worker_view(status: WorkerStatus, restarts: dict[str, int]) -> WorkerView:
    name = f"{'e' if status.role == 'egress' else 'w'}{status.index}"
    return WorkerView(
        name=name,
        role=status.role,
        alive=True,
        partitions=status.partitions,
        inputs_waiting=status.waiting,
        in_the_air=status.in_hand,
        restarts=restarts.get(name, 0),
        pid=status.pid,
    )


def _once_key(request: SendRequest) -> EntityKey:
    return control_key(IDEMPOTENCY, request.tenant, request.idempotency_key)


def _once_arrival(request: SendRequest, now: int) -> WireArrival:
    """Make the input of a request. Its id is the digest; where that may stand for another later, within a window."""
    tenant = request.tenant
    told = tuple(Addressed(contact_key(tenant, one.contact), one.body) for one in request.items)
    window = now // request.repeat_ms if request.repeat_ms else 0
    input_id = request.digest + (window.to_bytes(8) if window else b"")
    body = Several(request.digest, told, request.repeat_ms)
    return WireArrival(_once_key(request), body, input_id)


def _send_result(request: SendRequest, verdict: str, view: bytes) -> SendResult:
    if request.content_keyed:
        ids = tuple(item.body.message_id for item in request.items)
        if verdict in ("accepted", "duplicate"):
            return SendResult("accepted" if verdict == "accepted" else "repeated", ids)
        return SendResult("refused", (), _RESULTS[verdict].reason)
    if not view:
        return SendResult("refused", (), _RESULTS[verdict].reason)
    held = msgspec.json.decode(view, type=OnceView)
    ids = tuple(bytes.fromhex(one) for one in held.message_ids)
    if held.digest != request.digest.hex():
        return SendResult("conflict", ids)
    return SendResult("repeated" if verdict == "duplicate" else "accepted", ids)


_RESULTS = {
    "accepted": ItemResult("accepted"),
    "duplicate": ItemResult("duplicate"),
    "too_old": ItemResult("refused", "its own time is older than store.horizon_days"),
    "quarantined": ItemResult("refused", "it can't be decided; it is kept in quarantine"),
}


def _in_quarantine(facts: Counts) -> int:
    settled = facts.get("quarantine_replayed", 0) + facts.get("quarantine_dropped", 0)
    return facts.get("quarantined_inputs", 0) - settled


def _differs(recount: Recount) -> bool:
    return recount.state == "done" and not recount.agrees


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


def _cursor(places: list[tuple[int, int]]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(places)).rstrip(b"=").decode()


def _outcome(entry: FeedEntry) -> OutcomeEntry:
    record = _OUTCOME.decode(entry.body)
    reply = " ".join(
        part for part in (str(record.code or ""), record.enhanced, record.text) if part
    )
    return OutcomeEntry(
        message_id=record.message_id,
        contact=record.contact,
        kind=record.kind,
        attempt=record.attempt,
        at_ms=record.at,
        final=record.final,
        stream=record.stream,
        scenario=record.scenario,
        step=record.step,
        cause=record.cause,
        reply=reply,
    )


def _queues(statuses: list[WorkerStatus]) -> list[QueueView]:
    found: dict[tuple[int, str], int] = {}
    for status in statuses:
        for lane in status.lanes:
            key = (lane.message_class, lane.route)
            found[key] = min(found.get(key, lane.oldest), lane.oldest)
    return [
        QueueView(route, message_class, "", 0, oldest)
        for (message_class, route), oldest in sorted(found.items())
    ]


def _by_stream(law: dict[str, Counts]) -> dict[str, Counts]:
    return merged({owner.partition("\0")[2]: counts} for owner, counts in law.items())
