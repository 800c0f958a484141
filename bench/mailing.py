"""A deployment that mails under load: a cluster, a sink, contacts, and events that make it send.

Each event `order.10k` (or another size) opens a journey that sends one mail to a recipient of its own, with twenty
holes of its own. Cases say which mails, how many, and what they look at.
"""

from __future__ import annotations

__all__ = ("BACKLOG", "BATCH", "Mailing", "Variant", "publish_variants")

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from actors.cluster.running import Cluster
from actors.worker.wire import WireArrival
from bench.content import FIRST_NAMES, holes, template
from bench.deployment import Sender, publish_all
from bench.sink import SinkProcess
from engine.config import Config
from engine.keyspace import EntityKey, Keyspace, contact_key
from engine.vocabulary import ConsentGiven, ContactPut, Event

SCENARIO = """\
scenario: thanks-{name}
entry:
  event: order.{name}
reentry: always
steps:
  - id: thanks
    send: {{template: order-{size}k, topic: orders{more}}}
"""
DOMAINS = 8
BATCH = 400
"""Events that a worker is given in one call."""
BACKLOG = 1600
"""Mails of one worker that are on their way at any time."""
DRAIN_S = 60.0


class Variant(msgspec.Struct, frozen=True):
    """A kind of mail: the name in its event, its size, and what its step says beside (YAML)."""

    name: str
    kilobytes: int
    more: str = ""


def publish_variants(config: Config, variants: Mapping[Sender, Sequence[Variant]]) -> None:
    """Publish a scenario for each variant, and the templates that they need."""
    scenarios = {
        sender.tenant: {
            f"thanks-{one.name}.yaml": SCENARIO.format(
                name=one.name, size=one.kilobytes, more=one.more
            )
            for one in some
        }
        for sender, some in variants.items()
    }
    templates = {
        sender.tenant: {
            f"order-{one.kilobytes}k": template(one.kilobytes, f"hello@{sender.domain}")
            for one in some
        }
        for sender, some in variants.items()
    }
    publish_all(config, scenarios, templates)


class Mailing:
    """A cluster with its sink, and the load on it.

    Args:
        contacts: how many each tenant has; the nth has the local part `c{n}`, or begins with `locals_` of its tenant.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        sink: SinkProcess,
        contacts: Mapping[str, int],
        locals_: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self.cluster = cluster
        self.sink = sink
        self._contacts = contacts
        self._locals = locals_ or {}
        self._keyspace = Keyspace(config.store.partitions)
        self._next = 0
        self._keys: dict[str, list[list[EntityKey]]] = {
            tenant: [[] for _ in cluster.workers] for tenant in contacts
        }

    async def fill(self) -> None:
        """Let all contacts exist, with address, name and consent, at each tenant."""
        count = len(self.cluster.workers)
        for tenant, keys in self._keys.items():
            waiting: list[list[WireArrival]] = [[] for _ in range(count)]
            for number in range(self._contacts[tenant]):
                index, key = self.contact(tenant, number)
                keys[index].append(key)
                waiting[index] += _contact(key, number, self._locals.get(tenant, "c"))
            for worker, items in zip(self.cluster.workers, waiting, strict=True):
                for start in range(0, len(items), 1000):
                    await worker.admit(items[start : start + 1000])

    async def load(self, name: str, tenant: str, seconds: float) -> tuple[int, float]:
        """Keep all workers busy for a time, then let them finish. Returns mails, and s until the last arrived."""
        begin = time.perf_counter()
        end = begin + seconds
        given = [0] * len(self.cluster.workers)
        arrived = self.sink.count

        async def feed(index: int) -> None:
            worker = self.cluster.workers[index]
            while time.perf_counter() < end:
                if self._next - arrived() < BACKLOG * len(given):
                    items = [self.order(name, tenant, index) for _ in range(BATCH)]
                    answer = await worker.admit(items)
                    assert not answer.overloaded, "the backlog of the bench fits"
                    given[index] += BATCH
                else:
                    await asyncio.sleep(0.002)

        await asyncio.gather(*(feed(index) for index in range(len(given))))
        last = await self._drained()
        return sum(given), last - begin

    async def _drained(self) -> float:
        """Wait until all have arrived, and their outcomes are durable. Returns when the last arrived."""
        wanted = self._next  # every event makes one mail
        deadline = time.perf_counter() + DRAIN_S
        while self.sink.count() < wanted:
            assert time.perf_counter() < deadline, (
                f"{wanted - self.sink.count()} mails never arrived"
            )
            await asyncio.sleep(0.002)
        last = time.perf_counter()
        assert self.sink.count() == wanted, "no mail arrives twice"
        await self.settled()
        return last

    async def settled(self) -> None:
        """Wait until no message is in hand of any worker: all outcomes are on their way into the store."""
        for worker in self.cluster.workers:
            while (await worker.status()).in_hand:  # noqa: ASYNC110 -- the workers are other processes
                await asyncio.sleep(0.02)

    def order(self, name: str, tenant: str, index: int) -> WireArrival:
        """Make the next event of a worker."""
        keys = self._keys[tenant][index]
        return self.order_of(name, keys[self._next % len(keys)])

    def contact(self, tenant: str, number: int) -> tuple[int, EntityKey]:
        """Tell the worker and the key of a contact."""
        key = contact_key(tenant, f"c{number}")
        return self._keyspace.partition(key) % len(self.cluster.workers), key

    def order_of(self, name: str, key: EntityKey) -> WireArrival:
        """Make an event of a contact."""
        number = self._next
        self._next += 1
        event = Event(f"order.{name}", time.time_ns() // 1_000_000, holes(number))
        return WireArrival(key, event, b"order" + number.to_bytes(8))


def _contact(key: EntityKey, number: int, local: str) -> list[WireArrival]:
    name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {number}"
    put = ContactPut({"email": f"{local}{number}@d{number % DOMAINS}.example", "name": name})
    told = number.to_bytes(4)
    return [
        WireArrival(key, put, b"put" + told),
        WireArrival(key, ConsentGiven("orders", True, 1, "bench"), b"consent" + told),
    ]
