"""What a deployment in Redis says of itself, as `format.json` does for a data directory: partitions, purpose, version.

{veredus:format}    {"version": 1, "partitions": 4096, "stores": 0, "purpose": "instance", "kind": "redis"}
"""

from __future__ import annotations

__all__ = ("begin_replay_in", "format_in", "settle_in", "write_format_in")

import msgspec

from engine.errors import DamageError, Place, RefusedError
from engine.redis_config import Redis
from engine.store.format import VERSION, DataFormat, Purpose
from engine.store.redis import RedisStore


def settle_in(settings: Redis, partitions: int, purpose: Purpose = "instance") -> DataFormat:
    """Write down what the deployment is, or see that it is what is configured. Idempotent.

    Raises:
        RefusedError: it has another number of partitions, or was written by a newer version; the server isn't durable.
        StoreError: the server can't be reached.
        DamageError: what it says of itself can't be read.
    """
    store = RedisStore(settings)
    try:
        found = _read(store, settings)
        if found is None:
            found = DataFormat(VERSION, partitions, 0, purpose, "redis")
            store.write_note("format", msgspec.json.encode(found))
        place = Place(path=f"store.redis.name = {settings.name!r}")
        if found.version > VERSION:
            raise RefusedError(
                f"this deployment has format {found.version}, and this Veredus knows up to {VERSION}",
                place,
                "run the version that wrote it, or a newer one",
            )
        if found.purpose == "moved":
            raise RefusedError(
                "the state of this deployment was moved away from here",
                place,
                "set store.kind to where it is, or remove its keys to begin anew",
            )
        if found.partitions != partitions:
            raise RefusedError(
                f"this deployment has {found.partitions} partitions, and {partitions} are configured",
                place,
                f"set store.partitions = {found.partitions}; the number is fixed when a deployment is made",
            )
        begins = found.purpose == "replay" and purpose == "instance"
        if begins or found.version < VERSION:  # all that older versions wrote is read as it is
            found = msgspec.structs.replace(
                found, version=VERSION, purpose=purpose if begins else found.purpose
            )
            store.write_note("format", msgspec.json.encode(found))
        return found
    finally:
        store.close()


def format_in(store: RedisStore, settings: Redis) -> DataFormat | None:
    """Read what a deployment says of itself; None when there is none of this name."""
    return _read(store, settings)


def write_format_in(store: RedisStore, made: DataFormat) -> None:
    """Say what a deployment is: for copies that just made it so. Durable on return."""
    store.write_note("format", msgspec.json.encode(made))


def begin_replay_in(settings: Redis, partitions: int) -> None:
    """Empty a deployment that was made for a replay, and write it down anew.

    Raises: RefusedError: it holds the data of an instance, which a replay would throw away.
    """
    store = RedisStore(settings)
    try:
        found = _read(store, settings)
        if found is not None and found.purpose == "instance":
            raise RefusedError(
                "it holds the data of an instance, and a replay begins with nothing",
                Place(path=f"store.redis.name = {settings.name!r}"),
                "give the replay another name with VEREDUS_STORE__REDIS__NAME",
            )
        store.drop_all()
        made = DataFormat(VERSION, partitions, 0, "replay", "redis")
        store.write_note("format", msgspec.json.encode(made))
    finally:
        store.close()


def _read(store: RedisStore, settings: Redis) -> DataFormat | None:
    raw = store.read_note("format")
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=DataFormat)
    except msgspec.MsgspecError as error:
        raise DamageError(f"store.redis.name = {settings.name!r}: its format: {error}") from error
