"""Case `latency`: from the intake of an event to the content of its mail on the wire, alone and beside saturating bulk.

An event of an application is given to its worker; when the sink sees `DATA` or `BDAT` for its recipient, that is the
end. Both are read from one monotonic clock, the machine's. Half of a round trip over loopback (NOOP, the median of
many, beside the same load) is subtracted as network time; what Ray takes to bring the event to the worker is in it.

*Idle*: nothing else is to be done. *Saturated*: marketing mail with a backlog keeps all workers busy; the events come
at a fixed pace that doesn't follow the answers. Both mail to the same domains over the same connections.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import msgspec
import uvloop

from actors.cluster.running import Cluster
from bench.deployment import Sender, configure, worker_settings
from bench.frame import Measured, Result, plain, say
from bench.mailing import BACKLOG, BATCH, Mailing, Variant, publish_variants
from bench.sink import SinkProcess

BULK = Sender("bulk", "bulk.shop.example", "rsa-sha256")
CODES = Sender("codes", "codes.shop.example", "rsa-sha256")
KILOBYTES = 10
LOCAL = "u"
"""How local parts of the recipients begin whose mail is timed."""
SETTLE_S = 2.0
PROBES_PER_S = 10
ARRIVE_S = 30.0


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    samples: int
    per_second: int
    contacts: int
    rounds: int

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size. Quick has as many samples: a p99 of less says nothing."""
        return cls(2_000, 200, 5_000, 1) if quick else cls(2_500, 100, 20_000, 2)


class Phase(msgspec.Struct):
    """What one stretch of events told: ms."""

    waits: list[float]
    network_ms: float
    bulk_per_s: float = 0.0


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        with SinkProcess(folder / "sink", keep=1 << 40, stamp=LOCAL) as sink:
            return uvloop.run(_measured(folder, settings, sink))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measured(folder: Path, settings: Settings, sink: SinkProcess) -> Measured:
    config = configure(folder, [BULK, CODES], os.cpu_count() or 1)
    publish_variants(
        config,
        {
            BULK: [Variant("bulk", KILOBYTES)],
            CODES: [Variant("code", KILOBYTES, ", stream: transactional")],
        },
    )
    cluster = Cluster(worker_settings(config, sink.port))
    await cluster.start()
    try:
        contacts = {BULK.tenant: settings.contacts, CODES.tenant: settings.samples}
        mailing = Mailing(config, cluster, sink, contacts, {CODES.tenant: LOCAL})
        say(f"  {settings.contacts:,} contacts")
        await mailing.fill()
        return await _phases(mailing, settings)
    finally:
        await cluster.stop()


async def _phases(mailing: Mailing, settings: Settings) -> Measured:
    await mailing.load("bulk", BULK.tenant, 1.0)
    idle, saturated = [], []
    for turn in range(settings.rounds):
        idle.append(await _phase(mailing, settings))
        _told("idle", turn, idle[-1])
        saturated.append(await _beside_bulk(mailing, settings))
        _told("saturated", turn, saturated[-1])
    before = [await worker.status() for worker in mailing.cluster.workers]
    handed_over = sum(one.handed_over for one in before)
    returned = sum(one.unattempted for one in before)
    results = [
        *_results("", saturated),
        *_results("_idle", idle),
        plain("unattempted_ratio", "", [returned / handed_over]),
        plain("bulk_rate", "1/s", [one.bulk_per_s for one in saturated]),
    ]
    return Measured(
        results,
        {
            **msgspec.to_builtins(settings),
            "kilobytes": KILOBYTES,
            "workers": len(mailing.cluster.workers),
            "backlog_a_worker": BACKLOG,
            "events_a_call_bulk": BATCH,
            "handed_over": handed_over,
            "unattempted": returned,
            "network_ms_subtracted": [round(one.network_ms, 3) for one in (*idle, *saturated)],
            "from": "the call of the worker by Ray, with one event",
            "to": "DATA or BDAT seen by the sink",
        },
    )


async def _beside_bulk(mailing: Mailing, settings: Settings) -> Phase:
    """Take the samples while bulk keeps all workers busy."""
    seconds = settings.samples / settings.per_second + SETTLE_S + 1.0
    loading = asyncio.create_task(mailing.load("bulk", BULK.tenant, seconds))
    await asyncio.sleep(SETTLE_S)
    phase = await _phase(mailing, settings)
    assert not loading.done(), "bulk was there all the time"
    mails, wall = await loading
    phase.bulk_per_s = mails / wall
    return phase


async def _phase(mailing: Mailing, settings: Settings) -> Phase:
    """Give an event at a time, at a fixed pace, and see when its content arrives."""
    workers = mailing.cluster.workers
    given: dict[str, float] = {}
    calls: set[asyncio.Task[object]] = set()
    probing = asyncio.create_task(_probe(mailing.sink.port))
    mailing.sink.stamps()
    begin = time.monotonic()
    for number in range(settings.samples):
        await asyncio.sleep(begin + number / settings.per_second - time.monotonic())
        index, key = mailing.contact(CODES.tenant, number)
        item = mailing.order_of("code", key)
        given[f"{LOCAL}{number}"] = time.monotonic()
        call = asyncio.create_task(workers[index].admit([item]))
        calls.add(call)
        call.add_done_callback(calls.discard)
    stamps = await _stamps(mailing.sink, settings.samples)
    probing.cancel()
    network_ms = await probing
    waits = [max((stamps[name] - at) * 1000 - network_ms, 0.0) for name, at in given.items()]
    return Phase(waits, network_ms)


async def _stamps(sink: SinkProcess, wanted: int) -> dict[str, float]:
    """Wait until all have arrived."""
    stamps: dict[str, float] = {}
    deadline = time.monotonic() + ARRIVE_S
    while len(stamps) < wanted:
        assert time.monotonic() < deadline, f"{wanted - len(stamps)} mails never arrived"
        await asyncio.sleep(0.1)
        stamps |= sink.stamps()
    return stamps


async def _probe(port: int) -> float:
    """Measure half of a round trip over loopback, until cancelled. Returns the median in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    trips = []
    try:
        await reader.readline()
        while True:
            begin = time.monotonic()
            writer.write(b"NOOP\r\n")
            await reader.readline()
            trips.append((time.monotonic() - begin) * 1000)
            await asyncio.sleep(1 / PROBES_PER_S)
    except asyncio.CancelledError:
        writer.close()
        return median(trips) / 2


def _results(suffix: str, phases: list[Phase]) -> list[Result]:
    """Give the percentiles of each round."""
    cuts = [quantiles(one.waits, n=1000, method="inclusive") for one in phases]
    return [
        plain(f"transactional_p{name}{suffix}", "ms", [cut[at - 1] for cut in cuts])
        for name, at in (("50", 500), ("90", 900), ("99", 990), ("999", 999))
    ]


def _told(name: str, turn: int, phase: Phase) -> None:
    cut = quantiles(phase.waits, n=100, method="inclusive")
    beside = f", bulk {phase.bulk_per_s:.0f}/s" if phase.bulk_per_s else ""
    say(f"  round {turn + 1}: {name} p50 {cut[49]:.1f} ms, p99 {cut[98]:.1f} ms{beside}")
