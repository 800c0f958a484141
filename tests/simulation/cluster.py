"""All workers of a seed, their disks and ledgers, and the faults that befall them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from deliverability.egress import Egress
from deliverability.governor import Governor, Limit
from deliverability.message.machine import MessageMachine
from deliverability.message.stream_policy import StreamPolicy
from deliverability.transport.ledger import LedgerFile
from engine.entities import Machines
from engine.errors import RefusedError, StoreError
from engine.host import Host
from engine.keyspace import Keyspace
from tests.simulation.disk import COMMIT_FAULTS, Crash, Disk, SimStore
from tests.simulation.life import HORIZON_MS, Life
from tests.simulation.people import PersonMachine
from tests.simulation.sink import Sink
from tests.simulation.world import Network, World

HOUR = 3_600_000
PARTITIONS = 4
CONNECTIONS = 6
FAULTS = (
    *(f"commit {fault}" for fault in COMMIT_FAULTS),
    "crash",
    "crash in release",
    "crash in sync",
    "drain",
    "new catalog",
    "overtaken while paused",
    "partition leaves",
    "pause",
    "lost ledger",
    "clogged",
    "clock",
    "slow peers",
    "silent peers",
    "peers down",
)


class Plan(msgspec.Struct, frozen=True):
    """Which classes take part: the production ones, or planted variants of them."""

    host: Any = Host
    egress: Any = Egress
    ledger: Any = LedgerFile
    store: Any = SimStore
    life: Any = Life


class Policies:
    """The catalog of this world: how streams are treated."""

    streams: Mapping[str, StreamPolicy] = {
        "marketing": StreamPolicy(expires_ms=12 * HOUR, retention_ms=400 * HOUR),
        "hold": StreamPolicy(in_doubt="hold", expires_ms=12 * HOUR, retention_ms=400 * HOUR),
        "brief": StreamPolicy(expires_ms=HOUR // 2, retention_ms=60_000),
    }

    def __init__(self, version: int = 1, *, mended: bool = False) -> None:
        self.version = version
        self._mended = mended

    def mend(self) -> Policies:
        """Make the next catalog, in which nothing is poison any more."""
        return Policies(self.version + 1, mended=True)

    def find(self, section: str, tenant: str, name: str) -> Any:
        """Give a stream's policy; or whether what was poison is mended."""
        if section == "mended":
            return self._mended
        return self.streams.get(name) if section == "stream" else None

    def all(self, section: str, tenant: str) -> Mapping[str, Any]:
        """Give them all."""
        return self.streams if section == "stream" else {}


class Cluster:
    """The workers, from outside."""

    def __init__(self, world: World, plan: Plan, folder: Path) -> None:
        self.world = world
        self.plan = plan
        self.workers = world.chance.choice((1, 2, 2, 2, 3))
        self.keyspace = Keyspace(PARTITIONS)
        self.machines = Machines((PersonMachine(), MessageMachine()))
        self.catalog = Policies()
        limits = (Limit("b.example", CONNECTIONS, 1200, burst=6), Limit("*", CONNECTIONS))
        self.governor = Governor(limits, self.workers)
        self.network = Network(world)
        self.sink = Sink(world)
        self.skew = [0] * self.workers
        self.incarnations = 0
        self.in_the_air = 0  # marks whose outcome nobody heard
        self.lost_hands = 0  # declared in doubt because their egress was lost
        self.owners: dict[int, Life] = {}
        self.lives: dict[int, Life] = {}  # by incarnation, those that run
        self.disks = [Disk(world) for _ in range(self.workers)]
        self.audit: Callable[[], None] = lambda: None
        self._folder = folder
        self._overtaking = False
        for index, disk in enumerate(self.disks):
            disk.overtake = self._overtaker(index)
            self.start(index)

    # ---- ledgers

    def ledger_path(self, index: int, incarnation: int) -> Path:
        """Name the ledger of a life."""
        return self._folder / f"w{index}-{incarnation}.ledger"

    def ledgers(self, index: int, but: int) -> list[Path]:
        """List the ledgers of a worker's other lives."""
        mine = self.ledger_path(index, but)
        return sorted(one for one in self._folder.glob(f"w{index}-*.ledger") if one != mine)

    def unlink(self, path: str) -> None:
        """Remove a ledger that isn't wanted any more."""
        Path(path).unlink(missing_ok=True)

    # ---- life and death

    def start(self, index: int) -> None:
        """Start a worker; the former one of its number, if it lives, is the former owner now."""
        former = self.owners.get(index)
        try:
            life: Life = self.plan.life(self, index)
        except (Crash, StoreError, RefusedError):
            self.world.reach("life: died while it started")
            if self.owners.get(index) is former:
                self.owners.pop(index, None)
            self.world.after(300, lambda: self.start_if_none(index))
            return
        self.owners[index] = life
        self.lives[life.incarnation] = life
        self.world.tell(f"worker {index} lives as incarnation {life.incarnation}")
        life.do(life.begin)

    def start_if_none(self, index: int) -> None:
        """Start a worker that isn't there."""
        if index not in self.owners:
            self.start(index)

    def bury(self, life: Life, *, lose_ledger: bool = False) -> None:
        """A process dies: its memory and its locks are gone, its disk and its ledger stay."""
        if life.dead:
            return
        world = self.world
        life.dead = True
        del self.lives[life.incarnation]
        world.tell(f"incarnation {life.incarnation} dies, in the air: {life.smtp.in_the_air}")
        self.in_the_air += life.smtp.in_the_air
        world.reach("crash: with messages in the air" if life.smtp.in_the_air else "crash")
        life.smtp.buried()
        path = self.ledger_path(life.index, life.incarnation)
        if path.exists():
            life.ledger.close()
            if lose_ledger:
                path.unlink()
            elif world.chance.random() < 0.3:
                world.reach("ledger: torn tail")
                with path.open("ab") as file:
                    file.write(b"B" + bytes(world.chance.randrange(19)))
        if self.owners.get(life.index) is life:
            self.disks[life.index].lose()
        self.audit()
        if self.owners.get(life.index) is life:
            del self.owners[life.index]
            delay = world.chance.choice((50, 300, 3000))
            world.after(delay, lambda: self.start_if_none(life.index))

    def exit(self, life: Life) -> None:
        """An orphan has nothing left to tell: it ends, and its ledger can be adopted."""
        self.world.reach("life: orphan ends")
        life.dead = True
        self.lives.pop(life.incarnation, None)
        life.ledger.close()

    def _overtaker(self, index: int) -> Callable[[], None]:
        def overtake() -> None:
            if self._overtaking or index not in self.owners:
                return  # a claim is under way
            self._overtaking = True
            self.start(index)
            self._overtaking = False

        return overtake

    # ---- faults

    def plan_faults(self) -> int:
        """Spread this seed's faults over its time. Returns how many."""
        chance = self.world.chance
        number = chance.choice((3, 3, 4, 5, 7))
        for _ in range(number):
            fault = chance.choice(FAULTS)
            when = int(chance.random() * 10_000)
            if chance.random() < 0.2:
                when = int(chance.random() * HORIZON_MS)
            index = chance.randrange(self.workers)
            self.world.after(when, lambda f=fault, i=index: self.befall(f, i))  # type: ignore[misc]  # bound early
        return number

    def befall(self, fault: str, index: int) -> None:
        """Let a fault happen to a worker."""
        world, chance, life = self.world, self.world.chance, self.owners.get(index)
        world.reach(f"fault: {fault}")
        if fault.startswith("commit "):
            self.disks[index].armed.append(fault.partition(" ")[2])  # type: ignore[arg-type]  # of COMMIT_FAULTS
            return
        match fault:
            case "clogged":
                self.network.clog(index, chance.randrange(500, 20_000))
            case "clock":
                self.skew[index] = chance.choice((-HOUR, 0, HOUR))
            case "slow peers":
                self.sink.slow_until = world.now + chance.randrange(1000, 20_000)
            case "silent peers":
                self.sink.silent_until = world.now + chance.randrange(1000, 20_000)
            case "peers down":
                self.sink.down_until = world.now + chance.randrange(1000, 60_000)
            case _ if life is not None:
                self._hit(fault, index, life)
            case _:
                world.reach("fault: met nobody")

    def _hit(self, fault: str, index: int, life: Life) -> None:
        chance = self.world.chance
        match fault:
            case "crash":
                self.bury(life)
            case "drain":
                life.egress.draining = True
                self.world.after(chance.choice((10, 2500)), lambda: self.bury(life))
            case "new catalog":
                self.catalog = Policies(self.catalog.version + 1)
                life.host.publish(self.catalog)
            case "lost ledger":
                self.bury(life, lose_ledger=True)
            case "crash in release":
                life.crash_in_release = True
            case "crash in sync":
                life.crash_in_sync = True
                self.disks[index].armed.append("synced late")
            case "partition leaves":
                number = chance.choice(range(index, PARTITIONS, self.workers))
                life.do(lambda: life.lending.lend(number))
            case "pause":
                life.pause(chance.choice((100, 3000, 15_000, 90_000)))
            case "overtaken while paused":
                life.pause(chance.choice((100, 3000, 15_000, 90_000)))
                self.world.after(chance.choice((10, 1000)), lambda: self._take_over(index, life))

    def _take_over(self, index: int, life: Life) -> None:
        if self.owners.get(index) is life:
            self.audit()
            self.start(index)

    def close(self) -> None:
        """Close what the operating system holds."""
        for life in self.lives.values():
            life.ledger.close()


def scratch() -> Path:
    """Make a folder for ledgers, in memory where there is one."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="veredus-sim-", dir=memory if memory.is_dir() else None))


def discard(folder: Path) -> None:
    """Remove it."""
    shutil.rmtree(folder, ignore_errors=True)
