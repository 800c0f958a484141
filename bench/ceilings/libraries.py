"""What an event costs in calls of libraries alone: no row can be written, and no state changed, without them.

JSON of a request decoded, three digests (whose partition, was it seen, the id of what it opens), the state decoded and
encoded, its record and its notification encoded. Logic of any kind is left out, and so is a read from the store: the
states of few contacts are in memory. Together with the ceiling of the store that is what Python without a line of our
own would take.
"""

from __future__ import annotations

__all__ = ("Calls", "measure_calls")

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

_DIGESTS = 3


class _Event(msgspec.Struct):
    """An event of a request, its data left as text."""

    id: str
    name: str
    contact: str
    at: int
    data: msgspec.Raw


class Calls(msgspec.Struct, frozen=True):
    """What the calls are made with: JSON of events, and encoded states, records and notifications, one of each."""

    events: Sequence[bytes]
    states: Sequence[bytes]
    records: Sequence[bytes]
    notices: Sequence[bytes]


def measure_calls(calls: Calls, seconds: float) -> float:
    """Make the calls of one event after the other for a while. Returns CPU µs of one."""
    read, unpack, pack = (
        msgspec.json.Decoder(_Event).decode,
        msgspec.msgpack.Decoder().decode,
        msgspec.msgpack.Encoder().encode,
    )
    objects: list[tuple[bytes, bytes, Any, Any]] = [
        (event, state, unpack(record), unpack(notice))
        for event, state, record, notice in zip(
            calls.events, calls.states, calls.records, calls.notices, strict=False
        )
    ]
    key = objects[0][0][:40]
    number, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        for event, state, record, notice in objects:
            read(event)
            for _ in range(_DIGESTS):
                blake2b(key, digest_size=16).digest()
            pack(unpack(state))
            pack(record)
            pack(notice)
        number += len(objects)
    return (time.process_time() - began) / number * 1e6
