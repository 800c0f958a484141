"""Runs on disk: what each is to do, how far it came, what it counted. One file each, replaced as a whole."""

from __future__ import annotations

__all__ = ("Run", "RunFiles", "RunState", "run_id")

from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from actors.planning.aims import Aim
from engine.errors import DamageError, InputError
from engine.store.catalog_files import write_durably

RunState = Literal["running", "paused", "done", "cancelled"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A walk over a tenant's contacts.

    `places` is where to go on by partition (hexadecimal key; None: nothing was begun). It doesn't begin before all
    workers use version `catalog`. `rate_per_s`: inputs a second at most (0: as fast as it goes).
    """

    id: str
    tenant: str
    aim: Aim
    subject: str  # what it is about, for who reads lists: `scenario s`
    actor: str = ""
    reason: str = ""
    created_at: int = 0
    finished_at: int = 0
    state: RunState = "running"
    catalog: int = 0
    rate_per_s: float = 0.0
    not_before: int = 0
    places: list[tuple[int, str]] | None = None
    looked: int = 0
    given: int = 0
    counts: dict[str, int] = {}


def run_id(*parts: str) -> str:
    """Name a run by what it is: the same parts give the same run."""
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


class RunFiles:
    """The runs of a data directory. One writer."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "runs"

    def add(self, run: Run) -> Run:
        """Write a new run, unless there is one of its id already, which is given back."""
        known = self.find(run.id)
        if known is not None:
            return known
        self.keep(run)
        return run

    def keep(self, run: Run) -> None:
        """Write how a run stands; durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._path(run.id), msgspec.json.encode(run))

    def find(self, identity: str) -> Run | None:
        """Read a run."""
        path = self._path(identity)
        return _read(path) if path.exists() else None

    def get(self, identity: str) -> Run:
        """Read a run. Raises: InputError: there is none."""
        run = self.find(identity) if identity.isalnum() else None
        if run is None:
            raise InputError(
                f"there is no run {identity!r}", mend="`veredus scenario runs` lists all"
            )
        return run

    def all(self) -> list[Run]:
        """Read all runs, oldest first."""
        if not self._folder.is_dir():
            return []
        found = [_read(path) for path in self._folder.glob("*.json")]
        return sorted(found, key=lambda run: (run.created_at, run.id))

    def living(self) -> list[Run]:
        """Read those that aren't finished."""
        return [run for run in self.all() if run.state in {"running", "paused"}]

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"


def _read(path: Path) -> Run:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.MsgspecError as error:
        raise DamageError(f"run {path}: {error}") from error
