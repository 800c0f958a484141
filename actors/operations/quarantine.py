"""Inputs in quarantine as an operator sees them."""

from __future__ import annotations

__all__ = ("detail_of", "entry_of", "listed", "parse_id")

from typing import Any

import msgspec

from actors.backend import QuarantineDetail, QuarantineEntry
from actors.operations.showing import kind_name, name_shown, shown
from engine.entities import Machines
from engine.errors import InputError
from engine.host import Host
from engine.keyspace import tenant_of
from engine.quarantine import Quarantined, read_kept

_NUMBER_MAX = 1 << 63


def parse_id(text: str) -> tuple[int, int]:
    """Read `partition-number`. Raises: InputError: it isn't one."""
    partition, dash, number = text.partition("-")
    if not (dash and partition.isascii() and partition.isdigit()):
        raise InputError(f"{text[:50]!r} is no id of the quarantine", mend="expected one like 17-3")
    if not (number.isascii() and number.isdigit() and len(partition + number) < 25):
        raise InputError(f"{text[:50]!r} is no id of the quarantine", mend="expected one like 17-3")
    return int(partition), min(int(number), _NUMBER_MAX)


def listed(host: Host, after: tuple[int, int], limit: int) -> list[QuarantineEntry]:
    """List what is in quarantine behind a place, by partition and number."""
    found: list[QuarantineEntry] = []
    for number, partition in sorted(host.partitions.items()):
        if number < after[0] or not partition.meta.quarantine_n:
            continue
        behind = after[1] if number == after[0] else 0
        rows = partition.quarantine.listed(behind, limit - len(found))
        found += [entry_of(number, n, held) for n, held in rows]
        if len(found) >= limit:
            break
    return found


def entry_of(partition: int, number: int, held: Quarantined) -> QuarantineEntry:
    """Show one line."""
    return QuarantineEntry(
        id=f"{partition}-{number}",
        at_ms=held.at,
        kind=kind_name(held.key),
        tenant=tenant_of(held.key),
        entity=name_shown(held.key),
        source=held.source,
        input_id=str(shown(held.input_id)),
        reason=held.reason,
    )


def detail_of(
    machines: Machines, partition: int, number: int, held: Quarantined
) -> QuarantineDetail:
    """Show the input itself; of one that can't be decoded what is there."""
    body: Any
    try:
        body = shown(read_kept(machines, held))
    except (msgspec.MsgspecError, LookupError):
        body = shown(_plain(held.body))
    return QuarantineDetail(entry_of(partition, number, held), body)


def _plain(raw: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(raw)
    except msgspec.MsgspecError:
        return raw
