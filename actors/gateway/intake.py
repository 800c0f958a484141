"""What the endpoints that take something do: bytes in, inputs to the engine, results out."""

from __future__ import annotations

__all__ = ("Intake", "ItemOutcome", "Results")

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

import msgspec

from actors.backend import Arrival, Backend, ItemResult, SendResult
from actors.gateway import wire
from actors.gateway.bodies import decode_items, decode_one
from actors.gateway.messages import Messages
from actors.gateway.metrics import GatewayMetrics
from actors.submission.content import Injector
from engine.config import Config
from engine.errors import InputError

_T = TypeVar("_T")


class ItemOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item: accepted, duplicate (of an id seen before), dropped (erased contact) or refused."""

    id: str
    status: Literal["accepted", "duplicate", "dropped", "refused"]
    reason: str = ""


class Results(msgspec.Struct, frozen=True):
    """One result for each item, in the order of the request."""

    results: list[ItemOutcome]


class Intake:
    """Takes events, contacts, consents, erasures and messages.

    Args:
        clock_ms: wall time.
        make_id: makes an input id where the request gives none; never twice the same.
        injector: makes content of messages durable; None: only published templates are taken.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        metrics: GatewayMetrics,
        clock_ms: Callable[[], int],
        make_id: Callable[[], str],
        injector: Injector | None = None,
    ) -> None:
        self._config = config
        self._backend = backend
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._make_id = make_id
        self._events = msgspec.json.Decoder(wire.EventIn)
        self._contacts = msgspec.json.Decoder(wire.ContactIn)
        self._consents = msgspec.json.Decoder(wire.ConsentIn)
        self._merges = msgspec.json.Decoder(wire.MergeIn)
        self._erasures = msgspec.json.Decoder(wire.EraseIn)
        self._messages = Messages(config, backend, injector, clock_ms)

    async def events(self, tenant: str, body: bytes, content_type: str) -> Results:
        """Take events; one call to the engine for all of them."""
        found = decode_items(body, content_type, self._events, self._config.http.batch_max)
        now = self._clock_ms()
        arrivals = [
            wire.event_arrival(item, tenant, now, raw)
            for item, raw in zip(found.items, found.raws, strict=True)
        ]
        answers = await self._admit("event", arrivals)
        return Results(
            [
                ItemOutcome(item.id, answer.status, answer.reason)
                for item, answer in zip(found.items, answers, strict=True)
            ]
        )

    async def contacts(self, tenant: str, body: bytes, content_type: str) -> Results:
        """Take contacts; what a contact's consents came to counts with it."""
        found = decode_items(body, content_type, self._contacts, self._config.http.batch_max)
        now = self._clock_ms()
        groups = [
            wire.arrivals_of_contact(item, tenant, now, self._make_id, raw)
            for item, raw in zip(found.items, found.raws, strict=True)
        ]
        answers = iter(await self._admit("contact", [one for group in groups for one in group]))
        return Results([_joined(group, [next(answers) for _ in group]) for group in groups])

    async def consent(self, tenant: str, contact: str, body: bytes, content_type: str) -> Results:
        """Take one consent of a contact."""
        item = decode_one(body, content_type, self._consents)
        now = self._clock_ms()
        arrival = wire.consent_arrival(item, tenant, _name(contact), now, self._make_id)
        return _joined_one(arrival, await self._admit("consent", [arrival]))

    async def erase(self, tenant: str, contact: str, body: bytes, content_type: str) -> Results:
        """Erase a contact."""
        item = decode_one(body, content_type, self._erasures)
        now = self._clock_ms()
        arrival = wire.erase_arrival(item, tenant, _name(contact), now, self._make_id)
        return _joined_one(arrival, await self._admit("erase", [arrival]))

    async def merge(self, tenant: str, contact: str, body: bytes, content_type: str) -> Results:
        """Merge a contact into another. Raises: InputError: it is the same."""
        item = decode_one(body, content_type, self._merges)
        if item.into == _name(contact):
            raise InputError("a contact can't be merged into itself", mend="name another in `into`")
        now = self._clock_ms()
        arrival = wire.merge_arrival(item, tenant, _name(contact), now, self._make_id)
        return _joined_one(arrival, await self._admit("merge", [arrival]))

    async def messages(
        self, tenant: str, body: bytes, content_type: str, header_key: str | None
    ) -> tuple[list[SendResult], bool]:
        """Take messages: one, an array, or one a line. Returns results, and whether they came as a list."""
        call = self._messages.take(tenant, body, content_type, header_key)
        results, listed = await self.answered(call)
        self._metrics.count_items("message", results)
        return results, listed

    async def answered(self, call: Coroutine[Any, Any, _T], extra_ms: int = 0) -> _T:
        """Wait for the engine, but not for ever.

        Raises:
            TimeoutError: it did not answer within `http.answer_timeout_s` (and what it was asked to wait).
        """
        async with asyncio.timeout(self._config.http.answer_timeout_s + extra_ms / 1000):
            return await call

    async def _admit(self, kind: str, arrivals: list[Arrival]) -> list[ItemResult]:
        if not arrivals:
            return []
        answers = await self.answered(self._backend.admit(arrivals))
        assert len(answers) == len(arrivals), "the engine answers each input once"
        self._metrics.count_items(kind, answers)
        return answers


def _name(contact: str) -> str:
    try:
        return msgspec.convert(contact, wire.Name)
    except msgspec.ValidationError:
        detail = "expected 1 to 200 characters without control characters"
        raise wire.FaultsError([wire.Fault("{contact}", detail)]) from None


def _joined_one(arrival: Arrival, answers: list[ItemResult]) -> Results:
    return Results([ItemOutcome(arrival.input_id, answers[0].status, answers[0].reason)])


def _joined(group: list[Arrival], answers: list[ItemResult]) -> ItemOutcome:
    """Give the gravest result of an item that became several inputs: refused, then dropped, then accepted."""
    order = ("refused", "dropped", "accepted", "duplicate")
    worst = min(answers, key=lambda answer: order.index(answer.status))
    return ItemOutcome(group[0].input_id.partition("\x1f")[0], worst.status, worst.reason)
