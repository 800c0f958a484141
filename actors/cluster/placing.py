"""The steward beside the controller: who owns which partition, kept in `placement.json` of the data directory."""

from __future__ import annotations

__all__ = ("PlacementView", "PlacingDesk")

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from actors.cluster.views import PlacedWorker
from actors.worker.holding import Placed
from engine.errors import InputError, StoreError
from engine.placement.steward import Report, Steward, Table
from engine.store.catalog_files import write_durably


class PlacementView(msgspec.Struct, frozen=True):
    """Who owns what, and what is on its way."""

    table: Table
    workers: list[PlacedWorker]
    in_motion: list[int]
    serving: list[str] = []
    """By partition whom to ask: its holder as long as that has it, else the owner, who waits to take it."""

    def keeps(self, worker: str) -> bool:
        """Whether a worker has partitions, or is about to. What one had that is lost keeps nobody waiting."""
        return any(
            one.name == worker and (one.owns > 0 or (one.holds > 0 and one.alive))
            for one in self.workers
        )


class PlacingDesk:
    """The steward of one controller's life.

    Args:
        folder: the data directory.
        partitions: how many there are.
        workers: those that are about to come; they own everything at first.
        mono_ms: the monotonic clock.

    Raises: StoreError: what a former life wrote can't be read.
    """

    def __init__(
        self, folder: Path, partitions: int, workers: Sequence[str], mono_ms: Callable[[], int]
    ) -> None:
        self._path = folder / "placement.json"
        self._mono_ms = mono_ms
        table = self._read()
        if table is None or len(table.owners) != partitions:
            table = Table(1, [workers[number % len(workers)] for number in range(partitions)])
            self._write(table)
        self._steward = Steward(partitions, table, self._write, mono_ms())

    def report(self, report: Report, version: int) -> Placed:
        """Hear a worker that knows a version of the table."""
        orders = self._steward.report(report, self._mono_ms())
        table = self._steward.table
        return Placed(orders, table if table.version != version else None)

    def look(self) -> None:
        """Let time pass."""
        self._steward.look(self._mono_ms())

    def drain(self, worker: str, *, back: bool) -> None:
        """Take all partitions from a worker, or let it have some again. Raises: InputError: there is none such."""
        known = {one.name for one in self.view().workers}
        if worker not in known:
            raise InputError(
                f"there is no worker {worker!r}", mend=f"one of {', '.join(sorted(known))}"
            )
        if back:
            self._steward.undrain(worker)
        else:
            self._steward.drain(worker)
        self._steward.look(self._mono_ms())

    def forget(self, worker: str) -> None:
        """Hear that a worker has gone for good."""
        self._steward.forget(worker)

    def rebalance(self) -> int:
        """Place by load as it is now. Returns how many partitions will move."""
        return self._steward.rebalance(self._mono_ms())

    def view(self) -> PlacementView:
        """Tell everything."""
        now = self._mono_ms()
        steward = self._steward
        holds, load = steward.holds(), steward.load()
        living, fit = set(steward.living(now)), set(steward.fit(now))
        owners = steward.table.owners
        names = sorted({*holds, *filter(None, owners)})
        workers = [
            PlacedWorker(
                name,
                name in living,
                owners.count(name),
                len(holds.get(name, ())),
                sum(load.get(number, 0.0) for number in holds.get(name, ())),
                draining=name in living and name not in fit,
            )
            for name in names
        ]
        return PlacementView(steward.table, workers, steward.in_motion(now), self._serving(living))

    def _serving(self, living: set[str]) -> list[str]:
        """Name whom to ask for each partition: a new owner can't answer before the former one has let go."""
        serving = list(self._steward.table.owners)
        for name, held in self._steward.holds().items():
            for number in held if name in living else ():
                owner = serving[number]
                if owner != name and number not in self._steward.holds().get(owner, ()):
                    serving[number] = name
        return serving

    def _write(self, table: Table) -> None:
        write_durably(self._path, msgspec.json.encode(table))

    def _read(self) -> Table | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Table)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise StoreError(f"{self._path}: {error}") from error
