"""`veredus store`: check and read the data of an instance that isn't running."""

from __future__ import annotations

__all__ = ("app",)

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.cli.client import find_data_dir
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line, print_table, progress
from engine.errors import InputError, Place
from engine.ids import ID_BYTES

if TYPE_CHECKING:
    from actors.operations.files import Directory

app = new_app("Check, read and move the data of an instance that isn't running.")


@app.command()
def check(data: Data = None, as_json: AsJson = False) -> None:
    """Walk all rows and tell what doesn't agree. Exit status 1 when there is damage."""
    from actors.operations.checking import check as check_all

    with _opened(data) as directory, progress("checking") as seen:
        checked = check_all(directory, seen)
    if as_json:
        print_json(checked)
    else:
        for damage in checked.damage:
            print_line(str(damage))
        if checked.damage_more:
            print_line(f"and {checked.damage_more:,} more")
        found = "no damage" if checked.fine else "DAMAGED"
        print_line(
            f"{checked.stores} stores, {checked.rows:,} rows, {checked.entities:,} entities: {found}"
        )
    if not checked.fine:
        raise typer.Exit(1)


@app.command()
def get(
    contact: Annotated[str, typer.Option("--contact", metavar="ID")] = "",
    message: Annotated[
        str, typer.Option("--message", metavar="ID", help="32 hexadecimal digits.")
    ] = "",
    key: Annotated[str, typer.Option("--key", metavar="HEX", help="Of any entity.")] = "",
    tenant: Tenant = "",
    data: Data = None,
) -> None:
    """Show an entity as JSON: its state, where it stands, where it lies. It may contain personal data."""
    from actors.operations.looking import entity

    found_key = _key(contact, message, key, tenant or "default")
    with _opened(data) as directory:
        found = entity(directory, found_key)
    if found is None:
        raise InputError("there is no such entity", mend="--tenant names whose it is")
    print_line(msgspec.json.format(msgspec.json.encode(found)).decode())


@app.command()
def dump(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="entity, agenda, ready, ...")],
    partition: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only of this partition.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 0,
    data: Data = None,
) -> None:
    """Print the rows of an index, one JSON object a line."""
    from itertools import islice

    from actors.operations.looking import dump as rows_of
    from actors.operations.reading import INDEXES

    if index not in INDEXES:
        raise InputError(f"there is no index {index!r}", mend=f"one of {', '.join(INDEXES)}")
    encode = msgspec.json.Encoder().encode
    with _opened(data) as directory:
        for row in islice(rows_of(directory, index, partition), limit or None):
            sys.stdout.write(encode(row).decode() + "\n")


@app.command()
def blobs(
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what no message needs, at once.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show which content of applications (templates, attachments, whole messages) some message still needs.

    A running instance removes the rest by itself, a day later (`store.blobs_kept_hours`).
    """
    from actors.operations.blob_looking import look

    with _opened(data) as directory, progress("reading") as seen:
        found = look(directory, find_data_dir(data, os.environ), seen, remove=remove)
    if as_json:
        print_json(found)
        return
    print_line(
        f"{found.needed:,} files ({found.needed_bytes:,} bytes) are needed, {found.idle:,} "
        f"({found.idle_bytes:,} bytes) are not{' and were removed' if remove and found.idle else ''}"
    )


@app.command()
def stats(data: Data = None, as_json: AsJson = False) -> None:
    """Show sizes: rows and bytes of each index, bytes on disk by contact."""
    from actors.operations.looking import stats as measure

    with _opened(data) as directory, progress("reading") as seen:
        found = measure(directory, seen)
    if as_json:
        told = msgspec.to_builtins(found)
        print_json(told | {"disk_bytes_a_contact": found.disk_bytes_a_contact})
        return
    print_table(
        "Indexes, before compression",
        ("index", "rows", "bytes of keys", "bytes of values"),
        [
            (name, size.rows, size.key_bytes, size.value_bytes)
            for name, size in found.indexes.items()
        ],
    )
    print_line(
        f"{found.stores} stores, {found.partitions} partitions, {found.disk_bytes:,} bytes on disk; "
        f"{found.contacts:,} contacts, {found.disk_bytes_a_contact:,.0f} bytes a contact"
    )


@app.command()
def move(
    to: Annotated[str, typer.Option("--to", metavar="KIND", help="redis or rocksdb.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Names both places. Default: ./veredus.toml.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Stores to make in RocksDB; 0: as configured.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Carry the state of an instance that is down to another kind of store; both are compared before it counts."""
    from actors.cli.homes import held
    from actors.config_file import load
    from actors.operations.moving import move_to_redis, move_to_rocksdb

    if to not in ("redis", "rocksdb"):
        raise InputError(f"there is no store {to!r}", Place(path="--to"), "redis or rocksdb")
    settings = load(config, os.environ)
    with held(Path(settings.data_dir)), progress("moving") as seen:
        if to == "redis":
            moved = move_to_redis(settings, seen)
        else:
            stores = workers or settings.workers.count or os.cpu_count() or 1
            moved = move_to_rocksdb(settings, stores, seen)
    if as_json:
        print_json(moved)
    else:
        print_line(
            f"{moved.partitions} partitions and {moved.rows:,} rows are in {moved.to} now, and compared. "
            f'Set store.kind = "{moved.to}". What was left behind: {moved.left}'
        )


def _key(contact: str, message: str, key: str, tenant: str) -> bytes:
    from engine.keyspace import contact_key, message_key

    if sum(map(bool, (contact, message, key))) != 1:
        raise InputError("which entity is missing", mend="--contact ID, --message ID or --key HEX")
    if contact:
        return contact_key(tenant, contact)
    try:
        raw = bytes.fromhex(message or key)
    except ValueError:
        raw = b""
    if message:
        if len(raw) != ID_BYTES:
            raise InputError(f"expected {2 * ID_BYTES} hexadecimal digits", Place(path="--message"))
        return message_key(tenant, raw)
    if len(raw) < ID_BYTES // 2 or b"\0" not in raw[5:]:
        raise InputError("this is no key of an entity", Place(path="--key"))
    return raw


@contextmanager
def _opened(data: Path | None) -> Iterator[Directory]:
    from actors.operations.files import opened
    from actors.worker.assembly import machines_of
    from engine.config import Config

    with opened(find_data_dir(data, os.environ), machines_of(Config())) as directory:
        yield directory
