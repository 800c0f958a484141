"""The egress: what was handed over, until each attempt has its one outcome. Pure; `transport.delivery` drives it.

    waiting --taken--> started --begin mark--> begun --reply--> concluded --confirmed--> forgotten

*Started*: `MAIL FROM` was written. *Begun*: the begin mark stands in the ledger, just before the final dot. A
message that isn't begun can still be given back (`unattempted`, `cancelled`); one that is begun has a true outcome
or is in doubt. Outcomes are kept until the partition that owns the message confirms them. DESIGN §4.
"""

from __future__ import annotations

__all__ = (
    "NEVER_ARRIVED",
    "Asked",
    "Concluded",
    "Egress",
    "EgressSettings",
    "Guard",
    "Hand",
    "Ledger",
    "lane_name",
)

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal, Protocol

import msgspec

from deliverability.lines import Lines
from deliverability.message.records import SUPPRESSED, AttemptOutcome
from engine.errors import StoreError
from engine.machine import Credit
from engine.tick import CreditOffer
from engine.vocabulary import Message

FLOOR_LEAST = 4  # credits of a lane whose hand-overs all came back for want of time
LANE_KEPT_MS = 60_000  # the pace of a lane that nobody asked for is forgotten after so long
NEVER_ARRIVED = "never_arrived"
"""Cause of an attempt of which this egress never heard."""
SEEN_MAX = 100_000  # (message, attempt) remembered so that a repeated hand-over is refused


class EgressSettings(msgspec.Struct, frozen=True):
    """Bounds of what an egress holds. Times in ms on its monotonic clock."""

    credit_ms: int = 2000  # a permit may be started so long after its credit was issued
    work_ahead_ms: int = 500  # credits are granted for so much work at the rate just measured
    lane_credits_min: int = 64
    in_hand_max: int = 4000
    started_ms_max: int = 60_000  # begun at most so long after it was started


class Ledger(Protocol):
    """Durable marks beside the egress, that outlive its process. Written at once, in order."""

    def begin(self, message_id: bytes, attempt: int) -> None:
        """Write the begin mark: from now on the attempt may have reached the other side."""

    def conclude(self, message_id: bytes, attempt: int, outcome: AttemptOutcome) -> None:
        """Write the outcome."""

    def confirm(self, attempts: Sequence[tuple[bytes, int]]) -> None:
        """Write that the partitions have the outcomes of these attempts (message id, number) durably."""


class Guard(Protocol):
    """Knows to whom no mail may go. `deliverability.suppression.view`."""

    @property
    def edition(self) -> int:
        """Grows whenever somebody was added or taken off."""

    def fresh(self) -> bool:
        """Tell whether it is up to date within the stated bound; when not, nothing may begin."""

    def refuses(self, message: Message) -> str:
        """Tell why a message may not go, or ""."""


class Hand(msgspec.Struct):
    """One message in hand."""

    message: Message
    epoch: int
    state: Literal["waiting", "started", "begun"] = "waiting"
    accepted_at: int = 0
    started_at: int = 0
    cancelled: bool = False
    fenced: bool = False
    edition: int = -1  # of the guard, when it was asked
    suppressed: str = ""


class Concluded(msgspec.Struct, frozen=True):
    """An outcome on its way to the partition."""

    message: Message
    outcome: AttemptOutcome


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A question for the fate of an attempt, by the owner of the message's partition."""

    message_id: bytes
    attempt: int


def lane_name(message_class: int, route: str) -> bytes:
    """Name the lane for which credits are granted: class and route."""
    return f"{message_class}{route}".encode()


class _Lane:
    """Credits and pace of one (class, route).

    `floor`: credits that it may have however slow it is. It halves while hand-overs come back because their time was
    over, and grows again when none does: what can't be started in time is better off in its partition.
    """

    __slots__ = ("_most", "concluded", "floor", "granted", "in_hand", "late", "measured_at", "rate")

    def __init__(self, now: int, floor: int) -> None:
        self._most = self.floor = floor
        self.late = 0  # hand-overs whose time was over, since the last measurement
        self.granted: deque[tuple[int, int]] = deque()  # (not after, number) not handed over yet
        self.in_hand = 0
        self.concluded = 0
        self.measured_at = now
        self.rate = 0.0  # messages a ms

    def measure(self, now: int) -> None:
        passed = now - self.measured_at
        if passed >= 100:
            self.rate = 0.5 * self.rate + 0.5 * self.concluded / passed
            self.concluded = 0
            self.measured_at = now
            if self.late:
                self.floor = min(max(self.floor // 2, FLOOR_LEAST), self._most)
            else:
                self.floor = min(self.floor + self.floor // 8 + 1, self._most)
            self.late = 0

    def idle(self, now: int) -> bool:
        """Tell whether nothing would be lost but an old pace."""
        return not self.granted and not self.in_hand and now - self.measured_at > LANE_KEPT_MS


class Egress:
    """Holds messages between hand-over and confirmation.

    Args:
        holder: the name under which messages are held.
        incarnation: which life of the holder this is; credits of another one are worth nothing.
        ledger: durable marks.
        guard: knows to whom no mail may go; None: there is no such list.
        queue_of: gives the queue of a message's route: all routes that share connections have one.
        weights: shares of tenants in what is sent next, by name; 1 for one that isn't named.
    """

    def __init__(
        self,
        holder: bytes,
        incarnation: int,
        ledger: Ledger,
        settings: EgressSettings | None = None,
        guard: Guard | None = None,
        queue_of: Callable[[str], str] = str,
        weights: Mapping[str, int] | None = None,
    ) -> None:
        self.holder = holder
        self.incarnation = incarnation
        self.settings = settings or EgressSettings()
        self._ledger = ledger
        self._guard = guard
        self._queue_of = queue_of
        self._hands: dict[bytes, Hand] = {}
        self._lines: Lines[Hand] = Lines({} if weights is None else weights)
        self._lanes: dict[bytes, _Lane] = {}
        self._concluded: dict[tuple[bytes, int], Concluded] = {}
        self._fresh: list[Concluded] = []
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._floors: dict[bytes, int] = {}
        self._granted = 0  # credits of all lanes that aren't handed over, taken back or expired
        self.draining = False
        self.begun = 0
        """How many messages in hand are begun: what a death now would leave in doubt."""
        self.handed_over = 0
        """How many hand-overs there were in this life, and how many of them came back unattempted."""
        self.unattempted = 0

    # ---- credits

    def offer(
        self, lane: bytes, now: int, most: int | None = None, *, askers: int = 1, has: int = 0
    ) -> CreditOffer | None:
        """Grant credits for a lane, as much as half a second of work at its pace, within the bounds and `most`.

        With several `askers` each may have an equal part, of which this one `has` so much in hand or granted.
        """
        if self.draining or (self._guard is not None and not self._guard.fresh()):
            return None
        settings = self.settings
        account = self._lanes.get(lane)
        if account is None:
            account = self._lanes[lane] = _Lane(now, settings.lane_credits_min)
        account.measure(now)
        self._expire_credits(account, now)
        ahead = max(int(account.rate * settings.work_ahead_ms), account.floor)
        room = settings.in_hand_max - len(self._hands) - self._granted
        if lane[:1] == b"2":  # a share is reserved for what is urgent or transactional
            room -= settings.in_hand_max // 8
        number = min(ahead - account.in_hand - sum(n for _, n in account.granted), room)
        number = min(number, -(-ahead // askers) - has)
        if most is not None:
            number = min(number, most)
        if number <= 0:
            return None
        not_after = now + settings.credit_ms
        account.granted.append((not_after, number))
        self._granted += number
        return CreditOffer(lane, number, Credit(self.holder, self.incarnation, not_after))

    def take_back(self, offer: CreditOffer) -> None:
        """Hear that credits of an offer weren't used."""
        account = self._lanes.get(offer.lane)
        if account is not None:
            self._use(account, offer.number)

    # ---- hand-over

    def accept(self, epoch: int, message: Message, now: int) -> None:
        """Take a message; one that comes too late, again, or from a former owner gets its answer instead."""
        message_id = message.message_id
        account = self._lanes.get(lane_name(message.message_class, message.route))
        if account is not None:
            self._use(account, 1)
        if message.attempt <= self._seen.get(message_id, 0):
            return  # handed over before: its outcome is on its way, or known
        self.handed_over += 1
        self._seen[message_id] = message.attempt
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        stale = epoch < self._floors.get(message_id[:4], 0)
        if (
            stale
            or message_id in self._hands  # an older attempt has no outcome yet
            or message.incarnation != self.incarnation
            or now > message.not_after
            or self.draining
        ):
            if account is not None and now > message.not_after:
                account.late += 1
            self._give_back(message, "unattempted")
            return
        hand = Hand(message, epoch, accepted_at=now)
        self._hands[message_id] = hand
        if account is not None:
            account.in_hand += 1
        queue = self._queue_of(message.route)
        self._lines.add(queue, message.message_class, message.tenant, hand)

    def cancel(self, message_id: bytes, attempt: int) -> None:
        """Take a request to cancel: granted when the begin mark isn't written, else the true outcome wins."""
        hand = self._hands.get(message_id)
        if hand is None or hand.message.attempt != attempt or hand.state == "begun":
            return
        if hand.state == "waiting":
            self._drop(hand, "cancelled")
        else:
            hand.cancelled = True

    # ---- for connections

    def handed_over_at(self, message: Message) -> int | None:
        """Tell when a message in hand was handed over, on the clock of `accept`; None: it isn't in hand."""
        hand = self._hands.get(message.message_id)
        return None if hand is None else hand.accepted_at

    def started_at(self, message: Message) -> int | None:
        """Tell when a message in hand was started; None: it isn't in hand."""
        hand = self._hands.get(message.message_id)
        return None if hand is None else hand.started_at

    def take(self, route: str, now: int) -> Message | None:
        """Give the next message to start on a route: the most urgent class first, then fair between tenants.

        None while it isn't known who is suppressed: what waits goes back when its time is over.
        """
        guard = self._guard
        if guard is not None and not guard.fresh():
            return None
        while (hand := self._lines.pop(route)) is not None:
            if self._hands.get(hand.message.message_id) is not hand or hand.state != "waiting":
                continue
            if now > hand.message.not_after:
                self._too_late(hand)
                continue
            if guard is not None and self._is_suppressed(hand, guard):
                self._drop(hand, "cancelled", hand.suppressed)
                continue
            hand.state = "started"
            hand.started_at = now
            return hand.message
        return None

    def urgency(self, route: str) -> int | None:
        """Give the most urgent class that waits on a route; None: nothing does. One given back may still count."""
        return self._lines.urgency(route)

    def begin(self, message: Message, now: int) -> bool:
        """Check a last time and write the begin mark. False: it must not be sent, and `conclude` follows."""
        hand = self._hands.get(message.message_id)
        if hand is None or hand.cancelled or hand.fenced or hand.message.attempt != message.attempt:
            return False
        if now - hand.started_at > self.settings.started_ms_max:
            return False
        if hand.epoch < self._floors.get(message.message_id[:4], 0):
            return False
        guard = self._guard
        if guard is not None and (not guard.fresh() or self._is_suppressed(hand, guard)):
            return False
        self._ledger.begin(message.message_id, message.attempt)
        hand.state = "begun"
        self.begun += 1
        return True

    def withdrawn(self, message: Message) -> bool:
        """Tell whether a started message was cancelled meanwhile."""
        hand = self._hands.get(message.message_id)
        return hand is not None and (hand.cancelled or bool(hand.suppressed))

    def conclude(self, message: Message, outcome: AttemptOutcome) -> None:
        """Take the one outcome of an attempt."""
        hand = self._hands.get(message.message_id)
        if hand is None or hand.message.attempt != message.attempt:
            return  # given back before: the partition has its answer
        if hand.suppressed and outcome.kind == "cancelled":
            cause, text = SUPPRESSED, hand.suppressed
            outcome = msgspec.structs.replace(outcome, cause=cause, text=text)
        self._remove(hand)
        self.unattempted += outcome.kind == "unattempted"
        self._keep(Concluded(message, outcome))

    # ---- towards the partitions

    def outcomes(self) -> list[Concluded]:
        """Take the outcomes that are new since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    @property
    def fresh_count(self) -> int:
        """How many outcomes `outcomes` would give."""
        return len(self._fresh)

    def unconfirmed(self) -> list[Concluded]:
        """List all outcomes that aren't confirmed: to be told again after a failed commit."""
        self._fresh = []
        return list(self._concluded.values())

    def confirmed(self, concluded: Iterable[Concluded]) -> None:
        """Forget outcomes that are durable with their partition."""
        keys = [(one.message.message_id, one.message.attempt) for one in concluded]
        known = [key for key in keys if self._concluded.pop(key, None) is not None]
        if known:
            self._ledger.confirm(known)

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Answer for an attempt. Asking is fencing: what isn't begun is dropped before the answer.

        Returns: None for one that is begun; its outcome comes by itself.
        """
        place = asked.message_id[:4]
        if fence and epoch > self._floors.get(place, 0):
            self._floors[place] = epoch
        known = self._concluded.get((asked.message_id, asked.attempt))
        if known is not None:
            return known.outcome
        hand = self._hands.get(asked.message_id)
        if hand is None or hand.message.attempt != asked.attempt:
            self._seen[asked.message_id] = max(
                self._seen.get(asked.message_id, 0), asked.attempt
            )  # should it still be on its way, it comes too late
            return AttemptOutcome(asked.attempt, "unattempted", NEVER_ARRIVED)
        if hand.state == "begun":
            return None
        if hand.state == "started":
            hand.fenced = True  # the last check refuses it; its end comes by itself
            return None
        self._remove(hand)
        return AttemptOutcome(asked.attempt, "unattempted", "fenced")

    def expire(self, now: int) -> None:
        """Give back what waits and can't be started in time any more; forget credits and lanes out of use."""
        for lane, account in list(self._lanes.items()):
            self._expire_credits(account, now)
            if account.idle(now):
                del self._lanes[lane]
        for hand in [h for h in self._hands.values() if h.state == "waiting"]:
            if now > hand.message.not_after:
                self._too_late(hand)

    def fail_route(self, route: str, outcome: AttemptOutcome) -> int:
        """End all that waits for a route with one outcome: nobody there can be reached."""
        failed = 0
        for hand in self._lines.take_all(route):
            if self._hands.get(hand.message.message_id) is hand and hand.state == "waiting":
                attempt = hand.message.attempt
                self._remove(hand)
                told = msgspec.structs.replace(outcome, attempt=attempt)
                with suppress(StoreError):  # it is told all the same, and was never begun
                    self._keep(Concluded(hand.message, told))
                failed += 1
        return failed

    # ---- questions

    def waiting(self) -> Iterator[tuple[str, int]]:
        """List routes with how many messages wait to be started."""
        return self._lines.waiting()

    def message_ids(self) -> set[bytes]:
        """Name the messages that are in hand, or whose outcome isn't confirmed."""
        return {*self._hands, *(message_id for message_id, _ in self._concluded)}

    @property
    def in_hand(self) -> int:
        """How many messages are in hand, whatever their state."""
        return len(self._hands)

    @property
    def unconfirmed_count(self) -> int:
        """How many outcomes wait for their confirmation."""
        return len(self._concluded)

    # ---- inside

    def _expire_credits(self, account: _Lane, now: int) -> None:
        while account.granted and account.granted[0][0] < now:
            self._granted -= account.granted.popleft()[1]

    def _use(self, account: _Lane, number: int) -> None:
        while number and account.granted:
            not_after, held = account.granted[0]
            used = min(held, number)
            self._granted -= used
            number -= used
            if held > used:
                account.granted[0] = (not_after, held - used)
            else:
                account.granted.popleft()

    def _remove(self, hand: Hand) -> None:
        del self._hands[hand.message.message_id]
        self.begun -= hand.state == "begun"
        message = hand.message
        account = self._lanes.get(lane_name(message.message_class, message.route))
        if account is not None:
            account.in_hand -= 1
            account.concluded += 1

    def _is_suppressed(self, hand: Hand, guard: Guard) -> bool:
        """Ask, unless nobody was added since it was asked."""
        if hand.edition != guard.edition:
            hand.suppressed = guard.refuses(hand.message)
            hand.edition = guard.edition
        return bool(hand.suppressed)

    def _too_late(self, hand: Hand) -> None:
        """Give back what couldn't be started in time."""
        account = self._lanes.get(lane_name(hand.message.message_class, hand.message.route))
        if account is not None:
            account.late += 1
        self._drop(hand, "unattempted")

    def _drop(
        self, hand: Hand, kind: Literal["unattempted", "cancelled"], suppressed: str = ""
    ) -> None:
        self._remove(hand)
        self._give_back(hand.message, kind, suppressed)

    def _give_back(
        self, message: Message, kind: Literal["unattempted", "cancelled"], suppressed: str = ""
    ) -> None:
        """Answer for what was never begun; no ledger entry, since no mark means just this."""
        self.unattempted += kind == "unattempted"
        outcome = AttemptOutcome(message.attempt, kind)
        if suppressed:
            outcome = AttemptOutcome(message.attempt, kind, SUPPRESSED, text=suppressed)
        concluded = Concluded(message, outcome)
        self._concluded[message.message_id, message.attempt] = concluded
        self._fresh.append(concluded)

    def _keep(self, concluded: Concluded) -> None:
        message = concluded.message
        self._concluded[message.message_id, message.attempt] = concluded
        self._fresh.append(concluded)
        # last: should the ledger fail, the outcome is known here, and its mark alone means doubt
        self._ledger.conclude(message.message_id, message.attempt, concluded.outcome)
