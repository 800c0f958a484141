"""Where the state of a deployment lives: all its partitions and feeds as places that rows are copied from or to."""

from __future__ import annotations

__all__ = ("Home", "Lot", "redis_home", "rocks_home")

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.errors import InputError, Place
from engine.redis_config import Redis
from engine.store.copying import Loadable
from engine.store.format import Kind, store_path
from engine.store.protocol import FEED
from engine.store.redis import RedisStore
from engine.store.rocksdb import RocksStore

_CACHE_MB = 64


class Lot(msgspec.Struct, frozen=True):
    """A partition, or the feed of a worker: `feed` is its number, None for a partition."""

    partition: int
    feed: int | None = None

    @property
    def name(self) -> str:
        """Name it in files and messages."""
        return f"partition-{self.partition:05}" if self.feed is None else f"feed-{self.feed:04}"


class Home(msgspec.Struct):
    """A deployment's state. `lots` says where each partition and feed lies."""

    kind: Kind
    partitions: int
    feeds: int
    stores: list[Loadable]

    def lots(self) -> list[Lot]:
        """List all partitions and feeds."""
        return [Lot(number) for number in range(self.partitions)] + [
            Lot(FEED, feed) for feed in range(self.feeds)
        ]

    def place(self, lot: Lot) -> Loadable:
        """Give the store in which a partition or feed lies."""
        number = lot.partition if lot.feed is None else lot.feed
        return self.stores[number % len(self.stores)]


@contextlib.contextmanager
def rocks_home(
    folder: Path, partitions: int, stores: int, *, read_only: bool = False
) -> Iterator[Home]:
    """Open the stores of a data directory that no instance uses.

    Raises: InputError: one is missing that is to be read. StoreError.
    """
    opened: list[Loadable] = []
    made: list[RocksStore] = []
    try:
        for index in range(stores):
            path = store_path(folder, index, stores)
            if read_only and not path.is_dir():
                raise InputError(f"store {path} is missing", Place(file=str(folder)))
            store = RocksStore(path, _CACHE_MB, read_only=read_only)
            made.append(store)
            opened.append(store)
        yield Home("rocksdb", partitions, stores, opened)
    finally:
        for store in made:
            store.close()


@contextlib.contextmanager
def redis_home(settings: Redis, partitions: int, feeds: int | None = None) -> Iterator[Home]:
    """Open a deployment in Redis. `feeds` None: as many as there are.

    Raises: StoreError; RefusedError: the server isn't durable.
    """
    first = RedisStore(settings)
    made = [first]
    try:
        number = _feeds_in(first, settings) if feeds is None else feeds
        made += [RedisStore(settings, feed) for feed in range(1, max(number, 1))]
        home = Home("redis", partitions, number, list(made))
        yield home
    finally:
        for store in made:
            store.close()


def _feeds_in(store: RedisStore, settings: Redis) -> int:
    start = f"{{{settings.name}:feed:".encode()
    keys = store.all_keys(start + b"*}c")
    return max((int(key[len(start) :].partition(b"}")[0]) + 1 for key in keys), default=0)
