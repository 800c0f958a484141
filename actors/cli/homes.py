"""Opens the state of a deployment for commands that copy it, with the data directory locked."""

from __future__ import annotations

__all__ = ("empty_home", "held", "home_of", "live_home_of", "settled")

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from actors.instance.lock import locked
from actors.operations.homes import Home, redis_home, rocks_home
from actors.operations.live import live_redis_home, live_rocks_home
from engine.config import Config
from engine.errors import InputError, Place, RefusedError
from engine.store.format import VERSION, DataFormat, read_format, settle, write_format
from engine.store.redis import RedisStore
from engine.store.redis_format import format_in, settle_in


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the data directory, so that no instance starts on it meanwhile.

    Raises: RefusedError: an instance runs here.
    """
    with asyncio.Runner() as runner:
        holding = locked(folder, wait_s=0.0)
        runner.run(holding.__aenter__())
        try:
            yield
        finally:
            runner.run(holding.__aexit__(None, None, None))


@contextlib.contextmanager
def home_of(config: Config) -> Iterator[Home]:
    """Open the state of a deployment, to be read.

    Raises: InputError: there is none here.
    """
    folder = Path(config.data_dir)
    made = read_format(folder)
    if made is None:
        raise InputError(
            "there is no data of an instance here", Place(file=str(folder)), "see `data_dir`"
        )
    made = settle(folder, made.partitions, made.stores, kind=made.kind)
    if made.kind == "redis":
        settle_in(config.store.redis, made.partitions)
        with redis_home(config.store.redis, made.partitions) as home:
            yield home
    else:
        with rocks_home(folder, made.partitions, made.stores, read_only=True) as home:
            yield home


@contextlib.contextmanager
def live_home_of(config: Config, server: str) -> Iterator[Home]:
    """Open the state of a deployment that runs, as of one moment, to be read.

    Raises: InputError: there is none here, or `server` is missing or not wanted. RefusedError: it can't be read so.
    """
    folder = Path(config.data_dir)
    made = read_format(folder)
    if made is None:
        raise InputError(
            "there is no data of an instance here", Place(file=str(folder)), "see `data_dir`"
        )
    if made.version != VERSION:
        raise RefusedError(
            f"the data here has format {made.version}, and this Veredus copies format {VERSION}",
            mend="copy with the version that runs",
        )
    if made.kind == "redis":
        if not server:
            raise InputError(
                "what is in Redis is copied from a server that was a replica",
                mend="detach one (REPLICAOF NO ONE), and name it with --from HOST:PORT",
            )
        with live_redis_home(config.store.redis, server, made.partitions) as home:
            yield home
        return
    if server:
        raise InputError("--from is of a deployment in Redis", mend="leave it out")
    with live_rocks_home(folder, made.partitions, made.stores) as home:
        yield home


@contextlib.contextmanager
def empty_home(config: Config, partitions: int, stores: int) -> Iterator[Home]:
    """Open where a copy goes: nothing may be there.

    Raises: RefusedError: there is a deployment already, or another number of partitions is configured.
    """
    folder = Path(config.data_dir)
    if config.store.partitions != partitions:
        raise RefusedError(
            f"the copy has {partitions} partitions, and {config.store.partitions} are configured",
            mend=f"set store.partitions = {partitions}",
        )
    if read_format(folder) is not None or (folder / "store").exists():
        raise RefusedError(
            "there is data of an instance here already",
            Place(file=str(folder)),
            "restore into an empty data directory",
        )
    if config.store.kind != "redis":
        with rocks_home(folder, partitions, stores) as home:
            yield home
        return
    with redis_home(config.store.redis, partitions, stores) as home:
        first = home.stores[0]
        assert isinstance(first, RedisStore), "a home in Redis has such stores"
        if format_in(first, config.store.redis) is not None:
            raise RefusedError(
                f"there is a deployment {config.store.redis.name!r} in that Redis already",
                mend="choose another store.redis.name",
            )
        yield home


def settled(config: Config, partitions: int, stores: int) -> None:
    """Say that what was restored is an instance: last of all."""
    folder = Path(config.data_dir)
    if config.store.kind == "redis":
        settle_in(config.store.redis, partitions)
        write_format(folder, DataFormat(VERSION, partitions, stores, kind="redis"))
    else:
        write_format(folder, DataFormat(VERSION, partitions, stores))
