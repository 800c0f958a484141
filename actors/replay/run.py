"""One replay from beginning to end: configuration, catalog, twin, workers, driver, and what is written at the end."""

from __future__ import annotations

__all__ = ("ReplayOptions", "Replayed", "replay")

import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from actors.cluster.running import Cluster
from actors.publishing import Publication, publish, templates_beside
from actors.replay.driver import Driver
from actors.replay.funnels import read_funnels
from actors.replay.killing import StateKiller, phases_met
from actors.replay.outcomes import Outcomes
from actors.replay.progress import ProgressDisplay, ProviderCounts, Snapshot
from actors.replay.reading import EventLog
from actors.replay.samples import read_samples
from actors.replay.sorting import Survey, instants, survey
from actors.report.run import SampleMail, ScenarioFunnel
from actors.twin.clock import SetClock
from actors.twin.record import Recorder, RecorderOptions
from actors.twin.server import TwinServer, TwinServerOptions
from actors.twin.signatures import keys_in
from actors.worker.assembly import secret_of
from actors.worker.rendering import Letterhead, letterheads
from actors.worker.wire import WorkerSettings, WorkerStatus
from deliverability.compose.template import Template
from deliverability.twin.config import TwinConfig
from engine.config import Config
from engine.errors import InputError, RefusedError
from engine.keyspace import Keyspace
from engine.store.format import begin_replay
from engine.store.redis_format import begin_replay_in
from engine.tally import ACCEPTED, Counts

VERIFY_EVERY = 50


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay. `sent` and `received` are files to write; `kills` workers to kill on the way."""

    config: Config
    log: EventLog
    scenarios: Mapping[str, str]
    templates: Mapping[str, Template]
    twin: TwinConfig
    sent: Path | None = None
    received: Path | None = None
    kills: int = 0
    keep_mails: int = 2000
    seed: int = 0


class Replayed(msgspec.Struct):
    """What a replay came to."""

    survey: Survey
    law: Counts
    statuses: list[WorkerStatus]
    outcomes: Outcomes
    events: int
    steps: int
    wall_s: float
    log_end: int
    started_ms: int
    arrived: int
    in_the_air: int
    kills: int
    phases: Counter[str]
    """Messages that kills met, by phase."""
    places: Counter[str]
    """Kills, by the part of a tick in which they met a worker."""
    journeys_waiting: int
    timeline: list[tuple[int, Counts]]
    senders: list[WorkerStatus] = []
    """Of the egresses, where they are actors of their own."""
    funnels: list[ScenarioFunnel] = []
    samples: list[SampleMail] = []


async def replay(options: ReplayOptions, console: Console) -> Replayed:
    """Run it. Raises: UserError for whatever is wrong with log, scenarios or configuration."""
    config = options.config
    tenant = config.tenant[0]
    started = time.time()
    if config.delivery.mode == "live":
        raise RefusedError(
            "a replay doesn't mail the people of its log at their MX hosts",
            mend="use twin or relay",
        )
    surveyed = survey(options.log)
    if not surveyed.rows:
        raise InputError(f"{options.log.path}: there is no event in it")
    if config.delivery.mode == "relay":
        _announce(options, console)
    heads = letterheads(config, secret_of)
    _fresh_store(config)
    publish(
        config,
        heads,
        [Publication(tenant.name, options.scenarios, options.templates)],
        now=int(started * 1000),
        actor="replay",
        reason=str(options.log.path),
        calls="assumed",
    )
    clock = SetClock(surveyed.first_ms)
    async with _twin(options, clock) as twin, _cluster(config, twin, surveyed.first_ms) as cluster:
        done = await _drive(options, console, clock, cluster, twin, surveyed, started)
    # the workers have ended, and let go of their stores
    count = config.workers.count or os.cpu_count() or 1
    final = done.outcomes.final
    done.funnels = await read_funnels(config, count, options.scenarios, final)
    data = Path(config.data_dir)
    done.samples = read_samples(data / "twin", final, keys_in(data))
    return done


def _announce(options: ReplayOptions, console: Console) -> None:
    """Say whom a replay outside twins is about to reach, before anything leaves."""
    delivery = options.config.delivery
    contacts = len({row.contact for row in options.log})
    allowed = (
        "everybody"
        if delivery.allow == "any"
        else f"{len(delivery.allow)} entries of delivery.allow"
    )
    console.print(
        f"mode relay: up to {contacts:,} contacts may get mail through {delivery.relay.host}:"
        f"{delivery.relay.port}; allowed: {allowed}"
    )


async def _drive(
    options: ReplayOptions,
    console: Console,
    clock: SetClock,
    cluster: Cluster,
    twin: TwinServer | None,
    surveyed: Survey,
    started: float,
) -> Replayed:
    timeline: list[tuple[int, Counts]] = []
    folder, count = Path(options.config.data_dir), len(cluster.workers)
    senders = len(cluster.egresses)
    killer = StateKiller(folder, count, options.kills, senders) if options.kills else None
    with ProgressDisplay(console, time.monotonic) as display:

        def progress(now: int, statuses: list[WorkerStatus], events: int) -> None:
            law = _law(statuses)
            if not timeline or now - timeline[-1][0] >= 86_400_000:
                timeline.append((now, law))
            display.update(_snapshot(now, statuses, events, surveyed, law, killer))

        keyspace = Keyspace(options.config.store.partitions)
        tenant = options.config.tenant[0].name
        driver = Driver(cluster, keyspace, clock, tenant, progress, surveyed.first_ms)
        if killer is not None:
            killer.start()
        await driver.run(instants(options.log, surveyed))
        if killer is not None:
            killer.stop()
    outcomes = Outcomes()
    for worker in cluster.workers:
        await outcomes.read(worker)
    if options.sent is not None:
        outcomes.write_sent(options.sent, _message_id_domain(options.config))
    statuses = driver.statuses
    members = (await cluster.controller()).members
    sending = [await egress.status() for egress in cluster.egresses]
    arrived = sum(twin.twin.counts().taken.values()) if twin is not None else 0
    return Replayed(
        survey=surveyed,
        law=_law(statuses),
        statuses=statuses,
        outcomes=outcomes,
        events=driver.events,
        steps=driver.steps,
        wall_s=time.time() - started,
        log_end=driver.now,
        started_ms=int(started * 1000),
        arrived=arrived,
        in_the_air=sum(one.in_the_air for one in members),
        kills=sum(one.restarts for one in members),
        phases=phases_met(members),
        places=killer.places if killer is not None else Counter(),
        journeys_waiting=sum(status.facts.get("timers:c", 0) for status in statuses),
        timeline=timeline,
        senders=sending,
    )


@asynccontextmanager
async def _twin(options: ReplayOptions, clock: SetClock) -> AsyncIterator[TwinServer | None]:
    if options.config.delivery.mode != "twin":
        if options.received is not None:
            raise RefusedError(
                "--received is written by the twin, and mail goes to a relay", mend="leave it out"
            )
        yield None
        return
    data = Path(options.config.data_dir)
    recorder = Recorder(
        data / "twin", RecorderOptions(keep=options.keep_mails, fresh=True), options.received
    )
    # verifying a signature costs 10 ms of CPU, so a sample is enough while many mails arrive
    listening = TwinServerOptions(verify_every=VERIFY_EVERY)
    server = TwinServer(options.twin, clock, recorder, listening, keys_in(data))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def _cluster(
    config: Config, twin: TwinServer | None, first_ms: int
) -> AsyncIterator[Cluster]:
    count = config.workers.count or os.cpu_count() or 1
    settings = [
        WorkerSettings(
            index=index,
            count=count,
            data_dir=config.data_dir,
            config=config,
            twin_port=twin.port if twin is not None else 0,
            log_time=first_ms,
        )
        for index in range(count)
    ]
    cluster = Cluster(settings)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


def _fresh_store(config: Config) -> None:
    """A replay begins with nothing: a former run's store would know all its input ids."""
    folder = Path(config.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    count = config.workers.count or os.cpu_count() or 1
    if config.store.kind == "redis":
        begin_replay(folder, config.store.partitions, count, "redis")
        begin_replay_in(config.store.redis, config.store.partitions)
    else:
        begin_replay(folder, config.store.partitions, count)
    for name in ("store", "ledgers", "pulse", "twin"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _law(statuses: Sequence[WorkerStatus]) -> Counts:
    total: Counter[str] = Counter()
    for status in statuses:
        for counts in status.law.values():
            total.update(counts)
    return dict(total)


def _snapshot(
    now: int,
    statuses: list[WorkerStatus],
    events: int,
    surveyed: Survey,
    law: Counts,
    killer: StateKiller | None,
) -> Snapshot:
    providers: Counter[str] = Counter()
    for status in statuses:
        for route, sent in status.sent.items():
            providers[route.partition("/")[2]] += sent
    return Snapshot(
        log_ms=now,
        first_ms=surveyed.first_ms,
        last_ms=surveyed.last_ms,
        events=events,
        events_total=surveyed.rows,
        journeys_waiting=sum(status.facts.get("timers:c", 0) for status in statuses),
        messages={bucket: number for bucket, number in law.items() if bucket != ACCEPTED},
        providers={
            name: ProviderCounts(attempts=number, delivered=number)
            for name, number in sorted(providers.items())
        },
        kills=killer.killed if killer is not None else 0,
    )


def _message_id_domain(config: Config) -> str:
    heads: Mapping[str, Letterhead] = letterheads(config, secret_of)
    return heads[config.tenant[0].name].profile.message_id_domain


def run(options: ReplayOptions, console: Console) -> Replayed:
    """Run a replay in an event loop of its own."""
    import uvloop

    return uvloop.run(replay(options, console))


def read_scenarios(files: Sequence[Path]) -> dict[str, str]:
    """Read scenario files. Raises: InputError: one can't be read."""
    texts = {}
    for file in files:
        try:
            texts[str(file)] = file.read_text("utf-8")
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from error
    return texts


def templates_for(
    files: Sequence[Path], folder: Path | None, config: Config
) -> dict[str, Template]:
    """Read the templates of a run."""
    return templates_beside(files, folder, config.tenant[0])
