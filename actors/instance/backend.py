"""The `Backend` of the edge, over the workers of a cluster: inputs in, views out; the rest is given to its parts."""

from __future__ import annotations

__all__ = ("ClusterBackend",)

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from actors.backend import (
    Arrival,
    AuditPage,
    CallPage,
    Conservation,
    ContactView,
    Explanation,
    ItemResult,
    MessageView,
    NoticePage,
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
from actors.cluster.calls import WorkerLostError
from actors.cluster.handle import WorkerHandle
from actors.cluster.running import Cluster
from actors.coupon_views import CodeView, PoolView
from actors.instance.feeds import Feeds
from actors.instance.reach import INSIST_S, Reach
from actors.instance.requests import RESULTS, once_arrival, once_key, send_result
from actors.instance.upkeep import Upkeep
from actors.operations.blob_marks import BlobMarks
from actors.worker.wire import (
    NotMineError,
    WireArrival,
    WorkerStatus,
)
from deliverability.injected import is_reference
from deliverability.returned import Reported
from engine.config import Config
from engine.errors import StoreError
from engine.feed import FeedEntry
from engine.ids import derive
from engine.keyspace import EntityKey, contact_key, message_key
from engine.store.catalog_files import CatalogFiles
from engine.tally import Counts, holds, merged
from scenarios.coupons import BATCH_MAX, AddCodes, ClosePool, code_key, pool_key

T = TypeVar("T")

POLL_S = 0.05


class ClusterBackend:
    """Answers by asking the workers that own what is asked for."""

    def __init__(self, config: Config, cluster: Cluster, version: str) -> None:
        self._config = config
        self._cluster = cluster
        self._version = version
        self._catalogs = CatalogFiles(Path(config.data_dir) / "catalog")
        self._published: set[tuple[str, str, str]] = set()
        self._started = time.time_ns() // 1_000_000
        self._reach = Reach(cluster, config.store.partitions)
        self._feeds = Feeds(self._reach)
        self._upkeep = Upkeep(self._reach, Path(config.data_dir) / "control.log")
        self.latest: list[WorkerStatus] = []  # as of the last look

    # ---- in

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions; one result each, in order."""
        by_worker: dict[int, list[int]] = {}
        items = []
        for n, arrival in enumerate(arrivals):
            key = contact_key(arrival.tenant, arrival.contact)
            by_worker.setdefault(self._reach.index(key), []).append(n)
            items.append(
                WireArrival(key, arrival.body, arrival.input_id.encode(), arrival.at, arrival.raw)
            )
        answers = await asyncio.gather(
            *(
                self._reach.admit(index, [items[n] for n in which])
                for index, which in by_worker.items()
            )
        )
        results: list[ItemResult] = [ItemResult("refused")] * len(arrivals)
        for which, answer in zip(by_worker.values(), answers, strict=True):
            for n, verdict in zip(which, answer.verdicts, strict=True):
                results[n] = RESULTS[verdict]
        return results

    async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        """Accept requests to send under their keys, where the template is there."""
        results: list[SendResult] = [SendResult("refused")] * len(requests)
        by_worker: dict[int, list[int]] = {}
        for n, request in enumerate(requests):
            missing = self._missing_template(request)
            if missing:
                results[n] = SendResult("refused", (), f"there is no template {missing!r}")
            else:
                by_worker.setdefault(self._reach.index(once_key(request)), []).append(n)
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
        items = [once_arrival(request, now) for request in requests]
        verdicts = (await self._reach.admit(index, items)).verdicts
        worker = self._cluster.worker(index)
        asked = [
            item.key for item, one in zip(items, requests, strict=True) if not one.content_keyed
        ]
        try:
            views = await self._reach.insist(worker, partial(worker.states, asked)) if asked else []
        except NotMineError:  # it moved since
            views = [await self._reach.state(key) for key in asked]
        held = dict(zip(asked, views, strict=True))
        return [
            send_result(request, verdict, held.get(item.key, b""))
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
            by_worker.setdefault(self._reach.index(key), []).append(n)
            items.append(WireArrival(key, one.returned, one.input_id.encode()))
        answers = await asyncio.gather(
            *(
                self._reach.admit(index, [items[n] for n in which])
                for index, which in by_worker.items()
            )
        )
        results: list[ItemResult] = [ItemResult("refused")] * len(reports)
        for which, answer in zip(by_worker.values(), answers, strict=True):
            for n, verdict in zip(which, answer.verdicts, strict=True):
                results[n] = RESULTS[verdict]
        return results

    def feeds(self) -> list[Callable[[int, int, int], Awaitable[list[FeedEntry]]]]:
        """Give what reads each feed, of all workers that there have ever been."""
        return [self._feeds.reader(number) for number in range(self._cluster.feeds)]

    async def feed(self, number: int, place: tuple[int, int], limit: int) -> list[FeedEntry]:
        """Read a feed behind a place in it."""
        return (await self._reach.feed(number, place, limit)).entries

    # ---- out

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        """Tell everything held about a contact."""
        raw = await self._reach.state(contact_key(tenant, contact))
        return msgspec.json.decode(raw, type=ContactView) if raw else None

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Tell where a message stands."""
        raw = await self._reach.state(message_key(tenant, message_id))
        return msgspec.json.decode(raw, type=Explanation).message if raw else None

    async def explain(self, tenant: str, message_id: bytes) -> Explanation | None:
        """Tell a message's story, with the inputs and decisions of the records."""
        key = message_key(tenant, message_id)
        raw = await self._reach.state(key, story=True)
        return msgspec.json.decode(raw, type=Explanation) if raw else None

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read the feeds behind a cursor; waits for the first entry if there is none."""
        return await self._feeds.outcomes(tenant, cursor, limit, wait_ms)

    async def scenario_calls(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> CallPage:
        """Read the calls of a tenant's scenarios behind a cursor."""
        return await self._feeds.calls(tenant, cursor, limit, wait_ms)

    async def notices(
        self, tenant: str, channel: str, cursor: str, limit: int, wait_ms: int
    ) -> NoticePage:
        """Read what scenarios put on a channel."""
        return await self._feeds.notices(tenant, channel, cursor, limit, wait_ms)

    async def add_codes(
        self,
        tenant: str,
        pool: str,
        codes: Sequence[str],
        low: int | None,
        expires: int | None = None,
    ) -> PoolView:
        """Put codes into a pool, batch by batch; one that was taken before has no further effect."""
        key = pool_key(tenant, pool)
        for first in range(0, max(len(codes), 1), BATCH_MAX):
            batch = tuple(codes[first : first + BATCH_MAX])
            now = time.time_ns() // 1_000_000
            # a batch may come again after the pool was closed, or to set another mark: so it isn't known by its codes
            name = derive(key, "add codes", *batch, str(low), str(expires), str(now)).hex()
            await self._given(key, AddCodes(batch, low, expires), name, now)
        view = await self.coupon_pool(tenant, pool)
        assert view is not None, "adding makes it"
        return view

    async def close_pool(self, tenant: str, pool: str, reason: str) -> PoolView | None:
        """Let a pool give nothing more."""
        if await self.coupon_pool(tenant, pool) is None:
            return None
        now = time.time_ns() // 1_000_000
        await self._given(pool_key(tenant, pool), ClosePool(reason), f"close-{now}", now)
        return await self.coupon_pool(tenant, pool)

    async def _given(self, key: EntityKey, body: AddCodes | ClosePool, name: str, now: int) -> None:
        item = WireArrival(key, body, name.encode(), now)
        answer = await self._reach.admit(self._reach.index(key), [item])
        result = RESULTS[answer.verdicts[0]]
        if result.status == "refused":
            raise StoreError(result.reason)

    async def coupon_pool(self, tenant: str, pool: str) -> PoolView | None:
        """Tell how a pool stands."""
        raw = await self._reach.state(pool_key(tenant, pool))
        return msgspec.json.decode(raw, type=PoolView) if raw else None

    async def coupon_code(self, tenant: str, pool: str, code: str) -> CodeView | None:
        """Tell to whom a code was given."""
        raw = await self._reach.state(code_key(tenant, pool, code))
        return msgspec.json.decode(raw, type=CodeView) if raw else None

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
        self.latest = await self._reach.ask_all(lambda worker: worker.status)
        return self.latest

    async def ready(self) -> Readiness:
        """Tell whether inputs are taken now."""
        away = self._reach.away()
        if away:
            return Readiness(False, f"worker {away[0]} is restarting", self._checks())
        for status in self.latest:
            if status.trouble:
                reason = f"worker {status.index}: {status.trouble}"
                return Readiness(False, reason, self._checks())
        return Readiness(True, checks=self._checks())

    # ---- operations

    async def audit(self, after: int, limit: int) -> AuditPage:
        """Read the control log and check its chain."""
        return await self._upkeep.audit(after, limit)

    async def quarantine(self, after: str, limit: int) -> QuarantinePage:
        """List inputs in quarantine behind an id."""
        return await self._upkeep.quarantine(after, limit)

    async def quarantined(self, entry: str) -> QuarantineDetail | None:
        """Show an input in quarantine."""
        return await self._upkeep.quarantined(entry)

    async def repair(
        self, entry: str, action: Literal["replay", "drop"], actor: str, reason: str
    ) -> Repaired:
        """Replay or drop an input in quarantine: first on record, then done."""
        return await self._upkeep.repair(entry, action, actor, reason)

    async def blobs(self, *, start: bool) -> list[BlobMarks]:
        """Let all workers look which blobs are needed, or ask how that stands."""
        return await self._reach.ask_all(lambda worker: partial(worker.blobs, start=start))

    async def conservation(self, recount: Literal["no", "last", "start"]) -> Conservation:
        """Tell whether the law holds, by counters and by counting everything."""
        return await self._upkeep.conservation(recount, self.statuses)

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
        return await self._reach.ask_all(call_of)

    async def ask(self, worker: WorkerHandle, call: Callable[[], Awaitable[T]]) -> T:
        """Call a worker for who asks beside the edge: a lost one is waited for, and called again."""
        return await self._reach.insist(worker, call)

    async def give(self, key: bytes, arrival: WireArrival) -> None:
        """Give one input to its partition; durable on return. Idempotent by its id.

        Raises: CapacityError; StoreError.
        """
        await self._reach.admit(self._reach.index(key), [arrival])

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

    async def _worker_views(self, statuses: list[WorkerStatus]) -> list[WorkerView]:
        """Describe owners as they answered, and egresses as far as they do; the controller counts restarts."""
        try:
            restarts = {
                one.name: one.restarts for one in (await self._cluster.controller()).members
            }
        except WorkerLostError:
            restarts = {f"w{index}": number for index, number in self._reach.restarts.items()}
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


def _in_quarantine(facts: Counts) -> int:
    settled = facts.get("quarantine_replayed", 0) + facts.get("quarantine_dropped", 0)
    return facts.get("quarantined_inputs", 0) - settled


def _differs(recount: Recount) -> bool:
    return recount.state == "done" and not recount.agrees


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
