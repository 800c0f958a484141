"""`bench events --store redis`: the same worker and events over a Redis of its own on loopback.

The ceiling writes the rows that the worker wrote through the same store, without any logic, in batches of 1,000 events.
The server has `appendfsync always` and shares the machine's cores with the worker.
"""

from __future__ import annotations

__all__ = ("Drive", "Full", "RedisEvents", "events_over_redis")

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.worker.worker import Worker
from bench.deployment import worker_settings
from bench.frame import Result, Sample, plain, rates, rounds
from bench.redis_server import RedisServer
from engine.config import Config
from engine.redis_config import Redis
from engine.store.protocol import STAND, Batch, Stand
from engine.store.redis import RedisStore

CEILING_EVENTS = 1000

Full = Callable[[], Coroutine[Any, Any, Sample]]
"""Measures at full rate."""

Drive = Callable[[Worker], Coroutine[Any, Any, Full]]
"""Fills a worker, and gives what measures it."""


class RedisEvents(msgspec.Struct, frozen=True):
    """What came of it: figures, and what they hold for."""

    results: list[Result]
    settings: dict[str, Any]


def events_over_redis(
    runner: asyncio.Runner,
    folder: Path,
    config: Config,
    times: int,
    rows_each: float,
    rows: Sequence[tuple[bytes, bytes | None]],
    drive: Drive,
) -> RedisEvents:
    """Measure.

    Args:
        runner: the loop of the bench.
        folder: where the server's files go.
        config: the deployment, whose catalog is published.
        times: rounds.
        rows_each: rows of an event.
        rows: what the worker wrote for a run of events.
        drive: fills a worker, and gives what measures it at full rate.
    """
    with _server(folder / "redis") as server:
        redis = Redis(addresses=(server.address,))
        store = msgspec.structs.replace(config.store, kind="redis", redis=redis)
        made = msgspec.structs.replace(config, store=store)
        worker = Worker(worker_settings(made)[0])
        runner.run(_started(worker))
        empty = RedisStore(redis).memory_bytes()
        full = runner.run(drive(worker))
        filled = RedisStore(redis).memory_bytes()
        bare = RedisStore(msgspec.structs.replace(redis, name="ceiling"))
        batches = _Batches(rows, int(CEILING_EVENTS * rows_each))

        def ceiling() -> Sample:
            return {"ceiling": _written_per_second(bare, batches, 2.0) / rows_each}

        def at_full_rate() -> Sample:
            sample = runner.run(full())
            return {f"{name}_redis": value for name, value in sample.items()}

        found = rounds(times, ceiling, at_full_rate)
        runner.run(worker.stop())
        bare.close()
        version = server.ask("INFO", "server")
    contacts = _living(worker)
    told = version.get("valkey_version") or version.get("redis_version")
    results = [rates("events_redis", "1/s", found["events_redis"], found["ceiling"])]
    results.append(plain("events_redis_cpu", "µs", found["events_cpu_redis"]))
    if contacts:
        results.append(plain("redis_bytes_a_contact", "B", [(filled - empty) / contacts]))
    return RedisEvents(results, {"redis": told, "redis_ceiling_batch_events": CEILING_EVENTS})


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def _started(worker: Worker) -> None:
    await worker.start()


def _living(worker: Worker) -> int:
    return worker.host.facts().get("entities:c", 0)


class _Batches:
    """The rows of a trace, again and again, as commits with numbers that follow."""

    def __init__(self, rows: Sequence[tuple[bytes, bytes | None]], size: int) -> None:
        kept = [row for row in rows if row[0][2:] != STAND]
        self._lots = [kept[at : at + size] for at in range(0, len(kept), size)]
        self._at = 0
        self._seqs: dict[int, int] = {}

    def next(self) -> tuple[list[Batch], int]:
        """Give the next commit, and how many rows it has."""
        lot = self._lots[self._at % len(self._lots)]
        self._at += 1
        batches: dict[int, Batch] = {}
        last: dict[bytes, bytes | None] = dict(lot)
        for key, value in last.items():
            number = int.from_bytes(key[:2])
            batch = batches.get(number)
            if batch is None:
                seq = self._seqs[number] = self._seqs.get(number, 0) + 1
                batch = batches[number] = Batch(number, Stand(1, seq))
            if value is None:
                batch.deletes.append(key)
            else:
                batch.puts.append((key, value))
        return list(batches.values()), len(lot)


def _written_per_second(store: RedisStore, batches: _Batches, seconds: float) -> float:
    written, spent = 0, 0.0
    while spent < seconds:
        commit, rows = batches.next()
        began = time.perf_counter()
        stale = store.commit(commit)
        spent += time.perf_counter() - began
        assert not stale, "the bench is the only writer"
        written += rows
    return written / spent
