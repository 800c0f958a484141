"""What goes into a tick of a host, and what comes out of it."""

from __future__ import annotations

__all__ = (
    "Answer",
    "CreditOffer",
    "HostSettings",
    "Released",
    "Repair",
    "TickInputs",
)

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from engine.inputs import Arrival, PartitionSettings, TellOut, Verdict
from engine.keyspace import EntityKey
from engine.machine import Credit, Release


class HostSettings(msgspec.Struct, frozen=True):
    """Bounds of a tick and of what is kept in memory."""

    batch_max: int = 1000  # inputs decided in one tick; bounds the p99 of intake
    grants_max: int = 1000  # hand-overs in one tick
    cache_entities: int = 20_000
    partition: PartitionSettings = PartitionSettings()
    weights: Mapping[str, int] = {}  # shares of tenants in what is handed over; 1 for one not named


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a holder says of an entity. `touches` names other entities that the unit will read."""

    key: EntityKey
    body: Any
    touches: tuple[EntityKey, ...] = ()


class CreditOffer(msgspec.Struct, frozen=True, gc=False):
    """The right to hand over `number` entities of a lane (the part of a queue's name before its first NUL)."""

    lane: bytes
    number: int
    credit: Credit


class Repair(msgspec.Struct, frozen=True, array_like=True):
    """What an operator wants done with an input in quarantine."""

    partition: int
    number: int
    action: Literal["replay", "drop"]


class TickInputs(msgspec.Struct):
    """What waits for a tick. `arrivals` beyond the batch's bound stay in the list, in order."""

    answers: list[Answer] = []
    delivers: list[TellOut] = []
    confirms: list[tuple[int, int, int]] = []  # source, target, seq
    arrivals: list[Arrival] = []
    credits: list[CreditOffer] = []
    repairs: list[Repair] = []
    timers: bool = True  # False: what is due waits, so that only what was begun is written


class Released(msgspec.Struct):
    """What a durable tick lets out."""

    verdicts: list[Verdict] = []  # of the arrivals taken, in order
    releases: list[tuple[int, Release]] = []  # partition's epoch, what to hand over
    tells: list[TellOut] = []
    confirms: list[
        tuple[int, int, int]
    ] = []  # source, target, seq to confirm to the source's owner
    elsewhere: list[TellOut] = []  # Tells of ours whose target isn't here any more: undecided
    credits_left: list[CreditOffer] = []
    lost: list[
        int
    ] = []  # partitions whose owner is somebody else now: answers to them aren't durable
    repaired: list[
        str | None
    ] = []  # of the repairs, in order: "" or why not; None: another owns it
    answered: int = 0
    woken: int = 0
    woken_due: list[int] = []  # when those that were woken were due, ms: how late a timer was
    fed: int = 0
