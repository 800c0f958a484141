"""What crosses between a worker and those who call it: Structs in msgpack, batches always."""

from __future__ import annotations

__all__ = (
    "AdmitAnswer",
    "AdmitBatch",
    "DoubtsAnswer",
    "FeedAnswer",
    "FeedQuestion",
    "Hello",
    "NotMineError",
    "NotStartedError",
    "QuarantineAnswer",
    "QuarantineQuestion",
    "QueueQuestion",
    "QueuesAnswer",
    "RecountAnswer",
    "RepairAnswer",
    "SelectedAnswer",
    "StateAnswer",
    "StateQuestion",
    "StatesAnswer",
    "StatesQuestion",
    "Tells",
    "TellsAnswer",
    "WireArrival",
    "WorkerSettings",
    "WorkerStatus",
)

from typing import Any, Literal

import msgspec

from actors.backend import QuarantineDetail, QuarantineEntry, Recount
from actors.operations.counting import Tells as TellSides
from actors.queues import DoubtView, QueueLine, SampleView
from deliverability.marks import Selection
from deliverability.message.records import Settle
from deliverability.returned import Returned
from engine.config import Config
from engine.errors import VeredusError
from engine.feed import FeedEntry
from engine.inputs import Arrival, TellOut
from engine.once import Once, Several
from engine.tally import Counts
from engine.vocabulary import (
    CallAnswered,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    MarkSuppressed,
    SendDirect,
)
from scenarios.coupons import AddCodes, ClosePool
from scenarios.merging import Merge
from scenarios.migration import MoveBack, MoveJourneys
from scenarios.runs import EnterJourney, LookAnew, ReleaseHeld, StopJourneys

Arriving = (
    Event
    | ContactPut
    | EnterJourney
    | MoveJourneys
    | MoveBack
    | StopJourneys
    | LookAnew
    | ReleaseHeld
    | CallAnswered
    | Merge
    | AddCodes
    | ClosePool
    | ConsentGiven
    | Erase
    | MarkSuppressed
    | SendDirect
    | Once
    | Several
    | Returned
    | Settle
)


class NotMineError(VeredusError):
    """A worker was asked for what another owns: nothing happened; ask the controller who does, then that worker."""


class NotStartedError(VeredusError):
    """A new life of an actor was called before it was started: nothing happened; start it, then call again."""


class WorkerSettings(msgspec.Struct, frozen=True):
    """What a worker is made of: which one of how many, where its files are, the deployment's configuration."""

    index: int
    count: int
    data_dir: str
    config: Config
    twin_port: int = 0  # where mail goes in mode `twin`
    twin_tls: bool = False  # whether STARTTLS is insisted on there; its certificate isn't checked
    log_time: int | None = None  # ms; None: the wall clock
    placed: bool = False  # whether the controller says which partitions are its own
    suppression: bool = (
        False  # whether the data directory has a suppression list that must be asked
    )
    suppression_list: str = ""  # its name
    desk_node: str = ""  # the node of Ray that has its files; "": there is but one
    suppression_dir: str = ""  # where this node's copy is; "": in the data directory


class WireArrival(Arrival, frozen=True, array_like=True, gc=False):
    """One input on its way to its partition, which takes it as it is."""

    body: Arriving


class AdmitBatch(msgspec.Struct, frozen=True, array_like=True):
    """Inputs for one worker, in order."""

    items: list[WireArrival]


class AdmitAnswer(msgspec.Struct, frozen=True, array_like=True):
    """One verdict for each input; `overloaded`: none was taken."""

    verdicts: list[str] = []
    overloaded: bool = False
    retry_after_s: float = 0.0
    reason: str = ""  # why it is overloaded


class Tells(msgspec.Struct, frozen=True, array_like=True):
    """Tells for partitions of one worker, in order for each pair."""

    items: list[TellOut]


class TellsAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The Tells that are durable with their target: (source, target, seq)."""

    confirmed: list[tuple[int, int, int]]


class StateQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for an entity; of a message with its whole story, if wanted."""

    key: bytes
    story: bool = False


class StateAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An entity's view as JSON; empty when there is none."""

    body: bytes


class StatesQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for several entities."""

    keys: list[bytes]


class StatesAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Their views as JSON, in order; empty where there is none."""

    bodies: list[bytes]


class QueuesAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The queues of a tenant in one worker."""

    lines: list[QueueLine]


class QueueQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask what a selection meets, reading up to so many rows."""

    tenant: str
    selection: Selection
    rows_max: int


class SelectedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What a selection meets in one worker."""

    states: dict[str, int]
    domains: dict[str, int]
    oldest: list[SampleView]
    rows: int
    partial: bool


class DoubtsAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Messages held in doubt."""

    items: list[DoubtView]
    more: bool


class FeedQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for a feed behind a place in it: the worker's own, or on Redis that of another number.

    `wanted`: entries of this channel and tenant alone; whoever reads for one tenant isn't sent what all others have.
    """

    position: int
    n: int
    limit: int
    feed: int | None = None
    wanted: tuple[str, str] | None = None


class FeedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Entries in commit order, and the position of the newest that the feed may have.

    Where some alone were wanted: `behind`, the place up to which was looked, and whether there is `more` behind it.
    """

    entries: list[FeedEntry]
    position: int = 0
    behind: tuple[int, int] = (0, 0)
    more: bool = False


class QuarantineQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Ask for inputs in quarantine behind (partition, number); with limit 0 for that one itself."""

    partition: int
    number: int
    limit: int


class QuarantineAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Inputs in quarantine; `detail` is the one that was asked for."""

    entries: list[QuarantineEntry]
    detail: QuarantineDetail | None = None


class RepairAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What became of a replay or drop: "" or why not."""

    told: str


class RecountAnswer(msgspec.Struct, frozen=True, array_like=True):
    """How a recount stands; `tells` are to be compared with those of other workers."""

    recount: Recount
    tells: list[TellSides] = []


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """What a worker says when it has started: which life this is, and what it found of the last one."""

    index: int
    incarnation: int
    pid: int
    partitions: int
    held: int = 0  # messages that were in hand of former incarnations
    in_the_air: int = 0  # of these: marks without outcome
    concluded: int = 0  # of these: outcomes that weren't confirmed
    never_begun: int = 0


class LaneStatus(msgspec.Struct, frozen=True):
    """One lane of ready messages."""

    message_class: int
    route: str
    oldest: int
    parked: bool = False  # for lack of rate, until a token comes


class WorkerStatus(msgspec.Struct, frozen=True):
    """Where a worker stands. Times in ms; `next_due` None: its agenda is empty."""

    index: int
    incarnation: int
    pid: int
    role: Literal["fused", "state", "egress"]
    partitions: int
    now: int
    next_due: int | None
    quiet: bool
    waiting: int  # inputs that aren't decided yet
    in_hand: int
    law: dict[str, Counts] = {}
    facts: Counts = {}
    lanes: list[LaneStatus] = []
    sent: dict[str, int] = {}  # by route
    connections: dict[str, int] = {}
    accept_ms: dict[
        str, dict[int, int]
    ] = {}  # by route: wall ms from hand-over to acceptance, by grain
    handed_over: int = 0  # hand-overs to the egress in this life
    unattempted: int = 0  # of these: came back without being begun
    ticks: int = 0
    inputs: int = 0
    in_the_air_found: int = 0
    feed_position: int = 0  # of the newest entry of its store's feed
    trouble: str = ""  # why it takes no inputs now
    store_failures: int = 0  # commits that failed in this life
    disk_free: int = 0  # bytes on the file system of the data directory
    memory_free: int = 0  # bytes
    clock_behind_ms: int = 0  # how far the clock is behind the time in use, which never goes back
    recount: Recount = Recount()
    swept: dict[str, int] = {}  # by tenant, the newest queue mark that every message has looked at
    cpu_ms: int = 0  # that its process used in this life
    connections_full: list[str] = []  # routes that could use more than workers.connections_max
    suppression_age_ms: int | None = (
        None  # how old its view of the list is; None: it never heard of one, or needs none
    )


encode = msgspec.msgpack.Encoder().encode


def decode(kind: Any, raw: bytes) -> Any:
    """Decode one of these Structs."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.msgpack.Decoder(kind)
    return decoder.decode(raw)


_DECODERS: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
