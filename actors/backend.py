"""What the edge asks of the engine: the one interface between gateway or command line and the actors.

All methods are coroutines; all take and return frozen Structs. Times are integer ms since the epoch, UTC. Ids of
messages are 16 bytes inside and 32 hexadecimal digits at the edge. Any method may raise `CapacityError` when
overloaded (nothing was taken, the same call may be made again) and `StoreError` when it isn't known whether anything
was taken (the same call may be made again: input ids and idempotency keys make that harmless).
"""

from __future__ import annotations

__all__ = (
    "Addressee",
    "Arrival",
    "AuditEntry",
    "AuditPage",
    "Backend",
    "CallPage",
    "ConsentView",
    "Conservation",
    "ContactInput",
    "ContactView",
    "CouponView",
    "Explanation",
    "ItemResult",
    "JourneyView",
    "MessageView",
    "Notice",
    "NoticePage",
    "OutcomeEntry",
    "OutcomePage",
    "QuarantineDetail",
    "QuarantineEntry",
    "QuarantinePage",
    "QueueView",
    "Readiness",
    "Recount",
    "Repaired",
    "SendRequest",
    "SendResult",
    "StatusView",
    "StoryLine",
    "WorkerView",
)

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from actors.coupon_views import CodeView, PoolView
from deliverability.returned import Reported
from engine.vocabulary import (
    Call,
    CallAnswered,
    ConsentGiven,
    ContactPut,
    Erase,
    Event,
    SendDirect,
)
from scenarios.merging import Merge
from scenarios.runs import EnterJourney

ContactInput = Event | ContactPut | ConsentGiven | Erase | EnterJourney | CallAnswered | Merge
"""What arrives for a contact. (`SendDirect` comes by `send`, through its idempotency key.)"""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One validated input on its way to the partition of its contact."""

    tenant: str
    contact: str
    input_id: str  # unique per tenant and contact; a repeated one has no effect
    at: int  # the input's own time, which the horizon is measured against
    body: ContactInput
    raw: bytes = b""  # the JSON it was decoded from; empty when it was made by the gateway


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one arrival, durably.

    accepted: taken. duplicate: its id was seen before, without effect. dropped: the contact was erased; counted,
    without effect. refused: not taken, for the reason.
    """

    status: Literal["accepted", "duplicate", "dropped", "refused"]
    reason: str = ""


class Addressee(msgspec.Struct, frozen=True):
    """One recipient of a request to send, and the message for it."""

    contact: str
    body: SendDirect


class SendRequest(msgspec.Struct, frozen=True):
    """A request to send something to one or more recipients. The same key with another digest is a conflict.

    `repeat_ms`: how long the same request is a repetition; 0: as long as keys are kept. `content_keyed`: the key is
    made of the digest itself, so that there can be no conflict (a mail transaction, which brings no key of its own).
    """

    tenant: str
    idempotency_key: str
    digest: bytes  # of all that was asked for, the recipients included
    items: tuple[Addressee, ...]
    repeat_ms: int = 0
    content_keyed: bool = False


class SendResult(msgspec.Struct, frozen=True):
    """What became of a request to send; `message_ids` are those of the first request under the key, in its order."""

    status: Literal["accepted", "repeated", "conflict", "refused"]
    message_ids: tuple[bytes, ...] = ()
    reason: str = ""

    @property
    def message_id(self) -> bytes:
        """The first of them; empty when there is none."""
        return self.message_ids[0] if self.message_ids else b""


class ConsentView(msgspec.Struct, frozen=True):
    """A consent on record."""

    granted: bool
    at_ms: int
    source: str


class JourneyView(msgspec.Struct, frozen=True):
    """One run of the contact through a scenario. `due_ms` None: it waits for an event, or has ended."""

    journey_id: str
    scenario: str
    version: str
    step: str
    state: str
    due_ms: int | None = None


class MessageView(msgspec.Struct, frozen=True):
    """Where a message stands. Contains no address: ask for the contact."""

    message_id: str
    contact: str
    state: str  # scheduled, ready, attempting, delivered, bounced, ...
    stream: str
    template: str
    scenario: str = ""
    step: str = ""
    domain: str = ""
    attempts: int = 0
    due_ms: int | None = None
    expires_ms: int | None = None
    cause: str = ""  # of the last outcome
    reply: str = ""  # the last SMTP reply, without addresses
    final: bool = False  # nothing more will be tried
    topic: str = ""  # of the consent that it needs


class CouponView(msgspec.Struct, frozen=True):
    """A code of a pool that the contact was given."""

    pool: str
    code: str
    at_ms: int


class ContactView(msgspec.Struct, frozen=True):
    """Everything held about a contact (GDPR article 15)."""

    contact: str
    erased: bool = False
    version: int | None = None
    attributes: dict[str, Any] = {}
    consents: dict[str, ConsentView] = {}
    suppressions: dict[str, str] = {}  # stream ("" all) -> reason
    counts: dict[str, int] = {}  # event name -> how many
    journeys: list[JourneyView] = []
    messages: list[MessageView] = []
    coupons: list[CouponView] = []
    merged_into: str = ""  # another contact, of which this is an alias
    formers: list[str] = []  # contacts that were merged into this one


class OutcomeEntry(msgspec.Struct, frozen=True):
    """One line of the outcome feed."""

    message_id: str
    contact: str
    kind: str  # how it ended (delivered, bounced, suppressed, ...), or what came back (returned, complained, ...)
    attempt: int
    at_ms: int
    final: bool
    stream: str = ""
    scenario: str = ""
    step: str = ""
    cause: str = ""
    reply: str = ""


class OutcomePage(msgspec.Struct, frozen=True):
    """Outcomes in commit order per store; asking with `next` continues without gap or repetition."""

    items: list[OutcomeEntry]
    next: str  # opaque, always usable, also when there was nothing new
    more: bool = False


class Notice(msgspec.Struct, frozen=True):
    """What a step `notify`, or a pool of coupons, put on a channel."""

    channel: str
    body: dict[str, Any]


class NoticePage(msgspec.Struct, frozen=True):
    """Notices in commit order per store; as an `OutcomePage`."""

    items: list[Notice]
    next: str
    more: bool = False


class CallPage(msgspec.Struct, frozen=True):
    """Calls of scenarios in commit order per store; as an `OutcomePage`."""

    items: list[Call]
    next: str
    more: bool = False


class WorkerView(msgspec.Struct, frozen=True):
    """One worker actor."""

    name: str
    role: str
    alive: bool
    partitions: int
    inputs_waiting: int = 0
    in_the_air: int = 0
    restarts: int = 0
    pid: int = 0


class QueueView(msgspec.Struct, frozen=True):
    """One ready queue, over all partitions."""

    route: str
    message_class: int
    tenant: str
    ready: int
    oldest_ms: int | None = None
    rate_per_s: float = 0.0
    suspended: bool = False


class StatusView(msgspec.Struct, frozen=True):
    """The whole instance at a glance."""

    version: str
    mode: str
    started_ms: int
    now_ms: int  # log time in a replay
    partitions: int
    contacts: int
    journeys_waiting: int
    workers: list[WorkerView] = []
    queues: list[QueueView] = []
    law: dict[str, dict[str, int]] = {}  # stream -> bucket of the conservation law -> messages
    quarantined: int = 0


class StoryLine(msgspec.Struct, frozen=True):
    """One thing that happened to a message, or why something did not."""

    at_ms: int
    what: str
    detail: dict[str, Any] = {}


class Explanation(msgspec.Struct, frozen=True):
    """A message's story, oldest line first."""

    message: MessageView
    lines: list[StoryLine]


class AuditEntry(msgspec.Struct, frozen=True):
    """A record of the control log; digests and hashes in hexadecimal."""

    seq: int
    at_ms: int
    actor: str
    action: str
    subject: str
    tenant: str
    reason: str
    before: str
    after: str
    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    """A run of the control log, oldest first, and whether the chain holds up to its end."""

    items: list[AuditEntry]
    head: str  # hash of the newest record of the whole log
    intact: bool
    broken_at: int | None = None
    more: bool = False


class Readiness(msgspec.Struct, frozen=True):
    """Whether inputs are taken now, and if not, why. `checks` tells of each part: "ok", or what is wrong."""

    ready: bool
    reason: str = ""
    checks: dict[str, str] = {}


class QuarantineEntry(msgspec.Struct, frozen=True):
    """An input that raised when it was decided."""

    id: str  # partition-number
    at_ms: int
    kind: str  # of the entity: contact, message, ...
    tenant: str
    entity: str
    source: str  # arrive, tell, wake, grant, answer
    input_id: str
    reason: str


class QuarantinePage(msgspec.Struct, frozen=True):
    """Inputs in quarantine, by partition and number; ask for more behind the last one's id."""

    items: list[QuarantineEntry]
    more: bool = False


class QuarantineDetail(msgspec.Struct, frozen=True):
    """An input in quarantine, decoded."""

    entry: QuarantineEntry
    input: Any


class Repaired(msgspec.Struct, frozen=True):
    """What became of a replay or a drop; when it wasn't done, the input stays, with this reason."""

    id: str
    done: bool
    reason: str = ""


class Recount(msgspec.Struct, frozen=True):
    """How a recount of everything stands. `findings` names what doesn't agree."""

    state: Literal["none", "running", "done", "failed"] = "none"
    agrees: bool = False
    entities: int = 0
    rows: int = 0
    took_ms: int = 0
    findings: list[str] = []
    law: dict[str, dict[str, int]] = {}  # as counted anew


class Conservation(msgspec.Struct, frozen=True):
    """The conservation law: accepted = delivered + bounced + ... + queued, by tenant/stream."""

    holds: bool
    law: dict[str, dict[str, int]]
    recount: Recount = msgspec.field(default_factory=Recount)


class Backend(Protocol):
    """The engine as the edge sees it."""

    async def admit(self, arrivals: list[Arrival]) -> list[ItemResult]:
        """Give inputs to their partitions; answers after the sync, one result for each, in order.

        Inputs of one contact are decided in the order given. Idempotent by input id.

        Raises:
            CapacityError: none of them was taken.
            StoreError: some may have been taken.
        """

    async def send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        """Accept requests to send, each whole or not at all; answers after the sync, in order. Idempotent by key.

        Once a request is accepted all its recipients get their messages, whatever dies.

        Raises:
            CapacityError: none of them was taken.
            StoreError: some may have been taken.
        """

    async def returned(self, reports: Sequence[Reported]) -> list[ItemResult]:
        """Tell messages what came back about them; durable when it returns, one result each. Idempotent by input id.

        Raises: CapacityError: none was taken. StoreError: some may have been taken.
        """

    async def contact(self, tenant: str, contact: str) -> ContactView | None:
        """Tell everything held about a contact; None when it is unknown. An erased one is known, and empty."""

    async def message(self, tenant: str, message_id: bytes) -> MessageView | None:
        """Tell where a message stands; None when it is unknown or gone."""

    async def explain(self, tenant: str, message_id: bytes) -> Explanation | None:
        """Tell a message's story from the records."""

    async def outcomes(self, tenant: str, cursor: str, limit: int, wait_ms: int) -> OutcomePage:
        """Read the outcome feed behind a cursor; waits up to `wait_ms` for the first.

        The cursor "" is the beginning of what is kept, "latest" the end as it is now.

        Raises:
            InputError: the cursor isn't one of this instance's, or what lay behind it is no longer kept.
        """

    async def notices(
        self, tenant: str, channel: str, cursor: str, limit: int, wait_ms: int
    ) -> NoticePage:
        """Read what scenarios put on a channel, as `outcomes` are read."""

    async def add_codes(
        self,
        tenant: str,
        pool: str,
        codes: Sequence[str],
        low: int | None,
        expires: int | None = None,
    ) -> PoolView:
        """Put codes into a pool, those that aren't there yet; the same call again adds nothing. Gives the pool after.

        `low`: tell when so many are left; `expires`: give none from then on (ms); None: as it was.
        """

    async def close_pool(self, tenant: str, pool: str, reason: str) -> PoolView | None:
        """Let a pool give nothing more, until codes are added again; None: there is none."""

    async def coupon_pool(self, tenant: str, pool: str) -> PoolView | None:
        """Tell how a pool stands."""

    async def coupon_code(self, tenant: str, pool: str, code: str) -> CodeView | None:
        """Tell to whom a code was given; None: the pool never had it."""

    async def status(self) -> StatusView:
        """Describe the instance."""

    async def audit(self, after: int, limit: int) -> AuditPage:
        """Read the control log behind a sequence number (0: from the beginning)."""

    async def ready(self) -> Readiness:
        """Tell whether inputs are taken now; cheap, asked often."""

    async def quarantine(self, after: str, limit: int) -> QuarantinePage:
        """List inputs in quarantine behind an id ("": from the beginning). Raises: InputError: it is no id."""

    async def quarantined(self, entry: str) -> QuarantineDetail | None:
        """Show an input in quarantine; None when there is none of that id. Raises: InputError: it is no id."""

    async def repair(
        self, entry: str, action: Literal["replay", "drop"], actor: str, reason: str
    ) -> Repaired:
        """Decide an input in quarantine again, or drop it; on record in the control log, durable when it returns.

        Raises: InputError: it is no id.
        """

    async def conservation(self, recount: Literal["no", "last", "start"]) -> Conservation:
        """Tell whether the law holds by the counters; `start` begins to count everything, `last` tells how that goes.

        A recount may take minutes and doesn't hold anything up; starting one while one runs changes nothing.
        """
