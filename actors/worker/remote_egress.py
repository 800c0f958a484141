"""The egress port of a state worker whose egress is another actor: the state worker's side of the protocol. Pure.

    greeting --welcome--> asking --fates--> up --a call failed, or another incarnation answers--> greeting

While it is *up*, one `Exchange` a tick carries messages, cancels, confirmations and wishes for credits. Credits are
kept in a pool a lane and asked for in advance; they are good until the sooner of what the egress says, on its clock,
and `credit_ms` from when we asked, on ours. When a call fails, nobody knows what it did: the egress is greeted until it
answers, then asked for the fate of what that call carried; of all that is in hand, when it is another incarnation. A
failure of a call to a former incarnation says nothing new, so it is left out. What can't be asked for within
`lost_after_ms` is in doubt.

No clock, no task: `requests` gives what is to be sent now, `answered`, `failed` and `heard` take what came of it, and
`next_call` says when to look again. `actors.worker.egress_link` does the calling. DESIGN §4.
"""

from __future__ import annotations

__all__ = ("CallNumber", "RemoteEgress", "RemoteSettings")

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NewType, assert_never

import msgspec

from actors.worker.egress_port import HeldMessage
from actors.worker.egress_wire import (
    Attempt,
    Exchange,
    Fates,
    Grant,
    Granting,
    Greeting,
    Handover,
    News,
    Question,
    Questions,
    Reply,
    Request,
    Welcome,
    Wish,
)
from deliverability.egress import Asked
from deliverability.message.records import AttemptOutcome
from engine.keyspace import EntityKey, message_key, name_of
from engine.machine import Credit
from engine.tick import Answer, CreditOffer
from engine.vocabulary import Message

CallNumber = NewType("CallNumber", int)

DOUBTED_MAX = 100_000  # attempts given up for lost whose true outcome is still asked for when the egress is back


class RemoteSettings(msgspec.Struct, frozen=True):
    """Times in ms, on the state worker's monotonic clock."""

    lost_after_ms: int = 60_000
    greet_again_ms: int = 250
    wish_again_ms: int = 20  # after wishes that brought nothing; doubles up to `wish_again_ms_max`
    wish_again_ms_max: int = 200
    confirm_within_ms: int = 200  # confirmations wait so long for an exchange to travel with
    wish: int = 256  # credits wanted for a lane where something waits
    wish_in_advance: int = 64
    exchange_max: int = 1000  # messages in one exchange


class _Pooled(msgspec.Struct):
    """Credits at hand. `until`: on our clock."""

    until: int
    number: int
    credit: Credit


class RemoteEgress:
    """Keeps to the protocol of hand-over with one egress.

    Args:
        owner: the number of this state worker.
        holder: the egress's name, under which messages are held.
        now: the time of inputs, ms.
        mono: our monotonic clock, ms.
    """

    def __init__(
        self,
        owner: int,
        holder: bytes,
        now: Callable[[], int],
        mono: Callable[[], int],
        settings: RemoteSettings | None = None,
    ) -> None:
        self.settings = settings or RemoteSettings()
        self.draining = False
        self.catalog = 0
        self.kick: Callable[[], None] = _nobody
        """Called when there may be calls to make."""
        self._owner = owner
        self._holder = holder
        self._now = now
        self._mono = mono
        self._phase: Literal["greeting", "asking", "up"] = "greeting"
        self._incarnation = 0
        self._credit_ms = 0
        self._away_since = mono()
        self._greet_at = 0
        self._numbers = 0
        self._calls: dict[CallNumber, tuple[Request, int]] = {}  # with when we asked
        self._greeted: CallNumber | None = None  # the newest greeting or question
        self._wished: CallNumber | None = None  # the exchange with wishes that isn't answered yet
        self._hands: dict[bytes, HeldMessage] = {}
        self._asks: dict[bytes, int] = {}  # of these, whose fate must be asked
        self._ask_all = True
        self._sent: Counter[str] = Counter()
        self._doubted: OrderedDict[bytes, HeldMessage] = OrderedDict()
        self._fresh: list[Answer] = []
        self._given: list[Answer] = []
        self._unconfirmed: dict[tuple[bytes, int], Answer] = {}
        self._to_confirm: list[Attempt] = []
        self._confirm_by = 0
        self._messages: list[Handover] = []
        self._cancels: dict[bytes, Attempt] = {}
        self._cancels_sent: set[bytes] = set()
        self._pool: dict[bytes, deque[_Pooled]] = {}
        self._offered: dict[bytes, _Pooled] = {}  # in the tick under way
        self._asked_for: dict[bytes, bool] = {}  # in the tick under way: ready or in advance
        self._demand: dict[bytes, bool] = {}  # as the last tick asked
        self._holding: dict[bytes, HeldMessage] = {}
        self._parked: dict[bytes, int] = {}
        self._wish_at = 0
        self._wish_pause = 0

    # ---- EgressPort: questions

    @property
    def incarnation(self) -> int:
        """Which life of the egress we know; 0: none yet."""
        return self._incarnation

    @property
    def in_hand(self) -> int:
        """How many attempts were handed over and have no outcome here yet."""
        return len(self._hands)

    @property
    def begun(self) -> int:
        """How many may be begun: all in hand, as far as can be known from here."""
        return len(self._hands)

    @property
    def fresh_count(self) -> int:
        """How many outcomes wait to be taken."""
        return len(self._fresh)

    @property
    def unconfirmed_count(self) -> int:
        """How many outcomes are here and not durable."""
        return len(self._unconfirmed)

    @property
    def composing(self) -> bool:
        """Nothing is composed in this loop."""
        return False

    @property
    def returned(self) -> tuple[int, int]:
        """The egress itself counts."""
        return 0, 0

    @property
    def unsaid(self) -> int:
        """How many confirmations the egress hasn't been told of."""
        return len(self._to_confirm)

    def parked_until(self, lane: bytes) -> int | None:
        """Give the time at which the lane's next token comes, as the egress said when last asked."""
        until = self._parked.get(lane, 0)
        if until <= self._now() or self._at_hand(lane):
            return None
        return until

    # ---- EgressPort: credits and hand-over

    def offer(self, lane: bytes, *, ready: bool) -> CreditOffer | None:
        """Give what the pool has of one credit, and remember what is wanted."""
        if self.draining or self._phase != "up":
            return None
        self._asked_for[lane] = ready
        if not self._at_hand(lane):
            return None
        first = self._offered[lane] = self._pool[lane].popleft()
        return CreditOffer(lane, first.number, first.credit)

    def take_back(self, offer: CreditOffer) -> None:
        """Put unused credits back into the pool: they are good until they expire."""
        first = self._offered.pop(offer.lane, None)
        if first is not None:
            first.number = offer.number
            self._pool.setdefault(offer.lane, deque()).appendleft(first)

    def accept(self, epoch: int, message: Message) -> None:
        """Put a message into the next exchange.

        One whose egress went away while its tick was being synced is given back: nobody was told of it yet, so it was
        never begun, and to ask for it in vain would end in doubt.
        """
        key = message_key(message.tenant, message.message_id)
        if self._phase != "up" or message.incarnation != self._incarnation:
            outcome = AttemptOutcome(message.attempt, "unattempted", "egress_away")
            self._tell(key, EntityKey(message.contact), outcome)
            return
        self._hands[message.message_id] = HeldMessage(
            key,
            message.message_id,
            message.attempt,
            EntityKey(message.contact),
            epoch,
            self._holder,
            message.route,
        )
        self._messages.append(Handover(epoch, message))

    def cancel(self, message_id: bytes, attempt: int) -> None:
        """Ask with each new connection until the outcome is there."""
        hand = self._hands.get(message_id)
        if hand is not None and hand.attempt == attempt:
            self._cancels[message_id] = Attempt(message_id, attempt)

    # ---- EgressPort: outcomes

    def outcomes(self) -> list[Answer]:
        """Take what was told since the last call."""
        fresh, self._fresh = self._fresh, []
        self._given += fresh
        return fresh

    def confirmed(self) -> None:
        """Let the next exchange tell the egress what is durable; a doubt of our own concerns nobody else."""
        if not self._given:
            return
        for answer in self._given:
            key = _key_of(answer)
            if self._unconfirmed.pop(key, None) is not None and not _is_ours(answer):
                self._to_confirm.append(Attempt(*key))
        self._given = []
        self._confirm_by = self._confirm_by or self._mono() + self.settings.confirm_within_ms

    def unconfirmed(self) -> list[Answer]:
        """Give all outcomes again that aren't durable."""
        self._fresh = []
        self._given = list(self._unconfirmed.values())
        return list(self._given)

    def hold(self, held: Sequence[HeldMessage]) -> None:
        """Hear what the partitions hold."""
        self._holding = {one.message_id: one for one in held}

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Note that an attempt must be asked for. Only what another holder had, and no ledger knows, ends at once."""
        del epoch, fence  # what is held says it, and asking is always fencing
        message_id, attempt = asked.message_id, asked.attempt
        held = self._holding[message_id]
        if held.holder != self._holder:
            return AttemptOutcome(attempt, "unattempted", "never_begun")
        hand = self._hands.get(message_id)
        if (message_id, attempt) in self._unconfirmed or (hand and hand.attempt == attempt):
            return None
        self._hands[message_id] = held
        self._asks[message_id] = attempt
        if self._phase == "up":
            self._phase = "asking"
            self._away_since = self._mono()
        return None

    # ---- EgressPort: life

    def pump(self) -> None:
        """Let go what a tick handed over."""
        self._demand, self._asked_for = self._asked_for, {}
        self._offered = {}
        self.kick()

    def look(self) -> None:
        """Look after time."""
        self.kick()

    async def drain(self) -> None:
        """Let the egress go on: what is in hand gets its outcomes while the worker's loop runs."""

    def close(self, *, clean: bool) -> None:
        """End; what is open is asked for in the next life."""

    def sent(self) -> dict[str, int]:
        """Count what was delivered, as told."""
        return dict(self._sent)

    def accept_ms(self) -> dict[str, dict[int, int]]:
        """Measure nothing: the egress does."""
        return {}

    def connections(self) -> dict[str, int]:
        """Count nothing: the egress does."""
        return {}

    # ---- for the link

    def requests(self) -> list[tuple[CallNumber, Request]]:
        """Give the calls to make now."""
        now = self._mono()
        self._give_up(now)
        match self._phase:
            case "greeting":
                if self._greeted is not None or now < self._greet_at:
                    return []
                self._greeted = self._call(Greeting(self._owner), now)
                return [(self._greeted, self._calls[self._greeted][0])]
            case "asking":
                if self._greeted is not None:
                    return []
                self._greeted = self._call(self._questions(), now)
                return [(self._greeted, self._calls[self._greeted][0])]
            case "up":
                return self._exchanges(now)
            case _:
                assert_never(self._phase)

    def next_call(self) -> int | None:
        """Give the time, on our clock, at which `requests` should be looked at again."""
        times = []
        if self._phase != "up" and self._hands:
            times.append(self._away_since + self.settings.lost_after_ms)
        if self._phase == "greeting" and self._greeted is None:
            times.append(self._greet_at)
        if self._phase == "up":
            if self._to_confirm:
                times.append(self._confirm_by)
            if self._wished is None and self._wishes():
                times.append(self._wish_at)
        return min(times, default=None)

    def answered(self, number: CallNumber, reply: Reply) -> bool:
        """Take the answer of a call; one of a call given up before changes nothing.

        Returns: whether the worker should look what it can do now.
        """
        called = self._calls.pop(number, None)
        if called is None:
            return False
        request, asked_at = called
        if number == self._greeted:
            self._greeted = None
        match request, reply:
            case Greeting(), Welcome():
                self._welcomed(reply)
            case Questions(), Fates():
                self._learned(request, reply)
            case Exchange(), Granting():
                self._exchanged(number, request, reply, asked_at)
            case _:
                raise TypeError(f"{type(reply).__name__} answers {type(request).__name__}")
        return not isinstance(request, Exchange) or bool(request.wishes)

    def failed(self, number: CallNumber) -> None:
        """Hear that a call may or may not have happened."""
        called = self._calls.pop(number, None)
        if called is None:
            return
        request, _ = called
        if isinstance(request, Exchange):
            self._doubt(number, request)
            return
        if number == self._greeted:
            self._greeted = None
        self._down(self._mono() + self.settings.greet_again_ms)

    def heard(self, news: News) -> None:
        """Take outcomes that the egress tells of its own accord."""
        for told in news.items:
            key = (told.message_id, told.outcome.attempt)
            if key in self._unconfirmed:
                continue
            hand = self._take(*key)
            if hand is not None:
                self._sent[hand.route] += told.outcome.kind == "delivered"
                self._tell(hand.key, hand.contact, told.outcome)
            else:
                late = message_key(told.tenant, told.message_id)
                self._tell(late, EntityKey(told.contact), told.outcome)
        self._wish_at = self._wish_pause = 0  # there is room again

    # ---- calls and their answers

    def _call(self, request: Request, now: int) -> CallNumber:
        self._numbers += 1
        number = CallNumber(self._numbers)
        self._calls[number] = (request, now)
        return number

    def _questions(self) -> Questions:
        asked = [self._hands[message_id] for message_id in self._asks]
        if self._ask_all:
            asked += self._doubted.values()
        items = [Question(Attempt(one.message_id, one.attempt), one.epoch) for one in asked]
        return Questions(self._owner, self._incarnation, items, self._ask_all)

    def _welcomed(self, welcome: Welcome) -> None:
        if welcome.incarnation != self._incarnation:
            self._incarnation = welcome.incarnation
            self._ask_all = True
            self._parked.clear()
        if self._ask_all or self._doubted:
            self._ask_all = True
            self._asks = {one.message_id: one.attempt for one in self._hands.values()}
        self._credit_ms = welcome.credit_ms
        self._phase = "asking" if self._asks or self._ask_all else "up"

    def _learned(self, request: Questions, fates: Fates) -> None:
        if fates.incarnation != self._incarnation or request.incarnation != self._incarnation:
            self._down(self._mono())
            return
        for question, outcome in zip(request.items, fates.items, strict=True):
            message_id, attempt = question.attempt.message_id, question.attempt.number
            if self._asks.get(message_id) == attempt:
                del self._asks[message_id]
            doubted = self._doubted.get(message_id)
            hand = self._take(message_id, attempt) if outcome is not None else None
            if outcome is None:
                continue
            if hand is not None:
                self._tell(hand.key, hand.contact, outcome)
            elif doubted is not None and outcome.kind in ("delivered", "bounced"):
                self._tell(doubted.key, doubted.contact, outcome)
        if request.complete:
            self._ask_all = False
            self._doubted.clear()
        if not self._asks and self._phase == "asking":
            self._phase = "up"

    def _exchanged(
        self, number: CallNumber, request: Exchange, granting: Granting, asked_at: int
    ) -> None:
        if granting.refused:
            self._doubt(number, request)
            return
        if number == self._wished:
            self._wished = None
        if granting.incarnation != self._incarnation or self._phase != "up":
            return
        until = asked_at + self._credit_ms
        for grant in granting.grants:
            self._pool_grant(grant, until)
        if request.wishes:
            # what is parked isn't asked for again before its time
            self._pace_wishes(fulfilled=any(one.number or one.parked for one in granting.grants))

    def _pool_grant(self, grant: Grant, until: int) -> None:
        self._parked[grant.lane] = grant.parked
        if grant.number:
            credit = Credit(self._holder, self._incarnation, grant.not_after)
            pooled = _Pooled(until, grant.number, credit)
            self._pool.setdefault(grant.lane, deque()).append(pooled)

    def _pace_wishes(self, *, fulfilled: bool) -> None:
        settings = self.settings
        if fulfilled:
            self._wish_at = self._wish_pause = 0
        else:
            longer = max(self._wish_pause * 2, settings.wish_again_ms)
            self._wish_pause = min(longer, settings.wish_again_ms_max)
            self._wish_at = self._mono() + self._wish_pause

    def _doubt(self, number: CallNumber, request: Exchange) -> None:
        """A call may or may not have happened: ask for its messages, unless all was asked of a newer life already."""
        if number == self._wished:
            self._wished = None
        if request.incarnation != self._incarnation:
            return
        self._ask_for(one.message for one in request.messages)
        self._cancels_sent -= {one.message_id for one in request.cancels}
        self._down(self._mono())

    def _down(self, greet_at: int) -> None:
        """Greet anew; what wasn't sent yet is asked for as well, since its credits are worth nothing."""
        if self._phase == "up":
            self._away_since = self._mono()
        self._phase = "greeting"
        self._greet_at = greet_at
        self._ask_for(one.message for one in self._messages)
        self._messages = []
        self._pool.clear()
        self._offered.clear()
        self._wished = None

    def _ask_for(self, messages: Iterable[Message]) -> None:
        for message in messages:
            hand = self._hands.get(message.message_id)
            if hand is not None and hand.attempt == message.attempt:
                self._asks[message.message_id] = message.attempt

    def _give_up(self, now: int) -> None:
        """What can't be asked for within the time allowed is in doubt; its true outcome is asked for all the same."""
        away = now - self._away_since
        if self._phase == "up" or not self._hands or away < self.settings.lost_after_ms:
            return
        for hand in list(self._hands.values()):
            self._take(hand.message_id, hand.attempt)
            self._doubted[hand.message_id] = hand
            lost = AttemptOutcome(hand.attempt, "in_doubt", "egress_lost")
            self._tell(hand.key, hand.contact, lost)
        while len(self._doubted) > DOUBTED_MAX:
            self._doubted.popitem(last=False)
        self._messages = []

    # ---- hands

    def _take(self, message_id: bytes, attempt: int) -> HeldMessage | None:
        """Take an attempt out of hand, if it is there."""
        hand = self._hands.get(message_id)
        if hand is None or hand.attempt != attempt:
            return None
        del self._hands[message_id]
        self._asks.pop(message_id, None)
        self._cancels.pop(message_id, None)
        self._cancels_sent.discard(message_id)
        return hand

    def _tell(self, key: EntityKey, contact: EntityKey, outcome: AttemptOutcome) -> None:
        answer = Answer(key, outcome, (contact,))
        known = _key_of(answer)
        if known not in self._unconfirmed:
            self._unconfirmed[known] = answer
            self._fresh.append(answer)

    # ---- exchanges

    def _exchanges(self, now: int) -> list[tuple[CallNumber, Request]]:
        wishes = self._wishes() if self._wished is None and now >= self._wish_at else []
        cancels = [c for c in self._cancels.values() if c.message_id not in self._cancels_sent]
        late = self.draining or now >= self._confirm_by
        overdue = bool(self._to_confirm) and late
        if not (wishes or cancels or overdue or self._messages):
            return []
        confirmed, self._to_confirm, self._confirm_by = self._to_confirm, [], 0
        self._cancels_sent |= {one.message_id for one in cancels}
        size = self.settings.exchange_max
        first = Exchange(
            self._owner,
            self._incarnation,
            self._now(),
            self._messages[:size],
            cancels,
            confirmed,
            wishes,
            self.catalog,
        )
        made: list[tuple[CallNumber, Request]] = [(self._call(first, now), first)]
        if wishes:
            self._wished = made[0][0]
        for start in range(size, len(self._messages), size):
            part = self._messages[start : start + size]
            more = Exchange(self._owner, self._incarnation, self._now(), part, catalog=self.catalog)
            made.append((self._call(more, now), more))
        self._messages = []
        return made

    def _wishes(self) -> list[Wish]:
        """Say what is wanted: for lanes where something waits, and in advance for lanes that were busy lately."""
        settings, wishes = self.settings, []
        if self.draining:
            return []
        for lane, ready in self._demand.items():
            wanted = settings.wish if ready else settings.wish_in_advance
            have = self._at_hand(lane)
            if have < wanted // 2 and self._parked.get(lane, 0) <= self._now():
                wishes.append(Wish(lane, wanted - have, ready))
        return wishes

    def _at_hand(self, lane: bytes) -> int:
        """Count the lane's credits that are still good."""
        pool = self._pool.get(lane)
        if not pool:
            return 0
        now = self._mono()
        while pool and pool[0].until <= now:
            pool.popleft()
        return sum(one.number for one in pool)


def _nobody() -> None:
    """Nobody makes calls yet."""


def _key_of(answer: Answer) -> tuple[bytes, int]:
    return name_of(answer.key), answer.body.attempt


def _is_ours(answer: Answer) -> bool:
    """Tell whether we declared the outcome ourselves: the egress may still have the true one."""
    outcome: AttemptOutcome = answer.body
    return outcome.kind == "in_doubt" and outcome.cause == "egress_lost"
