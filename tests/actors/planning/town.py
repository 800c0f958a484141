"""A worker, a twin and a keeper in this process, on real files, with a clock that a test moves. No Ray."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.backend import Arrival, ItemResult
from actors.planning.keeper import Keeper
from actors.planning.records import DecisionAnswer, DecisionQuestion, StoryAnswer, StoryQuestion
from actors.planning.versions import Author
from actors.planning.walking import WalkAnswer, WalkQuestion
from actors.publishing import Publication, publish
from actors.twin.clock import WallClock
from actors.twin.record import MailHead, Recorder, RecorderOptions
from actors.twin.server import TwinServer, TwinServerOptions
from actors.worker import wire
from actors.worker.assembly import Ports, secret_of
from actors.worker.rendering import letterheads
from actors.worker.worker import Worker
from deliverability.compose.template import Template
from deliverability.twin.config import TwinConfig
from deliverability.twin.presets import twin_of
from engine.config import Config
from engine.feed import FeedEntry
from engine.keyspace import contact_key
from engine.store.format import settle
from engine.vocabulary import ConsentGiven, ContactPut, Event
from tests.actors.operations.living import config_of

T0 = 1_760_000_000_000
PATIENCE_S = 60.0


class Clock:
    """Real time, and what a test has added to it."""

    def __init__(self) -> None:
        self.added = 0

    def now(self) -> int:
        return T0 + self.added + int(time.monotonic() * 1000) % 10**9


class Town:
    """What the keeper asks, answered by one worker; and what a test asks of both."""

    def __init__(self, worker: Worker, clock: Clock, notes: Notes) -> None:
        self.worker = worker
        self.clock = clock
        self.notes = notes
        self.puts = 0
        self.config: Config
        self.keeper: Keeper

    # ---- as an instance

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        items = [
            wire.WireArrival(
                contact_key(one.tenant, one.contact), one.body, one.input_id.encode(), one.at
            )
            for one in arrivals
        ]
        answer = await self.worker.admit(wire.AdmitBatch(items))
        assert not answer.overloaded
        return [
            ItemResult("duplicate" if told == "duplicate" else "accepted")
            for told in answer.verdicts
        ]

    async def walk(self, question: WalkQuestion) -> WalkAnswer:
        # over the wire, as in life
        asked: WalkQuestion = wire.decode(WalkQuestion, wire.encode(question))
        answer: WalkAnswer = wire.decode(WalkAnswer, wire.encode(await self.worker.walk(asked)))
        return answer

    async def stories(self, question: StoryQuestion) -> StoryAnswer:
        answer: StoryAnswer = wire.decode(
            StoryAnswer, wire.encode(self.worker.reading.stories(question))
        )
        return answer

    async def decisions(self, question: DecisionQuestion) -> DecisionAnswer:
        answer: DecisionAnswer = wire.decode(
            DecisionAnswer, wire.encode(self.worker.reading.decisions(question))
        )
        return answer

    def by_owner(self, partitions: list[int]) -> list[list[int]]:
        return [partitions]

    async def feed(self, places: list[tuple[int, int]], limit: int) -> list[list[FeedEntry]]:
        place = places[0] if places else (0, 0)
        answer = self.worker.reading.feed(wire.FeedQuestion(*place, limit))
        return [answer.entries]

    async def use_catalog(self, version: int) -> bool:
        return await self.worker.publish() >= version

    # ---- for tests

    def author(self, reason: str = "test") -> Author:
        return Author("tester", reason, self.clock.now())

    async def people(self, names: Iterable[str], **attributes: Any) -> None:
        """Let contacts exist, with consent to the topic `t`."""
        given = []
        self.puts += 1
        for name in names:
            body = ContactPut({"email": f"{name}@inbox.example", **attributes})
            given.append(Arrival("default", name, f"put {self.puts}", 0, body))
            consent = ConsentGiven("t", granted=True, at=1)
            given.append(Arrival("default", name, f"consent {self.puts}", 0, consent))
        for begin in range(0, len(given), 1000):
            await self.admit(given[begin : begin + 1000])

    async def events(self, names: Iterable[str], event: str, mark: str, **data: Any) -> None:
        body = Event(event, self.clock.now(), data)
        given = [Arrival("default", name, f"{event}-{mark}", 0, body) for name in names]
        for begin in range(0, len(given), 1000):
            await self.admit(given[begin : begin + 1000])

    async def decisions_of(self, name: str) -> list[str]:
        """Name the facts of all decisions about a contact."""
        key = contact_key("default", name)
        found = await self.keeper.decisions(key, 0, b"")
        return [fact for one in found for fact, _ in one.facts]

    def contact(self, name: str) -> Any:
        return self.worker.host.entry(contact_key("default", name))[0]

    async def until(self, true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, "it never came true"
            await asyncio.sleep(0.01)

    async def done(self, run: str, within_s: float = PATIENCE_S) -> None:
        """Wait until a run is done."""
        runs = self.keeper.versions.runs
        await self.until(lambda: runs.get(run).state == "done", within_s)

    def later(self, ms: int) -> None:
        """Let time pass."""
        self.clock.added += ms

    def received(self) -> list[tuple[str, str]]:
        """Tell whom the twin has accepted mail for, with the subject."""
        return list(self.notes.taken)


class Notes(Recorder):
    """Notes recipient and subject of each mail that the twin took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, RecorderOptions(keep=1))
        self.taken: list[tuple[str, str]] = []

    def mail(self, head: MailHead, content: bytes) -> None:
        found = re.search(rb"^Subject: (.*?)\r$", content, re.MULTILINE)
        assert found is not None
        for forward_path, _ in head.recipients:
            self.taken.append((forward_path, found[1].decode()))


def publish_templates(config: Config, *names: str) -> None:
    """Publish templates whose subject is their name."""
    templates = {
        name: Template(
            name=name,
            subject=name,
            html="<p>Hello {{ contact.email }}</p>",
            from_address="hello@shop.example",
        )
        for name in names
    }
    publish(
        config,
        letterheads(config, secret_of),
        [Publication("default", {}, templates)],
        now=1,
        actor="test",
        reason="test",
    )


@asynccontextmanager
async def town(
    folder: Path, *templates: str, twin: TwinConfig | None = None, keep: bool = True
) -> AsyncIterator[Town]:
    """Run a worker, a twin, and (with `keep`) a keeper while inside."""
    config = config_of(folder)
    settle(folder, config.store.partitions, 1)
    publish_templates(config, *templates)
    clock = Clock()
    recorder = Notes(folder / "twin")
    server = TwinServer(twin or twin_of("plain"), WallClock(), recorder, TwinServerOptions())
    await server.start()
    settings = wire.WorkerSettings(0, 1, config.data_dir, config, twin_port=server.port)
    worker = Worker(settings, Ports(wall_ms=clock.now))
    made = Town(worker, clock, recorder)
    made.config = config
    made.keeper = Keeper(folder, made, config.store.partitions, clock.now)
    serving: asyncio.Task[None] | None = None
    try:
        await worker.start()
        if keep:
            serving = asyncio.create_task(made.keeper.serve())
        yield made
    finally:
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        await worker.stop()
        await server.close()
