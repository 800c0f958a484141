"""`veredus up`: catalog, twin, workers and gateway of one instance, until it is told to end."""

from __future__ import annotations

__all__ = ("UpOptions", "run", "up")

import asyncio
import contextlib
import datetime as dt
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from actors.cluster.desk import ClusterDesk
from actors.cluster.running import Cluster
from actors.dkim_watch import KeyChooser, KeyWatch
from actors.feedback.loop import acting_of, feedback_loop
from actors.gateway.server import Gateway, product_version
from actors.health_desk import HealthDesk
from actors.instance.backend import ClusterBackend
from actors.instance.blob_keeper import BlobKeeper
from actors.instance.cluster_metrics import ClusterCollector
from actors.instance.examining import tell_preflight
from actors.instance.leaving import announced, verify_senders
from actors.instance.lock import locked
from actors.instance.metrics import WorkerCollector
from actors.instance.queues import ClusterQueues
from actors.instance.scaling import Scaling, keep_scaled
from actors.instance.starting import UP_REASON, starting
from actors.instance.tls_reports import TlsReporter, report_poster
from actors.log import configure
from actors.pacing_rules import flows_of, is_paced, rules_of
from actors.planning.instance import PlanningInstance
from actors.planning.keeper import Keeper
from actors.preflighting import Preflight, Resolve
from actors.publishing import (
    Publication,
    missing_endpoints,
    missing_templates,
    publish,
    templates_beside,
)
from actors.replay.run import read_scenarios
from actors.resolver import resolver_of
from actors.submission.content import Injector
from actors.submission.gathering import Gatherer
from actors.submission.listener import Submission
from actors.suppression.desk import Desk, open_desk
from actors.suppression.files import key_of
from actors.suppression.source import list_id_of
from actors.twin.choosing import twin_named
from actors.twin.clock import WallClock
from actors.twin.record import Recorder
from actors.twin.server import TwinServer, TwinServerOptions
from actors.twin.signatures import keys_in
from actors.webhooks.desk import WebhookDesk
from actors.worker.assembly import secret_of
from actors.worker.injected import Blobs
from actors.worker.rendering import letterheads
from actors.worker.wire import WorkerSettings
from deliverability.dns.asking import Asking
from deliverability.preflight.findings import Report
from deliverability.transport.tls_watch import TlsContexts
from engine.config import Config
from engine.errors import VeredusError
from engine.store.catalog_files import CatalogFiles
from engine.store.format import read_format, settle
from engine.store.redis_format import settle_in

log = structlog.get_logger()

LOOK_S = 1.0
VERIFY_EVERY = 10  # verifying costs 10 ms of CPU a mail


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `scenarios` and `templates` are folders; one that isn't there is empty."""

    config: Config
    scenarios: Path
    templates: Path
    twin: str = "plain"
    twin_port: int = 0


async def up(options: UpOptions, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT, then drain: intake ends, what is in the air is finished, all is durable.

    Raises: UserError: something of configuration or scenarios can't be used, or another instance runs here.
    """
    config = options.config
    configure(config.log.level, config.log.format)
    async with locked(Path(config.data_dir)):
        await _run(options, say)


async def _run(options: UpOptions, say: Callable[[str], None]) -> None:
    config = _sized(options.config)
    stop = asyncio.Event()
    chooser = KeyChooser(config, lambda asking: resolver_of(config).run(asking), _wall_ms)
    await chooser.look()
    heads = letterheads(config, secret_of)
    keys = KeyWatch(config, heads, time.monotonic)
    if config.delivery.mode == "live":
        await verify_senders(config, heads, resolver_of(config).run)
    rules_of(config)  # a mistake in a rule file is told here, not by an actor that can't begin
    if flows_of(config) and not is_paced(config):
        say("[[pacing.limit]] holds nothing back: mail isn't paced here (pacing.mode)")
    _publish(options, say)
    async with _twin(options) as twin, _desk(config) as desk, _cluster(config, twin) as cluster:
        for number in (
            signal.SIGTERM,
            signal.SIGINT,
        ):  # only now: Ray sets handlers of its own when it starts
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        backend = ClusterBackend(config, cluster, product_version())
        registry = CollectorRegistry()
        collector = WorkerCollector()
        cluster_collector = ClusterCollector()
        registry.register(collector)
        registry.register(cluster_collector)
        scaling = Scaling(config, cluster, lambda: time.monotonic_ns() // 1_000_000)
        rings = {name: head.ring for name, head in heads.items()}
        injector = Injector(config, heads, Blobs(Path(config.data_dir), _wall_ms()), _wall_ms)
        keeper = Keeper(
            Path(config.data_dir),
            PlanningInstance(backend, cluster, config.store.partitions),
            config.store.partitions,
            _wall_ms,
        )
        keeper.preflight = preflight = Preflight(config, heads, _asked(config), _wall_ms)
        webhooks = WebhookDesk(config, backend, registry, _wall_ms)
        queues = ClusterQueues(config, cluster, backend)
        async with feedback_loop(config, desk, backend, backend.feeds, rings, _wall_ms) as feedback:
            cluster_desk = ClusterDesk(config, cluster, scaling.resize)
            health = HealthDesk(config, cluster, queues, feedback.watcher, _wall_ms)
            queues.estimate = health.waits
            shared = (injector, keeper, queues, feedback, webhooks, cluster_desk, health)
            gateway = Gateway(config, backend, registry, rings, *shared)
            submission = Submission(config, backend, injector, heads, registry, _wall_ms)
            ready = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(gateway.serve(ready, stop))
                looking = tasks.create_task(_look(backend, collector, keys))
                choosing = tasks.create_task(chooser.run())
                blob_keeper = BlobKeeper(config, lambda s: backend.blobs(start=s), _wall_ms)
                sweeping = tasks.create_task(blob_keeper.run())
                watching_cluster = tasks.create_task(
                    keep_scaled(backend, cluster, scaling, cluster_collector.look)
                )
                publishing = tasks.create_task(_bring_catalogs(config, cluster))
                planning = tasks.create_task(keeper.serve())
                watching = tasks.create_task(feedback.watcher.run())
                acting = acting_of(config, queues, feedback.watcher, _wall_ms)
                measuring = tasks.create_task(acting.run()) if acting is not None else None
                telling = tasks.create_task(webhooks.run())
                reporting = tasks.create_task(_report_tls(config, injector, backend))
                caring = tasks.create_task(health.run())
                await ready.wait()
                host, port = gateway.address
                say(f"veredus is up: http://{host}:{port}  (data in {config.data_dir})")
                if twin is not None:
                    say(
                        f"mail goes to the twin on port {twin.port}; read it with `veredus twin --inbox`"
                    )
                else:
                    statuses = await backend.statuses()
                    say(announced(config, (c for one in statuses for c in one.law.values())))
                for line in await submission.start():
                    say(line)
                tenants = [one.name for one in config.tenant]
                examining = tasks.create_task(
                    tell_preflight(preflight, keeper.versions, tenants, say)
                )
                await serving
                await submission.stop()
                examining.cancel()
                looking.cancel()
                watching_cluster.cancel()
                await scaling.close()
                publishing.cancel()
                planning.cancel()
                watching.cancel()
                if measuring is not None:
                    measuring.cancel()
                telling.cancel()
                reporting.cancel()
                caring.cancel()
                choosing.cancel()
                sweeping.cancel()
                await webhooks.close()
        say("draining")


def _asked(config: Config) -> Resolve:
    """Ask DNS what an examination asks, with a cache for it alone: what was mended since is seen."""

    async def ask(asking: Asking[list[Report]]) -> list[Report]:
        return await resolver_of(config).run(asking)

    return ask


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _sized(config: Config) -> Config:
    """Fix the number of workers: as configured, else as the data directory was made, else one a core."""
    folder, partitions = Path(config.data_dir), config.store.partitions
    made = read_format(folder)
    count = config.workers.count
    if not count and config.workers.ray_address:
        count = config.scaling.workers_min
    elif not count and made is not None and made.kind == "rocksdb":
        count = made.stores
    elif not count:
        count = os.cpu_count() or 1
    if config.store.kind != "memory":
        settle(folder, partitions, count, kind=config.store.kind)
    if config.store.kind == "redis":
        settle_in(config.store.redis, partitions)
    return msgspec.structs.replace(
        config, workers=msgspec.structs.replace(config.workers, count=count)
    )


def _publish(options: UpOptions, say: Callable[[str], None]) -> None:
    config = options.config
    tenant = config.tenant[0]
    files = sorted(options.scenarios.glob("*.yaml")) if options.scenarios.is_dir() else []
    folder = options.templates if options.templates.is_dir() else None
    templates = templates_beside([], folder, tenant) if folder is not None else {}
    chosen = starting(Path(config.data_dir), tenant.name, read_scenarios(files))
    for line in chosen.overtaken:
        say(line)
    publication = Publication(tenant.name, chosen.texts, templates)
    for line in missing_templates(publication):
        say(line)
    publish(
        config,
        letterheads(config, secret_of),
        [publication],
        now=time.time_ns() // 1_000_000,
        actor=f"uid {os.getuid()}",
        reason=UP_REASON,
    )
    for line in missing_endpoints(config):
        say(line)


async def _look(backend: ClusterBackend, collector: WorkerCollector, keys: KeyWatch) -> None:
    """Keep the metrics fresh, and the keys that sign what is put together here."""
    while True:
        keys.look()
        try:
            collector.look(await backend.statuses())
        except VeredusError as error:
            log.warning("status_failed", error=str(error))
        await asyncio.sleep(LOOK_S)


async def _bring_catalogs(config: Config, cluster: Cluster) -> None:
    """Bring what was published while the instance runs to all workers."""
    catalogs = CatalogFiles(Path(config.data_dir) / "catalog")
    told = catalogs.head().version
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            newest = catalogs.head().version
            if newest > told:
                used = await cluster.publish(newest)
                log.info("catalog_published", version=newest, workers=used)
                told = newest
        except VeredusError as error:
            log.warning("publish_failed", error=str(error))


async def _report_tls(config: Config, injector: Injector, backend: ClusterBackend) -> None:
    """Send reports on TLS, where sessions are counted and somebody is named who reports."""
    tls = config.delivery.tls
    if config.delivery.mode != "live" or tls.report == "off" or not tls.report_from:
        return
    gatherer = Gatherer(config, injector, backend, _wall_ms)
    gatherer.start()
    resolver = resolver_of(config)
    posting = report_poster(config, resolver, TlsContexts().open)
    try:
        await TlsReporter(
            config,
            injector,
            resolver.run,
            gatherer.take,
            lambda: dt.datetime.now(dt.UTC),
            posting,
        ).run()
    finally:
        await gatherer.stop()


@contextlib.asynccontextmanager
async def _twin(options: UpOptions) -> AsyncIterator[TwinServer | None]:
    if options.config.delivery.mode != "twin":
        yield None
        return
    data = Path(options.config.data_dir)
    listening = TwinServerOptions(port=options.twin_port, verify_every=VERIFY_EVERY)
    recorder = Recorder(data / "twin")
    server = TwinServer(twin_named(options.twin), WallClock(), recorder, listening, keys_in(data))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def _desk(config: Config) -> AsyncIterator[Desk]:
    """Open the suppression list: before the workers, who must know it."""
    kind: Literal["rocksdb", "memory"] = "memory" if config.store.kind == "memory" else "rocksdb"
    desk = open_desk(Path(config.data_dir), kind)
    try:
        yield desk
    finally:
        desk.close()


@contextlib.asynccontextmanager
async def _cluster(config: Config, twin: TwinServer | None) -> AsyncIterator[Cluster]:
    count, made = config.workers.count, read_format(Path(config.data_dir))
    cluster = Cluster(
        [
            WorkerSettings(
                index=index,
                count=count,
                data_dir=config.data_dir,
                config=config,
                twin_port=twin.port if twin is not None else 0,
                placed=config.store.kind == "redis" and config.workers.roles == "fused",
                suppression=True,
                suppression_list=list_id_of(key_of(Path(config.data_dir))),
            )
            for index in range(count)
        ],
        feeds=made.stores if made is not None and made.kind == "redis" else 0,
    )
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


def run(options: UpOptions, say: Callable[[str], None]) -> None:
    """Run an instance in an event loop of its own."""
    import uvloop

    uvloop.run(up(options, say))
