"""The controller: which workers there are and in which life, who owns which partition, which catalog they were told.

One instance. What it knows is written to `controller.json` in the data directory before it answers, so that a restart
forgets nothing: the routing version never goes back, restarts go on being counted. It stands in nobody's way: messages
and events never pass through it, and workers go on without it.
"""

from __future__ import annotations

__all__ = (
    "Controller",
    "ControllerView",
    "Member",
    "Publish",
    "Registration",
    "Role",
    "Routing",
)

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from engine.errors import StoreError
from engine.store.catalog_files import write_durably

log = structlog.get_logger()

PUBLISH_TIMEOUT_S = 5.0

Role = Literal["fused", "state", "egress"]
Publish = Callable[[], Awaitable[int]]
"""Lets a worker look for a newer catalog; gives the version that it uses then."""


class Registration(msgspec.Struct, frozen=True):
    """What a worker says at the begin of each life. The counts are of what its former life left."""

    role: Role
    index: int
    incarnation: int
    pid: int
    in_the_air: int = 0
    concluded: int = 0
    never_begun: int = 0

    @property
    def name(self) -> str:
        """The name under which it is known: w<n>, or e<n> for one that only sends."""
        return f"{'e' if self.role == 'egress' else 'w'}{self.index}"


class Member(msgspec.Struct, frozen=True):
    """A worker as the controller knows it. The counts add up over its lives in this run."""

    name: str
    role: Role
    index: int
    incarnation: int
    pid: int
    restarts: int = 0
    in_the_air: int = 0  # messages that its deaths left in doubt
    concluded: int = 0  # outcomes that weren't confirmed when it died
    never_begun: int = 0
    catalog: int = 0  # version that it uses, as far as told


class Routing(msgspec.Struct, frozen=True):
    """Who owns what. `version` grows with each change of owner or of an owner's life; 0: nobody registered yet."""

    version: int
    partitions: int
    owners: list[str]  # partition p belongs to owners[p % len(owners)]
    egress: list[str]  # who sends for each owner

    def owner_of(self, partition: int) -> str:
        """Name the worker that owns a partition."""
        assert 0 <= partition < self.partitions, f"there is no partition {partition}"
        return self.owners[partition % len(self.owners)]


class ControllerView(msgspec.Struct, frozen=True):
    """All that a controller knows."""

    run: int
    catalog: int
    routing: Routing
    members: list[Member]


class _Kept(msgspec.Struct, frozen=True):
    """What is written down."""

    run: int
    routing_version: int
    catalog: int
    members: dict[str, Member]


class Controller:
    """Knows the workers of one instance.

    Args:
        folder: the data directory.
        run: names this run of the instance; counts of an earlier run aren't taken over.
        partitions: how many there are.
        owners: workers that own partitions.
        senders: egresses apart from them; 0: owners send themselves.

    Raises: StoreError: what an earlier life wrote can't be read.
    """

    def __init__(
        self, folder: Path, run: int, partitions: int, owners: int, senders: int = 0
    ) -> None:
        self._path = folder / "controller.json"
        self._partitions = partitions
        self._owners = [f"w{number}" for number in range(owners)]
        self._senders = [f"e{n % senders}" for n in range(owners)] if senders else self._owners
        self._publishes: dict[str, Publish] = {}
        kept = self._read()
        if kept is not None and kept.run == run:
            self._kept = kept
        else:
            version = kept.routing_version + 1 if kept is not None else 0
            self._kept = _Kept(run, version, kept.catalog if kept is not None else 0, {})

    def register(self, registration: Registration, publish: Publish) -> Routing:
        """Take a worker's word for who it is; durable when it returns. Idempotent for one incarnation."""
        name = registration.name
        known = self._kept.members.get(name)
        self._publishes[name] = publish
        if known is None or known.incarnation != registration.incarnation:
            members = {**self._kept.members, name: _next_life(known, registration)}
            version = self._kept.routing_version + 1
            self._keep(_Kept(self._kept.run, version, self._kept.catalog, members))
            log.info("worker_registered", worker=name, incarnation=registration.incarnation)
        return self.routing()

    def forget(self, name: str) -> None:
        """Hear that a worker has gone for good; durable when it returns. Idempotent."""
        self._publishes.pop(name, None)
        if name in self._kept.members:
            members = {n: one for n, one in self._kept.members.items() if n != name}
            version = self._kept.routing_version + 1
            self._keep(_Kept(self._kept.run, version, self._kept.catalog, members))
            log.info("worker_gone", worker=name)

    def routing(self) -> Routing:
        """Tell who owns what."""
        return Routing(self._kept.routing_version, self._partitions, self._owners, self._senders)

    async def publish(self, version: int) -> dict[str, int]:
        """Let all workers look for a catalog of this version; one that can't be reached finds it when it begins.

        Returns: the version that each worker uses now.
        """
        names = sorted(self._publishes)
        told = await asyncio.gather(*(self._publish(name) for name in names))
        reached = {n: used for n, used in zip(names, told, strict=True) if used is not None}
        members = {
            name: msgspec.structs.replace(member, catalog=reached.get(name, member.catalog))
            for name, member in self._kept.members.items()
        }
        newest = max(version, self._kept.catalog)
        self._keep(_Kept(self._kept.run, self._kept.routing_version, newest, members))
        return reached

    def view(self) -> ControllerView:
        """Tell everything."""
        members = [member for _, member in sorted(self._kept.members.items())]
        return ControllerView(self._kept.run, self._kept.catalog, self.routing(), members)

    async def _publish(self, name: str) -> int | None:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                return await self._publishes[name]()
        except Exception as error:  # noqa: BLE001 -- dead or restarting: it loads the newest when it begins
            log.info("publish_failed", worker=name, error=repr(error)[:200])
            return None

    def _keep(self, kept: _Kept) -> None:
        self._kept = kept
        write_durably(self._path, msgspec.json.encode(kept))

    def _read(self) -> _Kept | None:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(raw, type=_Kept)
        except msgspec.MsgspecError as error:
            raise StoreError(f"{self._path}: {error}") from error


def _next_life(known: Member | None, registration: Registration) -> Member:
    one = registration
    if known is None:
        known = Member(one.name, one.role, one.index, 0, 0, restarts=-1)
    return Member(
        one.name,
        one.role,
        one.index,
        one.incarnation,
        one.pid,
        known.restarts + 1,
        known.in_the_air + one.in_the_air,
        known.concluded + one.concluded,
        known.never_begun + one.never_begun,
        known.catalog,
    )
