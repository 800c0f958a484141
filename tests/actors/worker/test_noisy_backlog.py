"""A tenant with a backlog, on the way that its mail really takes: store, ready queues, credits, lines, connections.

`tests/deliverability/test_noisy_tenant.py` has the million, where only the choice is real; here all is, but the number.
Order is measured, not time: how many of whose mails reach the other side before which.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import sqrt
from pathlib import Path

import msgspec

from actors.publishing import Publication, publish
from actors.worker import wire
from actors.worker.assembly import Ports, secret_of
from actors.worker.rendering import letterheads
from actors.worker.worker import Worker
from deliverability.compose.template import Template
from engine.config import Config, Limits, Stream, Tenant
from engine.ids import derive
from engine.keyspace import contact_key
from engine.vocabulary import SendDirect
from tests.actors.operations.living import config_of
from tests.actors.submission.embedded import Catcher

WEIGHTS = {"noisy": 1, "a": 1, "b": 2, "c": 4}
BACKLOG = 3_000
AHEAD = 600  # credits, lines and connections hold so many of the noisy one's at most
SETTLED = 1_000  # what comes due at one moment gets into the ready queues by and by
MEASURED = 4_600  # all have something that waits until then
HOUR_MS = 3_600_000


class Clock:
    """The wall clock, which a test may put forward: then all that is due goes at once."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead


def config_with_tenants(folder: Path) -> Config:
    tenants = tuple(
        Tenant(
            name=name,
            weight=weight,
            from_domains=(f"{name}.example",),
            from_address=f"hello@{name}.example",
        )
        for name, weight in WEIGHTS.items()
    )
    streams = {"marketing": Stream(consent_topic="")}
    # what is due gets ready faster than it may go: else there is no backlog, and whoever is ready is alone
    limits = {"default": Limits(messages_per_s=500, burst=64)}
    return msgspec.structs.replace(
        config_of(folder), tenant=tenants, streams=streams, limits=limits
    )


@asynccontextmanager
async def town(folder: Path, clock: Clock) -> AsyncIterator[tuple[Worker, Catcher]]:
    """A worker with some tenants, and what takes their mail."""
    config = config_with_tenants(folder)
    pages = [
        Publication(
            name,
            {},
            {
                "hello": Template(
                    name="hello",
                    subject="Hello",
                    html="<p>Hello {{ contact.first_name }}</p>",
                    from_address=f"hello@{name}.example",
                )
            },
        )
        for name in WEIGHTS
    ]
    heads = letterheads(config, secret_of)
    publish(config, heads, pages, now=1, actor="test", reason="test")
    catcher = Catcher()
    await catcher.listener.start("127.0.0.1")
    settings = wire.WorkerSettings(0, 1, config.data_dir, config, twin_port=catcher.listener.port)
    worker = Worker(settings, Ports(wall_ms=clock))
    try:
        await worker.start()
        yield worker, catcher
    finally:
        await worker.stop()
        await catcher.listener.stop()


async def give(worker: Worker, tenant: str, numbers: range, due: int, stream: str) -> None:
    """Ask for messages, all due at one time."""
    for first in range(numbers.start, numbers.stop, 500):
        items = []
        for number in range(first, min(first + 500, numbers.stop)):
            name = f"{tenant}-{stream}-{number}"
            key = contact_key(tenant, name)
            body = SendDirect(
                message_id=derive(key, b"direct", tenant, name),
                template="hello",
                variables={"contact": {"first_name": name}},
                address=f"{name}@inbox.example",
                due=due,
                stream=stream,
                message_class=2 if stream == "marketing" else 1,
            )
            items.append(wire.WireArrival(key, body, name.encode()))
        answer = await worker.admit(wire.AdmitBatch(items))
        assert set(answer.verdicts) == {"accepted"}, answer


async def until(catcher: Catcher, number: int) -> None:
    deadline = time.monotonic() + 90
    while len(catcher.mails) < number:
        assert time.monotonic() < deadline, f"only {len(catcher.mails)} came"
        await asyncio.sleep(0.01)


def order(catcher: Catcher) -> list[str]:
    """Tell whose mails came, in their order."""
    return [mail.recipient.split("-")[0] for mail in catcher.mails]


def test_shares_are_by_weight_on_the_whole_way(tmp_path: Path) -> None:
    """While all have work each gets its weight's share, whoever brought more.

    Credits are drawn by lot (`engine.lanes`), so a share is off by chance: four standard deviations at most, which is
    18 % of the smallest one here, and would be a hundredth of it for a million.
    """

    async def run() -> list[str]:
        clock = Clock()
        async with town(tmp_path, clock) as (worker, catcher):
            due = clock() + HOUR_MS
            for tenant, weight in WEIGHTS.items():
                number = BACKLOG if tenant == "noisy" else 650 * weight
                await give(worker, tenant, range(number), due, "marketing")
            assert not catcher.mails, "all of it waits"
            clock.ahead = 2 * HOUR_MS
            await until(catcher, MEASURED)
            return order(catcher)

    came = asyncio.run(run())
    came = came[SETTLED:MEASURED]
    total = sum(WEIGHTS.values())
    for tenant, weight in WEIGHTS.items():
        share = Counter(came)[tenant] / len(came)
        fair = weight / total
        by_chance = sqrt(fair * (1 - fair) / len(came))
        assert abs(share - fair) <= 4 * by_chance, (tenant, share, len(came))


def test_who_comes_late_doesnt_wait_for_a_backlog(tmp_path: Path) -> None:
    """Mail of a quiet tenant, bulk or not, passes what the noisy one has waiting, but for what is in hand already."""

    async def run() -> list[str]:
        async with town(tmp_path, Clock()) as (worker, catcher):
            await give(worker, "noisy", range(BACKLOG), 0, "marketing")
            await until(catcher, 100)
            await give(worker, "a", range(50), 0, "marketing")
            await give(worker, "noisy", range(20), 0, "transactional")
            acknowledged = len(catcher.mails)
            while (
                sum(not one.recipient.startswith("noisy-marketing") for one in catcher.mails) < 70
            ):
                await asyncio.sleep(0.01)
            return [mail.recipient.partition("@")[0] for mail in catcher.mails[acknowledged:]]

    came = asyncio.run(run())
    before = sum(one.startswith("noisy-marketing") for one in came)
    assert before < AHEAD, f"{before} of {BACKLOG} came before the last of them"
