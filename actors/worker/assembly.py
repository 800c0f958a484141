"""The parts of a worker, put together: store, host, catalog, ledger, egress, delivery."""

from __future__ import annotations

__all__ = (
    "Assembly",
    "LiveCatalog",
    "Ports",
    "assemble",
    "assemble_sending",
    "catalog_compilers",
    "classify",
    "ledgers_of",
    "limits_of",
    "machines_of",
    "open_store",
    "secret_of",
    "senders_of",
)

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from actors.dkim_watch import KeyWatch
from actors.operations.room import disk_free_bytes, memory_free_bytes
from actors.suppression.files import hasher_of
from actors.suppression.follow import guard_of
from actors.worker.attempts import attempts_of
from actors.worker.egress_port import EgressPort, LocalEgress
from actors.worker.injected import Blobs
from actors.worker.leases import LeaseDesk
from actors.worker.pacing import PaceDesk, PacedGate
from actors.worker.remote_egress import RemoteEgress, RemoteSettings
from actors.worker.rendering import Letterhead, MailRenderer, compile_template_object, letterheads
from actors.worker.syncing import SLOW_S
from actors.worker.ways import build_ways
from actors.worker.wire import WorkerSettings
from deliverability.egress import Egress, EgressSettings
from deliverability.feedback.replies import classify_reply
from deliverability.governor import Gate, Governor, Lease, Limit
from deliverability.marks import SECTION, Marks
from deliverability.message.machine import MessageMachine
from deliverability.message.stream_policy import StreamPolicy
from deliverability.suppression.entry import Hasher
from deliverability.suppression.view import Guard
from deliverability.transport.delivery import Delivery
from deliverability.transport.ledger import LedgerFile, ledger_path
from deliverability.transport.target import Verdict
from engine.catalog import Catalog, Compiler, Head
from engine.config import Config, Tenant
from engine.entities import Machines
from engine.errors import DamageError, RefusedError, StoreError, VeredusError
from engine.host import Host
from engine.inputs import PartitionSettings
from engine.keyspace import Keyspace
from engine.machine import CatalogView
from engine.once import OnceMachine
from engine.store.catalog_files import CatalogFiles
from engine.store.format import store_path
from engine.store.memory import MemoryStore
from engine.store.protocol import Store
from engine.store.redis import RedisStore
from engine.store.rocksdb import RocksStore, lock_holder
from engine.tick import HostSettings
from scenarios.campaign import Campaign, scenario_of
from scenarios.checking import load as load_scenario
from scenarios.compiling import CompiledScenario, compile_scenario
from scenarios.contact import ContactMachine
from scenarios.coupons import CouponMachine
from scenarios.experiments import Ruling
from scenarios.migration import Migration
from scenarios.products import products_of
from scenarios.segments import Segment, compile_segment
from scenarios.settings import ContactSettings, Pause

log = structlog.get_logger()

LOCK_WAIT_S = 10.0
DAY_MS = 86_400_000
CENTURY = 36_500  # days
STAGES = {"greeting": "connect", "mail": "mail", "rcpt": "rcpt", "data": "data", "dot": "data"}


class LiveCatalog:
    """The catalog in use, and the next one when it is there."""

    def __init__(self, folder: Path, compilers: Mapping[str, Compiler]) -> None:
        self._files = CatalogFiles(folder)
        self._compilers = compilers
        head = self._files.head()
        self.current = Catalog(head, self._files.load(head), compilers)

    def refresh(self) -> bool:
        """Load a newer catalog. Returns whether there was one."""
        head = self._files.head()
        if head.version <= self.current.version:
            return False
        self.current = Catalog(head, self._files.load(head), self._compilers, self.current)
        return True


class Assembly:
    """What `assemble` made; the worker drives it."""

    def __init__(
        self,
        host: Host,
        egress: EgressPort,
        holder: bytes,
        catalog: LiveCatalog,
        data_dir: Path,
        old_ledgers: list[Path],
        guard: Guard | None = None,
    ) -> None:
        self.host = host
        self.egress = egress
        self.holder = holder
        self.old_ledgers = old_ledgers
        self.guard = guard
        self._data_dir = data_dir
        self._catalog = catalog
        self._use_catalog()

    def foreign_ledgers(self, holders: set[bytes]) -> list[Path]:
        """List what holders left behind that don't run any more: roles or their number were others then."""
        gone = sorted(holder.decode() for holder in holders - {self.holder})
        found = [path for holder in gone for path in ledgers_of(self._data_dir, holder)]
        return [path for path in found if path not in self.old_ledgers]

    def _use_catalog(self) -> None:
        self.host.publish(self._catalog.current)
        self.egress.catalog = self._catalog.current.version

    @property
    def catalog(self) -> CatalogView:
        """The catalog in use."""
        return self._catalog.current

    def refresh_catalog(self) -> int:
        """Load a newer catalog, if there is one. Returns the version in use."""
        if self._catalog.refresh():
            self._use_catalog()
        return self._catalog.current.version

    def close(self, *, clean: bool) -> None:
        """Close egress and store. `clean`: nothing is open between them."""
        self.egress.close(clean=clean)
        self.host.store.close()


async def open_store(settings: WorkerSettings) -> Store:
    """Open the worker's store; a former life may hold its lock for a few seconds after its death.

    Raises:
        DamageError: what is stored can't be trusted.
        RefusedError: another process has it, which is named; the Redis isn't durable.
    """
    config = settings.config
    if config.store.kind == "memory":
        return MemoryStore()
    if config.store.kind == "redis":
        return RedisStore(config.store.redis, settings.index)
    path = store_path(Path(settings.data_dir), settings.index, settings.count)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return RocksStore(path, config.store.cache_mb)
        except DamageError:
            raise
        except StoreError as error:
            if f"{path}/LOCK" not in str(error):
                raise
            if time.monotonic() > deadline:
                holder = lock_holder(path)
                who = f"process {holder}" if holder else "another process"
                raise RefusedError(f"the store {path} is in use by {who}") from error
            log.info("store_locked", path=str(path))
            await asyncio.sleep(0.1)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Ports(msgspec.Struct, frozen=True):
    """The world around a worker: how its store is opened, wall clock in ms, free bytes of disk and memory, leases."""

    open_store: Callable[[WorkerSettings], Awaitable[Store]] = open_store
    sync_slow_s: float = SLOW_S
    wall_ms: Callable[[], int] = _wall_ms
    disk_free: Callable[[Path], int] = disk_free_bytes
    memory_free: Callable[[], int | None] = memory_free_bytes
    leases: LeaseDesk | None = None
    pace: PaceDesk | None = None


async def assemble(
    settings: WorkerSettings,
    now: Callable[[], int],
    concluded: Callable[[], None],
    ports: Ports,
) -> Assembly:
    """Open and build everything that a worker needs.

    Args:
        settings: which worker.
        now: the time that is stamped, in ms.
        concluded: called when the egress has new outcomes.
        ports: the world.

    Raises: RefusedError when somebody else has the store; ConfigError for keys and files that aren't good.
    """
    data = Path(settings.data_dir)
    heads = letterheads(settings.config, secret_of)
    store = await ports.open_store(settings)
    try:
        guard = guard_for(settings, now)
        host = _host(settings, store, guard)
    except VeredusError:
        store.close()  # or a second attempt would meet our own lock
        raise
    catalog = LiveCatalog(data / "catalog", catalog_compilers(heads))
    # where partitions move, ledgers are asked when one is taken, and kept for whoever takes the next
    old = [] if settings.placed else ledgers_of(data, f"w{settings.index}")
    holder = f"w{settings.index}"
    egress: EgressPort
    if settings.config.workers.roles == "split":
        holder = f"e{settings.index % senders_of(settings)}"
        lost = RemoteSettings(lost_after_ms=settings.config.workers.egress_lost_after_s * 1000)
        loop = asyncio.get_running_loop()
        egress = RemoteEgress(
            settings.index, holder.encode(), now, lambda: int(loop.time() * 1000), lost
        )
    else:
        count = settings.count
        sending = assemble_sending(
            settings,
            holder,
            count,
            heads,
            catalog,
            now,
            concluded,
            guard=guard,
            leases=ports.leases,
            pace=ports.pace,
        )
        egress = LocalEgress(*sending, now)
    return Assembly(host, egress, holder.encode(), catalog, data, old, guard)


def senders_of(settings: WorkerSettings) -> int:
    """Tell how many egresses there are when roles are split."""
    return settings.config.workers.egress_count or settings.count


def ledgers_of(data_dir: Path, holder: str) -> list[Path]:
    """List the ledgers that lives of a holder left behind."""
    return sorted((data_dir / "ledgers").glob(f"{holder}-*.ledger"))


def assemble_sending(
    settings: WorkerSettings,
    holder: str,
    senders: int,
    heads: Mapping[str, Letterhead],
    catalog: LiveCatalog,
    now: Callable[[], int],
    concluded: Callable[[], None],
    guard: Guard | None = None,
    leases: LeaseDesk | None = None,
    pace: PaceDesk | None = None,
) -> tuple[Egress, Delivery, Gate, LedgerFile]:
    """Build what sends: a new incarnation of an egress with its ledger, its rates, and its delivery.

    Args:
        settings: `index` says which one of `senders`.
        holder: the name under which messages are held.
        senders: how many share the limits.
        heads: what the mail of each tenant has in common.
        catalog: where templates are found.
        now: the time of inputs, ms.
        concluded: called when there are new outcomes.
        leases: shares by demand; None: equal shares.
        guard: knows to whom no mail may go; None: made here, if the instance keeps a list.
        pace: gives what providers are believed to take; None: mail isn't paced.
    """
    config, data = settings.config, Path(settings.data_dir)
    incarnation = time.time_ns() // 1000
    ledger = LedgerFile(
        ledger_path(data, holder, incarnation),
        sync=config.delivery.ledger_sync == "power_loss",
    )
    limits = EgressSettings(work_ahead_ms=config.workers.credit_horizon_ms)
    renderer = MailRenderer(heads, lambda: catalog.current, Blobs(data))
    governor = Governor(limits_of(config), senders)

    def lease_of(route: str) -> Lease:
        return governor.lease(settings.index, route.partition("/")[2])

    if leases is not None:
        leases.begin(incarnation, lease_of)
    ways = build_ways(
        settings, leases.lease if leases is not None else lease_of, classify, concluded
    )
    watch = guard or guard_for(settings, now)
    weights = {tenant.name: tenant.weight for tenant in config.tenant}
    egress = Egress(holder.encode(), incarnation, ledger, limits, watch, ways.queue_of, weights)
    attempts = attempts_of(config, data, holder)
    gate = ways.gate
    if pace is not None:
        loop = asyncio.get_running_loop()
        # in a replay what providers take flows with the log's time
        clock = now if settings.log_time is not None else (lambda: int(loop.time() * 1000))
        pace.begin(incarnation, ways.paths_of, clock, concluded)
        gate = PacedGate(ways.gate, pace, ways.queue_of)

    keys = KeyWatch(config, heads, time.monotonic)

    def look() -> None:
        ways.look()
        attempts.look()
        keys.look()
        if pace is not None:
            pace.look()

    def ended() -> None:
        ways.close()
        attempts.close()

    delivery = Delivery(egress, renderer, ways.target_of, classify, now, concluded, look, ended)
    attempts.follow(delivery)
    if leases is not None:
        leases.serve(delivery)
    if pace is not None:
        pace.serve(delivery)
    return egress, delivery, gate, ledger


def catalog_compilers(heads: Mapping[str, Letterhead]) -> dict[str, Compiler]:
    """Give the compilers of the catalog's sections."""
    return {
        "scenario": _compile_scenario,
        "scenario-version": _compile_scenario,
        "template": compile_template_object(heads),
        SECTION: lambda _tenant, _name, content: msgspec.json.decode(content, type=Marks),
        "stream": lambda _tenant, _name, content: msgspec.json.decode(content, type=StreamPolicy),
        "migration": lambda _tenant, _name, content: msgspec.json.decode(content, type=Migration),
        "segment": lambda _tenant, _name, content: compile_segment(
            msgspec.json.decode(content, type=Segment)
        ),
        "experiment": lambda _tenant, _name, content: msgspec.json.decode(content, type=Ruling),
        "products": lambda _tenant, _name, content: products_of(content),
        "pause": lambda _tenant, _name, content: msgspec.json.decode(content, type=Pause),
        "campaign": lambda _tenant, _name, content: compile_scenario(
            scenario_of(msgspec.json.decode(content, type=Campaign))
        ),
        "setting": lambda _tenant, _name, content: msgspec.json.decode(
            content, type=ContactSettings
        ),
    }


def _compile_scenario(_tenant: str, name: str, content: bytes) -> CompiledScenario:
    return compile_scenario(load_scenario(content.decode(), f"{name}.yaml"))


def machines_of(
    config: Config, guard: Guard | None = None, hasher: Hasher | None = None
) -> Machines:
    """Give the kinds of entities of a deployment, with the suppression list they ask, if there is one."""
    contacts = ContactMachine(guard.reason if guard is not None else None)
    messages = MessageMachine(config.delivery.curve, hasher.of if hasher is not None else None)
    return Machines((contacts, messages, OnceMachine(), CouponMachine()))


def guard_for(settings: WorkerSettings, now: Callable[[], int]) -> Guard | None:
    """Make what knows to whom no mail may go; None where the instance keeps no list."""
    if not settings.suppression:
        return None
    folder, copied = _list_folder(settings), bool(settings.suppression_dir)
    return guard_of(folder, lambda: time.monotonic_ns() // 1_000_000, now, copied=copied)


def _list_folder(settings: WorkerSettings) -> Path:
    """Tell where the suppression list and its key are."""
    return Path(settings.suppression_dir or settings.data_dir)


def _host(settings: WorkerSettings, store: Store, guard: Guard | None) -> Host:
    config = settings.config
    partition = PartitionSettings(
        horizon_ms=config.store.horizon_days * DAY_MS,
        # a replay's report counts all of its journeys, however long its log is
        records_kept_ms=(config.store.retention_days if settings.log_time is None else CENTURY)
        * DAY_MS,
    )
    hasher = hasher_of(_list_folder(settings)) if settings.suppression else None
    return Host(
        store,
        machines_of(config, guard, hasher),
        Keyspace(config.store.partitions),
        Catalog(Head(), {}, {}),
        () if settings.placed else range(settings.index, config.store.partitions, settings.count),
        HostSettings(
            batch_max=config.workers.batch_max,
            partition=partition,
            weights={tenant.name: tenant.weight for tenant in config.tenant},
        ),
    )


def secret_of(tenant: Tenant) -> bytes:
    """Read what signs a tenant's reverse-paths and links."""
    if not tenant.secret_file:
        return b"veredus without a secret file: twin and demo only"
    return Path(tenant.secret_file).read_bytes()


def classify(code: int, enhanced: str, text: str, phase: str) -> Verdict:
    """Tell what a reply means. `phase`: the command that was answered."""
    cause = str(classify_reply(str(code), enhanced, text, stage=STAGES.get(phase, "")).cause)
    return Verdict(cause, "retry" if code < 500 else "fail")


def limits_of(config: Config) -> tuple[Limit, ...]:
    """Give the limits of domains, the default last."""
    named = [
        Limit(domain, limits.connections_max, int(limits.messages_per_s * 60), limits.burst)
        for domain, limits in sorted(config.limits.items())
        if domain != "default"
    ]
    default = config.limits_of("default")
    rest = Limit("*", default.connections_max, int(default.messages_per_s * 60), default.burst)
    return (*named, rest)
