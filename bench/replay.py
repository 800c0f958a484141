"""Case `replay`: how fast a replay passes through a log's time: steps, events and mails a second of the main job.

A small generated log, the demo's scenarios, real mail to twins of providers that defer and greylist, under Ray; counted
is the time in which log time passes, not the starting of Ray. A step is one barrier of log time (an instant of the log,
or one at which timers are due). It can't be made in less than one call to a worker, so the ceiling is that: empty calls
to the same workers, one after the other.
"""

from __future__ import annotations

__all__ = ("run",)

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from actors.cluster.running import Cluster
from actors.demo.content import FROM_DOMAIN, scenario_files, templates
from actors.demo.generator import DemoSettings, write_log
from actors.replay.driver import Driver
from actors.replay.reading import open_log
from actors.replay.run import read_scenarios
from actors.replay.sorting import Survey, instants, survey
from actors.twin.clock import SetClock
from actors.twin.record import Recorder, RecorderOptions
from actors.twin.server import TwinServer, TwinServerOptions
from bench.deployment import Sender, configure, publish_all, worker_settings
from bench.frame import Measured, Sample, plain, rates, rounds
from deliverability.twin.presets import twin_of
from engine.keyspace import Keyspace

TENANT = "default"
CALLS = 300


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    turns, contacts, days = (1, 40, 30) if quick else (3, 300, 60)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        log = folder / "log.ndjson"
        write_log(DemoSettings(contacts=contacts, days=days, seed=seed), log)
        numbers = iter(range(turns))

        def replayed() -> Sample:
            return uvloop.run(_replayed(folder / f"run-{next(numbers)}", log, seed))

        found = rounds(turns, replayed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = [
        rates("replay_steps", "1/s", found["steps"], found["calls"]),
        plain("replay_events", "1/s", found["events"]),
        plain("replay_mails", "1/s", found["mails"]),
    ]
    settings = {"rounds": turns, "contacts": contacts, "days": days, "twins": "mixed"}
    return Measured(results, settings | {"workers": os.cpu_count() or 1})


async def _replayed(folder: Path, log: Path, seed: int) -> Sample:
    """Replay the log once, with workers and twins of its own."""
    config = configure(folder, [Sender(TENANT, FROM_DOMAIN, "rsa-sha256")], os.cpu_count() or 1)
    publish_all(config, {TENANT: read_scenarios(scenario_files())}, {TENANT: templates()})
    surveyed = survey(open_log(log))
    clock = SetClock(surveyed.first_ms)
    recorder = Recorder(folder / "twin", RecorderOptions(keep=0, fresh=True), None)
    twin = TwinServer(twin_of("mixed", seed=seed), clock, recorder, TwinServerOptions())
    await twin.start()
    cluster = Cluster(worker_settings(config, twin.port, surveyed.first_ms))
    try:
        await cluster.start()
        return await _timed(cluster, clock, log, surveyed, Keyspace(config.store.partitions))
    finally:
        await cluster.stop()
        await twin.close()


async def _timed(
    cluster: Cluster, clock: SetClock, log: Path, surveyed: Survey, keyspace: Keyspace
) -> Sample:
    calls = await _calls(cluster)
    driver = Driver(cluster, keyspace, clock, TENANT, lambda *_: None, surveyed.first_ms)
    begin = time.perf_counter()
    await driver.run(instants(open_log(log), surveyed))
    wall = time.perf_counter() - begin
    calls = (calls + await _calls(cluster)) / 2
    law: Counter[str] = Counter()
    for status in driver.statuses:
        for counts in status.law.values():
            law.update(counts)
    assert law["delivered"], "a replay of the demo sends mail"
    return {
        "steps": driver.steps / wall,
        "calls": calls,
        "events": driver.events / wall,
        "mails": law["delivered"] / wall,
    }


async def _calls(cluster: Cluster) -> float:
    """Measure calls a second to the workers, one after the other."""
    begin = time.perf_counter()
    for number in range(CALLS):
        await cluster.workers[number % len(cluster.workers)].status()
    return CALLS / (time.perf_counter() - begin)
