"""The owner of the suppression list: a control partition of its own store, whose changes are told to all nodes.

    change ──▶ decided and synced in the store ──▶ stands in the node's changes file ──▶ acknowledged

A plain class, called from one loop; nothing waits. Changes by hand go on record in the control log, without address.
"""

from __future__ import annotations

__all__ = ("Desk", "Page", "Request", "Row", "open_desk")

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from actors.suppression.files import (
    ChangesFile,
    current_version,
    hasher_of,
    map_packed,
    remove_others,
    write_packed,
)
from deliverability.suppression.entry import Entry, Hasher, normalised, tenant_of_scope
from deliverability.suppression.machine import (
    CHANNEL,
    Change,
    Forget,
    Lift,
    SoftBounce,
    Suppress,
    SuppressedAddress,
    SuppressionMachine,
    address_key,
    digest_of_key,
)
from deliverability.suppression.packed import (
    PREFIX_BYTES,
    Buffer,
    Found,
    Packed,
    empty,
    merge,
    pack,
)
from engine.catalog import Catalog, Head
from engine.entities import Machines
from engine.errors import StoreError
from engine.host import Host
from engine.inputs import Arrival, PartitionSettings
from engine.keyspace import Keyspace
from engine.rows import ENTITY
from engine.store.memory import MemoryStore
from engine.store.protocol import Store, partition_prefix
from engine.store.rocksdb import RocksStore
from engine.tick import HostSettings, TickInputs

log = structlog.get_logger()

CACHE_MB = 32
BATCH_MAX = 5000
CHANGES_MIN = 20_000  # fewer changes aren't worth a new sorted file
CHANGES_SHARE = 100  # nor less than a hundredth of it
N_MAX = 2**31
FEED_PAGE = 8 * BATCH_MAX  # more than any commit emits
DAY_MS = 86_400_000
_CHANGE = msgspec.msgpack.Decoder(Change)


class Request(msgspec.Struct, frozen=True):
    """A change that is asked for. `digest` names the address; the same `input_id` again has no effect."""

    digest: bytes
    body: Suppress | Lift | SoftBounce | Forget
    input_id: bytes
    at: int = 0


class Row(msgspec.Struct, frozen=True):
    """An address of the list, by its hash; `address` where the list may tell it, else ""."""

    digest: bytes
    entries: tuple[Entry, ...]
    address: str = ""


class Page(msgspec.Struct, frozen=True):
    """A run of the list in the order of hashes; ask for more behind the last one."""

    rows: list[Row]
    more: bool


class Desk:
    """The list and its files.

    Args:
        store: of the control partition.
        folder: where all processes of the node find the list.
        hasher: hashes addresses.

    Raises: StoreError: store or files can't be read or written.
    """

    def __init__(self, store: Store, folder: Path, hasher: Hasher) -> None:
        self._store = store
        self._folder = folder
        self.hasher = hasher
        self._machines = Machines((SuppressionMachine(),))
        settings = PartitionSettings(horizon_ms=30 * DAY_MS)
        self._host = Host(
            store,
            self._machines,
            Keyspace(1),
            Catalog(Head(), {}, {}),
            (0,),
            HostSettings(batch_max=BATCH_MAX, partition=settings),
        )
        self._base = Packed(empty())
        self._changes: dict[bytes, tuple[Found, ...]] = {}
        self.version = 0
        self._file: ChangesFile | None = None
        self._open_files()

    # ---- life

    def _open_files(self) -> None:
        """Take the files as they are, if they go with the store; else make them anew from it."""
        version = current_version(self._folder)
        if version is None or version > self._host.feed_position:
            self._rebuild()
            return
        try:
            self._base = map_packed(self._folder, version)
        except (OSError, StoreError) as error:
            log.warning("suppression_rebuilt", reason=str(error))
            self._rebuild()
            return
        self.version = version
        self._file = ChangesFile(self._folder, version)
        for frame in self._file.recover():
            self._know(frame.version, frame.changes)
        self._tell()

    def _rebuild(self) -> None:
        """Write the sorted file from the store."""
        version = self._host.feed_position
        scopes: dict[str, int] = {}
        records = sorted(
            pack(row.digest, entry, scopes) for row in self._rows() for entry in row.entries
        )
        self._use(version, list(scopes), len(records), records)

    def _use(
        self, version: int, scopes: Sequence[str], count: int, records: Iterable[Buffer]
    ) -> None:
        """Let a new sorted file be the one in use."""
        former = self._base.version
        write_packed(self._folder, version, scopes, count, records)
        if self._file is not None:
            self._file.close()
        self._base = map_packed(self._folder, version)
        self._file = ChangesFile(self._folder, version)
        self._changes.clear()
        self.version = version
        remove_others(self._folder, (former, version))

    def close(self) -> None:
        """Close store and files. Idempotent."""
        if self._file is not None:
            self._file.close()
        self._store.close()

    # ---- changing

    def change(self, now: int, requests: Sequence[Request]) -> list[str]:
        """Decide changes; when it returns they are durable, and all processes of this node can see them.

        Returns: accepted or duplicate, for each.
        Raises: StoreError: whether they were taken isn't known; asking again is harmless.
        """
        arrivals = [
            Arrival(address_key(one.digest), one.body, one.input_id, one.at, historical=True)
            for one in requests
        ]
        return self._tick(now, arrivals)

    def look(self, now: int) -> None:
        """Look after time: entries expire."""
        due = self._host.next_due()
        if due is not None and due <= now:
            self._tick(now, [])

    def _tick(self, now: int, arrivals: list[Arrival]) -> list[str]:
        inputs = TickInputs(arrivals=arrivals)
        verdicts: list[str] = []
        try:
            while True:
                released = self._host.tick(now, inputs)
                if released.lost:
                    raise StoreError("the suppression list belongs to another process now")
                verdicts += released.verdicts
                if not inputs.arrivals:
                    break
        except StoreError:
            self._host.recover()
            raise
        self._tell()
        return verdicts

    def _tell(self) -> None:
        """Write what the store has and the changes file hasn't; then, now and then, a new sorted file."""
        assert self._file is not None, "files are opened with the desk"
        while entries := self._host.feed_after(self.version, N_MAX, FEED_PAGE):
            if len(entries) == FEED_PAGE:  # the rest of the last commit may be on the next page
                last = entries[-1].position
                entries = [entry for entry in entries if entry.position != last]
            changes = [_CHANGE.decode(one.body) for one in entries if one.channel == CHANNEL]
            position = entries[-1].position
            self._file.append(position, changes)
            self._know(position, changes)
        if len(self._changes) > max(CHANGES_MIN, self._base.count // CHANGES_SHARE):
            self._compact()

    def _know(self, version: int, changes: Iterable[Change]) -> None:
        for change in changes:
            held = tuple(Found(e.scope, e.reason, e.expires) for e in change.entries)
            self._changes[change.digest[:PREFIX_BYTES]] = held
        self.version = version

    def _compact(self) -> None:
        """Merge what changed into a new sorted file. Expired entries go when their address wakes."""
        scopes, count, pieces = merge(self._base, self._changes, 0)
        self._use(self.version, scopes, count, pieces)

    # ---- questions

    def digest(self, address: str) -> bytes:
        """Hash an address or @domain. Raises: InputError: it is neither."""
        return self.hasher.of(normalised(address))

    def entries(self, digest: bytes) -> tuple[Entry, ...]:
        """Give all that holds for an address."""
        state = self._host.entry(address_key(digest))[0]
        return state.entries if isinstance(state, SuppressedAddress) else ()

    def page(
        self,
        after: bytes,
        limit: int,
        tenant: str | None = None,
        reason: str = "",
        scope: str = "",
    ) -> Page:
        """List addresses behind a digest; `tenant` None: of all, else those with an entry in its scopes."""
        rows: list[Row] = []
        for row in self._rows(after):
            shown = tuple(
                entry
                for entry in row.entries
                if (tenant is None or tenant_of_scope(entry.scope) == tenant)
                and (not reason or entry.reason == reason)
                and (not scope or entry.scope == scope)
            )
            if shown:
                if len(rows) == limit:
                    return Page(rows, more=True)
                rows.append(Row(row.digest, shown, row.address))
        return Page(rows, more=False)

    def count(self) -> int:
        """Tell how many addresses are known: suppressed, or with failures that count."""
        return self._host.facts().get("entities:s", 0)

    def status(self) -> tuple[int, int, int]:
        """Tell version, records of the sorted file, and addresses changed since."""
        return self.version, self._base.count, len(self._changes)

    def _rows(self, after: bytes = b"") -> Iterator[Row]:
        prefix = partition_prefix(0) + ENTITY
        start = prefix + (address_key(after) + b"\0" if after else b"")
        end = partition_prefix(0) + bytes((ENTITY[0] + 1,))
        while True:
            found = self._store.scan(start, end, 2000)
            for raw_key, raw in found:
                key = raw_key[len(prefix) :]
                state = self._machines.read(key, raw)[0]
                if isinstance(state, SuppressedAddress) and state.entries:
                    address = self.hasher.unseal(state.sealed)
                    yield Row(digest_of_key(key), state.entries, address)
            if len(found) < 2000:
                return
            start = found[-1][0] + b"\0"


def open_desk(data_dir: Path, kind: Literal["rocksdb", "memory"] = "rocksdb") -> Desk:
    """Open the list of a data directory. Raises: StoreError; another process may have it."""
    store: Store = MemoryStore() if kind == "memory" else RocksStore(data_dir / "control", CACHE_MB)
    return Desk(store, data_dir / "suppression", hasher_of(data_dir))
