"""One worker in this process, with its store on disk and a sink for its mail; no Ray."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors.publishing import Publication, publish
from actors.worker import wire
from actors.worker.assembly import Ports, secret_of
from actors.worker.rendering import letterheads
from actors.worker.worker import Worker
from deliverability.compose.template import Template
from deliverability.message.records import OutcomeRecord
from engine.config import Config, Delivery, RetryCurve, Store, Tenant, Timeouts, Workers
from engine.ids import derive
from engine.keyspace import contact_key, message_key
from engine.vocabulary import SendDirect
from tests.actors.operations.sink import Sink

PATIENCE_S = 30.0
QUICK = RetryCurve(first_s=1, factor=1.0)
_OUTCOME = msgspec.msgpack.Decoder(OutcomeRecord)


def config_of(folder: Path, **delivery: Any) -> Config:
    waits = dict.fromkeys(Timeouts.__struct_fields__, 2) | delivery.pop("timeouts", {})
    retry = {"default": QUICK, "connection": QUICK}
    return Config(
        data_dir=str(folder),
        store=Store(partitions=4, cache_mb=8, free_mb_min=delivery.pop("free_mb_min", 0)),
        workers=Workers(count=1, memory_free_mb_min=0),
        tenant=(Tenant(from_domains=("shop.example",), from_address="hello@shop.example"),),
        delivery=Delivery(timeouts=Timeouts(**waits), retry=retry, **delivery),
    )


class Living:
    """A worker, its sink, and questions about both."""

    def __init__(self, worker: Worker, sink: Sink) -> None:
        self.worker = worker
        self.sink = sink

    async def send(self, names: list[str], *, due: int = 0, padding: int = 0) -> list[str]:
        """Ask for a message to each name. Returns verdicts; ["refused: why"] when nothing was taken.

        Raises: StoreError: whether they were taken isn't known.
        """
        items = [self.arrival(name, due, padding) for name in names]
        answer = await self.worker.admit(wire.AdmitBatch(items))
        return [f"refused: {answer.reason}"] if answer.overloaded else answer.verdicts

    def arrival(self, name: str, due: int = 0, padding: int = 0) -> wire.WireArrival:
        """Make the input that asks for a message to a name."""
        key = contact_key("default", name)
        body = SendDirect(
            message_id=_message_id(name),
            template="hello",
            variables={"contact": {"first_name": name}, "padding": "x" * padding},
            address=f"{name}@inbox.example",
            due=due,
        )
        return wire.WireArrival(key, body, name.encode())

    def state(self, name: str) -> str:
        """Tell where a message stands."""
        state, _ = self.worker.host.entry(message_key("default", _message_id(name)))
        return "absent" if state is None else str(state.status)

    def outcomes(self) -> list[OutcomeRecord]:
        """Read the whole feed."""
        return [_OUTCOME.decode(entry.body) for entry in self.worker.host.feed_after(0, 0, 100_000)]

    def ends(self) -> Counter[str]:
        """Count final outcomes by kind."""
        return Counter(one.kind for one in self.outcomes() if one.final)

    async def until(self, true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        """Let the loop turn until something is true."""
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, f"it never came true: {self.worker.status()}"
            await asyncio.sleep(0.005)

    async def recounted(self) -> wire.RecountAnswer:
        """Count everything anew."""
        answer = await self.worker.recount(start=True)
        while answer.recount.state == "running":
            await asyncio.sleep(0.005)
            answer = await self.worker.recount(start=False)
        return answer


def _message_id(name: str) -> bytes:
    return derive(contact_key("default", name), b"direct", "default", name)


def publish_hello(config: Config) -> None:
    """Publish the one template."""
    hello = Template(
        name="hello",
        subject="Hello",
        html="<p>Hello {{ contact.first_name }}</p>",
        from_address="hello@shop.example",
    )
    publish(
        config,
        letterheads(config, secret_of),
        [Publication("default", {}, {"hello": hello})],
        now=1,
        actor="test",
        reason="test",
    )


@asynccontextmanager
async def living(
    config: Config, ports: Ports | None = None, sink: Sink | None = None
) -> AsyncIterator[Living]:
    """Run a worker while inside."""
    publish_hello(config)
    sink = sink or Sink()
    port = await sink.start()
    worker = Worker(wire.WorkerSettings(0, 1, config.data_dir, config, twin_port=port), ports)
    try:
        await worker.start()
        yield Living(worker, sink)
    finally:
        await worker.stop()
        await sink.close()
