"""An engine in memory that keeps the promises of `Backend` in the simplest way; it sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from actors.backend import (
    Arrival,
    AuditEntry,
    AuditPage,
    CallPage,
    ConsentView,
    Conservation,
    ContactView,
    Explanation,
    ItemResult,
    JourneyView,
    MessageView,
    Notice,
    NoticePage,
    OutcomeEntry,
    OutcomePage,
    QuarantineDetail,
    QuarantineEntry,
    QuarantinePage,
    Readiness,
    Recount,
    Repaired,
    SendRequest,
    SendResult,
    StatusView,
    StoryLine,
    WorkerView,
)
from actors.coupon_views import CodeView, PoolView
from deliverability.returned import Reported
from engine import control_log
from engine.errors import CapacityError, InputError
from engine.vocabulary import Call, CallAnswered, ConsentGiven, ContactPut, Erase, Event
from scenarios.merging import Merge
from scenarios.runs import EnterJourney


class MemoryBackend:
    """Holds contacts, messages and outcomes of one process; forgets all at its end."""

    def __init__(self, horizon_ms: int = 0) -> None:
        self.arrivals: list[Arrival] = []
        self.came_back: list[Reported] = []
        self.calls = 0
        self.overloaded = False
        self.not_ready = ""
        self.horizon_ms = horizon_ms
        self._seen: set[tuple[str, str, str]] = set()
        self._contacts: dict[tuple[str, str], ContactView] = {}
        self._sends: dict[tuple[str, str], SendRequest] = {}
        self._outcomes: list[tuple[str, OutcomeEntry]] = []
        self._news = asyncio.Event()
        self.noticed: list[tuple[str, Notice]] = []
        self._pools: dict[tuple[str, str], dict[str, CodeView]] = {}
        self._low: dict[tuple[str, str], int] = {}
        self._expires: dict[tuple[str, str], int] = {}
        self._closed: set[tuple[str, str]] = set()
        self._scenario_calls: list[tuple[str, Call]] = []
        self.waiting = 0
        self.log: list[control_log.ControlRecord] = []
        self.poison: dict[str, QuarantineDetail] = {}
        self.stubborn = False
        self.recount = Recount()
        self.wrong = ""

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        self.calls += 1
        if self.overloaded:
            raise CapacityError("inputs waiting", retry_after_s=3)
        return [self._admit_one(arrival) for arrival in arrivals]

    def _admit_one(self, arrival: Arrival) -> ItemResult:
        seen = (arrival.tenant, arrival.contact, arrival.input_id)
        if seen in self._seen:
            return ItemResult("duplicate")
        if arrival.at < self.horizon_ms:
            return ItemResult("refused", "older than the horizon")
        self._seen.add(seen)
        self.arrivals.append(arrival)
        place = seen[:2]
        view = self._contacts.get(place, ContactView(arrival.contact))
        if view.erased:
            return ItemResult("dropped")
        self._contacts[place] = _applied(view, arrival)
        return ItemResult("accepted")

    async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        if self.overloaded:
            raise CapacityError("inputs waiting", retry_after_s=3)
        return [self._send_one(request) for request in requests]

    def _send_one(self, request: SendRequest) -> SendResult:
        first = self._sends.setdefault((request.tenant, request.idempotency_key), request)
        ids = tuple(item.body.message_id for item in first.items)
        if first is request:
            return SendResult("accepted", ids)
        same = first.digest == request.digest
        return SendResult("repeated" if same else "conflict", ids)

    @property
    def sends(self) -> list[SendRequest]:
        return list(self._sends.values())

    async def returned(self, reports: Sequence[Reported]) -> list[ItemResult]:
        if self.overloaded:
            raise CapacityError("inputs waiting", retry_after_s=3)
        return [self._returned_one(one) for one in reports]

    def _returned_one(self, one: Reported) -> ItemResult:
        seen = (one.tenant, one.message_id.hex(), one.input_id)
        if seen in self._seen:
            return ItemResult("duplicate")
        self._seen.add(seen)
        self.came_back.append(one)
        return ItemResult("accepted")

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        return self._contacts.get((tenant, contact))

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        for (owner, _), request in self._sends.items():
            for item in request.items if owner == tenant else ():
                if item.body.message_id == message_id:
                    told = (item.body.stream, item.body.template)
                    return MessageView(message_id.hex(), item.contact, "scheduled", *told)
        return None

    async def explain(self, tenant: str, message_id: bytes) -> Explanation | None:
        view = await self.message(tenant, message_id)
        if view is None:
            return None
        return Explanation(view, [StoryLine(1_700_000_000_000, "asked for by API", {"by": "test"})])

    def add_outcome(self, tenant: str, entry: OutcomeEntry) -> None:
        self._outcomes.append((tenant, entry))
        self._news.set()

    def add_call(self, tenant: str, call: Call) -> None:
        self._scenario_calls.append((tenant, call))

    def stand(self, tenant: str, contact: str, journey: str, step: str) -> None:
        """Let a contact have a journey that stands at a step; "": it has none."""
        stands = [JourneyView(journey, "s", "v", step, "waiting")] if step else []
        self._contacts[tenant, contact] = ContactView(contact, journeys=stands)

    async def scenario_calls(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> CallPage:
        position = int(cursor or 0)
        if position >= len(self._scenario_calls):
            await asyncio.sleep(min(wait_ms, 2) / 1000)
        found = self._scenario_calls[position : position + limit]
        mine = [call for owner, call in found if owner == tenant]
        return CallPage(mine, str(position + len(found)))

    async def notices(
        self, tenant: str, channel: str, cursor: str, limit: int, wait_ms: int
    ) -> NoticePage:
        position = int(cursor or 0)
        found = self.noticed[position : position + limit]
        mine = [one for owner, one in found if (owner, one.channel) == (tenant, channel)]
        return NoticePage(mine, str(position + len(found)))

    async def add_codes(
        self,
        tenant: str,
        pool: str,
        codes: Sequence[str],
        low: int | None,
        expires: int | None = None,
    ) -> PoolView:
        if expires is not None:
            self._expires[tenant, pool] = expires
        held = self._pools.setdefault((tenant, pool), {})
        self._low[tenant, pool] = low or 0
        for code in codes:
            held.setdefault(code, CodeView())
        return self._pool(tenant, pool)

    def _pool(self, tenant: str, pool: str) -> PoolView:
        held = self._pools[tenant, pool]
        closed = (tenant, pool) in self._closed
        low, expires = self._low[tenant, pool], self._expires.get((tenant, pool), 0)
        return PoolView(pool, len(held), 0, len(held), low, 0, 0, closed, expires)

    async def close_pool(self, tenant: str, pool: str, reason: str) -> PoolView | None:
        self._closed.add((tenant, pool))
        return await self.coupon_pool(tenant, pool)

    async def coupon_pool(self, tenant: str, pool: str) -> PoolView | None:
        return self._pool(tenant, pool) if (tenant, pool) in self._pools else None

    async def coupon_code(self, tenant: str, pool: str, code: str) -> CodeView | None:
        return self._pools.get((tenant, pool), {}).get(code)

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        if cursor not in ("", "latest") and not cursor.isdigit():
            raise InputError("this cursor isn't one of this instance's")
        position = len(self._outcomes) if cursor == "latest" else int(cursor or 0)
        if position >= len(self._outcomes) and wait_ms:
            self._news.clear()
            self.waiting += 1
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._news.wait()
            except TimeoutError:
                pass
            self.waiting -= 1
        found = self._outcomes[position : position + limit]
        end = position + len(found)
        mine = [entry for owner, entry in found if owner == tenant]
        return OutcomePage(mine, str(end), more=end < len(self._outcomes))

    async def status(self) -> StatusView:
        return StatusView(
            version="test",
            mode="twin",
            started_ms=1_700_000_000_000,
            now_ms=1_700_000_060_000,
            partitions=1,
            contacts=len(self._contacts),
            journeys_waiting=0,
            workers=[WorkerView("worker-0", "fused", alive=True, partitions=1)],
            law={"marketing": {"delivered": 3, "queued": 1}},
        )

    async def audit(self, after: int, limit: int) -> AuditPage:
        found = self.log[after : after + limit]
        broken = control_log.verify(self.log)
        return AuditPage(
            [_entry(record) for record in found],
            head=self.log[-1].hash.hex() if self.log else "",
            intact=broken is None,
            broken_at=broken.seq if broken else None,
            more=after + limit < len(self.log),
        )

    async def ready(self) -> Readiness:
        return Readiness(not self.not_ready, self.not_ready, {"conservation": "ok"})

    def put_aside(self, entry: str) -> None:
        line = QuarantineEntry(
            entry, 1_700_000_000_000, "contact", "default", "ann", "arrive", "i1", "ValueError: bad"
        )
        self.poison[entry] = QuarantineDetail(line, {"type": "event", "name": "signup"})

    async def quarantine(self, after: str, limit: int) -> QuarantinePage:
        names = sorted(name for name in self.poison if name > after)
        found = [self.poison[name].entry for name in names[:limit]]
        return QuarantinePage(found, more=len(names) > limit)

    async def quarantined(self, entry: str) -> QuarantineDetail | None:
        if "-" not in entry:
            raise InputError("this is no id of the quarantine")
        return self.poison.get(entry)

    async def repair(
        self, entry: str, action: Literal["replay", "drop"], actor: str, reason: str
    ) -> Repaired:
        if await self.quarantined(entry) is None:
            return Repaired(entry, False, "there is no such input in quarantine")
        last = self.log[-1] if self.log else None
        change = control_log.Change(
            actor=actor, action=f"quarantine_{action}", subject=entry, reason=reason
        )
        self.log.append(control_log.append(last, 1_700_000_000_000, change))
        if action == "replay" and self.stubborn:
            return Repaired(entry, False, "ValueError: still bad")
        del self.poison[entry]
        return Repaired(entry, True)

    async def conservation(self, recount: Literal["no", "last", "start"]) -> Conservation:
        law = {"default/marketing": {"accepted": 4, "delivered": 3, "queued": 1}}
        if recount == "start":
            self.recount = Recount("running", rows=1)
        elif recount == "last" and self.recount.state == "running":
            findings = [self.wrong] if self.wrong else []
            self.recount = Recount("done", not findings, 2, 2, 0, findings, law)
        return Conservation(True, law, Recount() if recount == "no" else self.recount)


def _applied(view: ContactView, arrival: Arrival) -> ContactView:
    match arrival.body:
        case Event(name=name):
            counts = {**view.counts, name: view.counts.get(name, 0) + 1}
            return msgspec.structs.replace(view, counts=counts)
        case ContactPut(attributes=attributes, version=version):
            merged: dict[str, Any] = {**view.attributes, **attributes}
            kept = {name: value for name, value in merged.items() if value is not None}
            return msgspec.structs.replace(view, attributes=kept, version=version)
        case ConsentGiven(topic=topic, granted=granted, at=at, source=source):
            consents = {**view.consents, topic: ConsentView(granted, at, source)}
            return msgspec.structs.replace(view, consents=consents)
        case Erase():
            return ContactView(view.contact, erased=True)
        case EnterJourney() | CallAnswered() | Merge():
            return view


def _entry(record: control_log.ControlRecord) -> AuditEntry:
    change = record.change
    return AuditEntry(
        record.seq,
        record.at,
        change.actor,
        change.action,
        change.subject,
        change.tenant,
        change.reason,
        change.before.hex(),
        change.after.hex(),
        record.hash.hex(),
    )
