"""An instance without Ray: one worker in this process, its backend, and a mail server that keeps what it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from actors.cluster.running import Cluster
from actors.instance.backend import ClusterBackend
from actors.operations.blob_marks import BlobMarks
from actors.submission.content import Injector
from actors.worker import wire
from actors.worker.assembly import Ports, secret_of
from actors.worker.injected import Blobs
from actors.worker.rendering import letterheads
from actors.worker.worker import Worker
from deliverability.smtp.policy import ACCEPT, Decision, Envelope, Peer
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_server import Decide, SmtpListener
from engine.config import Config
from tests.actors.operations.living import publish_hello

PATIENCE_S = 30.0


class Caught(NamedTuple):
    """One mail that was taken."""

    reverse_path: str
    recipient: str
    content: bytes
    parameters: dict[str, str]
    asked: dict[str, str]  # with RCPT


class Catcher:
    """Takes all mail."""

    def __init__(self) -> None:
        self.mails: list[Caught] = []
        self.listener = SmtpListener(ServerConfig(), self._policy, lambda: 0)

    def _policy(self, peer: Peer, decide: Decide) -> _Taking:
        del peer, decide
        return _Taking(self.mails)


class _Taking:
    def __init__(self, mails: list[Caught]) -> None:
        self._mails = mails

    def connected(self, peer: Peer, now_ms: int) -> Decision:
        return ACCEPT

    def helo(self, peer: Peer, now_ms: int) -> Decision:
        return ACCEPT

    def auth(self, peer: Peer, username: str, password: str, now_ms: int) -> Decision:
        return ACCEPT

    def mail(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return ACCEPT

    def rcpt(self, peer: Peer, envelope: Envelope, forward_path: bytes, now_ms: int) -> Decision:
        return ACCEPT

    def data(self, peer: Peer, envelope: Envelope, now_ms: int) -> Decision:
        return ACCEPT

    def message(self, peer: Peer, envelope: Envelope, content: bytes, now_ms: int) -> Decision:
        for path, asked in zip(envelope.forward_paths, envelope.rcpt_parameters, strict=True):
            caught = Caught(
                envelope.reverse_path.decode(),
                path.decode(),
                content,
                envelope.mail_parameters,
                asked,
            )
            self._mails.append(caught)
        return ACCEPT

    def closed(self, reason: str) -> None:
        return None


class _Handle:
    """What a `WorkerHandle` does, without Ray."""

    def __init__(self, worker: Worker) -> None:
        self.index = 0
        self._worker = worker

    async def admit(self, items: list[wire.WireArrival]) -> wire.AdmitAnswer:
        raw = wire.encode(wire.AdmitBatch(items))
        return await self._worker.admit(wire.decode(wire.AdmitBatch, raw))

    async def states(self, keys: list[bytes]) -> list[bytes]:
        return self._worker.reading.states(wire.StatesQuestion(keys)).bodies

    async def state(self, key: bytes, *, story: bool = False) -> bytes:
        return self._worker.reading.state(wire.StateQuestion(key, story)).body

    async def feed(
        self,
        position: int,
        n: int,
        limit: int,
        feed: int | None = None,
        wanted: tuple[str, str] | None = None,
    ) -> wire.FeedAnswer:
        return self._worker.reading.feed(wire.FeedQuestion(position, n, limit, feed, wanted))

    async def queues(self, tenant: str) -> wire.QueuesAnswer:
        return await self._worker.reading.queues(tenant)

    async def selected(self, question: wire.QueueQuestion) -> wire.SelectedAnswer:
        return await self._worker.reading.selected(question)

    async def doubts(self, tenant: str, limit: int) -> wire.DoubtsAnswer:
        return self._worker.reading.doubts(tenant, limit)

    async def blobs(self, *, start: bool) -> BlobMarks:
        return await self._worker.blobs(start=start)

    async def status(self) -> wire.WorkerStatus:
        return self._worker.status()


class _OneWorker:
    def __init__(self, worker: Worker) -> None:
        self.workers = [_Handle(worker)]
        self.egresses: list[Any] = []
        self.feeds = 1
        self.table = None

    def worker(self, number: int) -> _Handle:
        return self.workers[number]

    def has(self, worker: _Handle) -> bool:
        return worker in self.workers

    def index_of(self, partition: int) -> int:
        del partition
        return 0

    async def publish(self, version: int) -> dict[str, int]:
        return {"w0": await self.workers[0]._worker.publish()}


class Embedded:
    """A running instance."""

    def __init__(self, config: Config, worker: Worker, catcher: Catcher) -> None:
        self.config = config
        self.worker = worker
        self.mails = catcher.mails
        self.cluster = cast(Cluster, _OneWorker(worker))
        self.backend = ClusterBackend(config, self.cluster, "test")
        blobs = Blobs(Path(config.data_dir), wall_ms())
        self.injector = Injector(config, letterheads(config, secret_of), blobs, wall_ms)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, f"it never came true: {self.worker.status()}"
            await asyncio.sleep(0.005)

    async def law(self) -> dict[str, int]:
        """Give the counters of the law, added up over streams, once counters and a recount agree."""
        answer = await self.worker.recount(start=True)
        while answer.recount.state == "running":
            await asyncio.sleep(0.005)
            answer = await self.worker.recount(start=False)
        assert answer.recount.agrees, answer.recount.findings
        total: dict[str, int] = {}
        for counts in self.worker.host.counts().values():
            for bucket, number in counts.items():
                total[bucket] = total.get(bucket, 0) + number
        return total


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def embedded(
    config: Config, port: int = 0, ports: Ports | None = None
) -> AsyncIterator[Embedded]:
    """Run an instance while inside; its mail goes to a catcher of its own, or to a port."""
    publish_hello(config)
    catcher = Catcher()
    if not port:
        await catcher.listener.start("127.0.0.1")
        port = catcher.listener.port
    settings = wire.WorkerSettings(0, 1, config.data_dir, config, twin_port=port)
    worker = Worker(settings, ports or Ports())
    try:
        await worker.start()
        yield Embedded(config, worker, catcher)
    finally:
        await worker.stop()
        await catcher.listener.stop()
