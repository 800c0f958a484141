"""The egress's side of the protocol with state workers that live elsewhere. Pure; `egress_worker` drives it.

Takes hand-overs from several owners, grants each its part of the credits, answers for fates (of this incarnation and
from the ledgers of former ones), and tells outcomes again and again until they are confirmed. What was meant for a
former incarnation is refused whole. DESIGN §4.
"""

from __future__ import annotations

__all__ = ("DeskSettings", "EgressDesk")

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from actors.worker.egress_wire import (
    Attempt,
    Exchange,
    Fates,
    Grant,
    Granting,
    Greeting,
    News,
    Question,
    Questions,
    Reply,
    Request,
    Told,
    Welcome,
    Wish,
)
from deliverability.egress import NEVER_ARRIVED, Asked, Concluded, Egress, lane_name
from deliverability.governor import Gate
from deliverability.message.records import AttemptOutcome
from deliverability.transport.ledger import Adopted
from engine.vocabulary import Message

Key = tuple[bytes, int]  # message id, attempt
Lane = tuple[int, bytes]  # owner, lane


class DeskSettings(msgspec.Struct, frozen=True):
    """Times in ms on the egress's monotonic clock."""

    tell_again_ms: int = 3000  # an outcome that isn't confirmed is told again after so long
    asker_kept_ms: int = 2000  # whoever wished for a lane so lately has a part of it
    advance_part: int = 4  # in advance only one in so many of a route's tokens is given
    news_max: int = 1000


class _Share:
    """What one owner has of one lane: credits granted and not used, and messages in hand."""

    __slots__ = ("asked_at", "granted", "in_hand")

    def __init__(self) -> None:
        self.granted: deque[list[int]] = deque()  # [not after, number]
        self.in_hand = 0
        self.asked_at = 0

    def has(self) -> int:
        return self.in_hand + sum(number for _, number in self.granted)

    def use(self) -> None:
        """Use one credit; a hand-over without one was late or repeated, and the egress refuses it."""
        if self.granted:
            self.granted[0][1] -= 1
            if not self.granted[0][1]:
                self.granted.popleft()

    def expire(self, now: int) -> int:
        """Forget credits that are worth nothing any more. Returns how many."""
        gone = 0
        while self.granted and self.granted[0][0] < now:
            gone += self.granted.popleft()[1]
        return gone


class EgressDesk:
    """Serves state workers.

    Args:
        egress: holds what is in hand.
        gate: rates by route, on the time of inputs.
        adopted: ledgers of former incarnations of the same egress.
        owner_of: tells which state worker owns a message, by its id.
        mono: the egress's monotonic clock, ms.
        begin: the time of inputs at first, ms.
    """

    def __init__(
        self,
        egress: Egress,
        gate: Gate,
        adopted: Sequence[Adopted],
        owner_of: Callable[[bytes], int],
        mono: Callable[[], int],
        begin: int = 0,
        settings: DeskSettings | None = None,
    ) -> None:
        self.settings = settings or DeskSettings()
        self.now = begin
        """The time of inputs, as the owners told it: it never goes back."""
        self.in_the_air = sum(len(ledger.in_doubt) for ledger in adopted)
        self.concluded = sum(len(ledger.outcomes) for ledger in adopted)
        self._egress = egress
        self._gate = gate
        self._adopted = list(adopted)
        self._owner_of = owner_of
        self._mono = mono
        self._shares: dict[Lane, _Share] = {}
        self._taken: dict[Key, Lane] = {}
        self._in_hand: dict[int, int] = {}  # by owner
        self._fresh: dict[int, OrderedDict[Key, Concluded]] = {}  # not told yet, by owner
        self._told: OrderedDict[Key, tuple[int, int, Concluded]] = OrderedDict()  # when, owner

    # ---- requests

    def answer(self, request: Request) -> Reply:
        """Answer a request at once."""
        match request:
            case Greeting():
                return Welcome(self._egress.incarnation, self._egress.settings.credit_ms)
            case Questions():
                return self._fates(request)
            case Exchange():
                return self._exchange(request)
            case _:
                assert_never(request)

    def _fates(self, questions: Questions) -> Fates:
        if questions.incarnation != self._egress.incarnation:
            return Fates(self._egress.incarnation)
        fates = [self._fate(one) for one in questions.items]
        if questions.complete:
            if any(ledger.damaged for ledger in self._adopted):
                fates = [_doubted(one) for one in fates]
            self._forget_others(questions)
        return Fates(self._egress.incarnation, fates)

    def _fate(self, question: Question) -> AttemptOutcome | None:
        attempt = question.attempt
        for ledger in self._adopted:
            outcome = ledger.fate(attempt.message_id, attempt.number)
            if outcome is not None:
                return outcome
        asked = Asked(attempt.message_id, attempt.number)
        outcome = self._egress.fate(asked, question.epoch, fence=True)
        if outcome is not None:
            self._leave((attempt.message_id, attempt.number))
        return outcome

    def _forget_others(self, questions: Questions) -> None:
        """What an owner doesn't hold is settled with it: former incarnations needn't answer for it any more."""
        asked = {(one.attempt.message_id, one.attempt.number) for one in questions.items}
        for ledger in self._adopted:
            for key in [*ledger.outcomes, *ledger.in_doubt]:
                if key not in asked and self._owner_of(key[0]) == questions.owner:
                    _settle(ledger, key)
        self._drop_ledgers()

    def _exchange(self, exchange: Exchange) -> Granting:
        if exchange.incarnation != self._egress.incarnation:
            return Granting(self._egress.incarnation, refused=True)
        self.now = max(self.now, exchange.now)
        now = self._mono()
        self._confirm(exchange.confirmed)
        for handover in exchange.messages:
            self._accept(exchange.owner, handover.epoch, handover.message, now)
        for cancel in exchange.cancels:
            self._egress.cancel(cancel.message_id, cancel.number)
        grants = self._grants(exchange.owner, exchange.wishes, now)
        return Granting(self._egress.incarnation, grants)

    def _accept(self, owner: int, epoch: int, message: Message, now: int) -> None:
        lane = (owner, lane_name(message.message_class, message.route))
        share = self._share(lane)
        share.use()
        before = self._egress.in_hand
        self._egress.accept(epoch, message, now)
        if self._egress.in_hand > before:
            self._taken[message.message_id, message.attempt] = lane
            share.in_hand += 1
            self._in_hand[owner] = self._in_hand.get(owner, 0) + 1

    def _leave(self, key: Key) -> None:
        lane = self._taken.pop(key, None)
        if lane is not None:
            self._shares[lane].in_hand -= 1
            self._in_hand[lane[0]] -= 1

    # ---- credits

    def _grants(self, owner: int, wishes: Sequence[Wish], now: int) -> list[Grant]:
        if not wishes:
            return []
        self.expire(now)
        for wish in wishes:
            self._share((owner, wish.lane)).asked_at = now
        since = now - self.settings.asker_kept_ms
        askers = Counter(lane for (_, lane), one in self._shares.items() if one.asked_at >= since)
        return [self._grant(owner, wish, now, askers[wish.lane]) for wish in wishes]

    def _grant(self, owner: int, wish: Wish, now: int, askers: int) -> Grant:
        route = wish.lane[1:].decode()
        share = self._shares[owner, wish.lane]
        available = self._gate.available(route, self.now, urgent=wish.lane[:1] < b"2")
        if available == 0:
            return Grant(wish.lane, 0, 0, self._gate.next_at(route) or 0)
        most = wish.number
        if available is not None:
            most = min(most, available if wish.ready else available // self.settings.advance_part)
        offer = self._egress.offer(wish.lane, now, most, askers=askers, has=share.has())
        if offer is None:
            return Grant(wish.lane, 0, 0)
        self._gate.take(route, offer.number)
        share.granted.append([offer.credit.not_after, offer.number])
        return Grant(wish.lane, offer.number, offer.credit.not_after)

    def _share(self, lane: Lane) -> _Share:
        share = self._shares.get(lane)
        if share is None:
            share = self._shares[lane] = _Share()
        return share

    def expire(self, now: int) -> None:
        """Give back the tokens of credits that expired; forget shares out of use."""
        for lane, share in list(self._shares.items()):
            gone = share.expire(now)
            if gone:
                self._gate.give_back(lane[1][1:].decode(), gone)
            old = share.asked_at < now - self.settings.asker_kept_ms
            if old and not share.granted and not share.in_hand:
                del self._shares[lane]

    # ---- outcomes

    def collect(self) -> set[int]:
        """Take new outcomes from the egress. Returns whose they are."""
        owners = set()
        for one in self._egress.outcomes():
            key = (one.message.message_id, one.message.attempt)
            self._leave(key)
            owner = self._owner_of(one.message.message_id)
            self._fresh.setdefault(owner, OrderedDict())[key] = one
            owners.add(owner)
        return owners

    def waiting(self, owner: int) -> tuple[int, bool]:
        """Tell how many outcomes an owner hasn't been told, and whether more of its messages are in hand."""
        return len(self._fresh.get(owner, ())), self._in_hand.get(owner, 0) > 0

    def news(self, owner: int) -> News | None:
        """Give outcomes to tell an owner now; until they are confirmed they come again after a while."""
        fresh = self._fresh.get(owner)
        items: list[Told] = []
        while fresh and len(items) < self.settings.news_max:
            key, one = fresh.popitem(last=False)
            self._told[key] = (self._mono(), owner, one)
            message = one.message
            items.append(Told(key[0], message.tenant, message.contact, one.outcome))
        return News(self._egress.incarnation, items) if items else None

    def overdue(self) -> set[int]:
        """Put outcomes back that were told long ago and aren't confirmed. Returns whose they are."""
        since = self._mono() - self.settings.tell_again_ms
        owners = set()
        while self._told:
            key, (at, owner, one) = next(iter(self._told.items()))
            if at > since:
                break
            del self._told[key]
            self._fresh.setdefault(owner, OrderedDict())[key] = one
            owners.add(owner)
        return owners

    def _confirm(self, confirmed: Sequence[Attempt]) -> None:
        done = []
        for attempt in confirmed:
            key = (attempt.message_id, attempt.number)
            told = self._told.pop(key, None)
            one = told[2] if told is not None else self._untold(key)
            if one is not None:
                done.append(one)
            for ledger in self._adopted:
                _settle(ledger, key)
        self._egress.confirmed(done)
        self._drop_ledgers()

    def _untold(self, key: Key) -> Concluded | None:
        """An outcome can be confirmed before it was told: its owner asked for it."""
        fresh = self._fresh.get(self._owner_of(key[0]))
        return fresh.pop(key, None) if fresh else None

    def _drop_ledgers(self) -> None:
        """Remove ledgers of former incarnations in which nothing is open."""
        kept = []
        for ledger in self._adopted:
            if ledger.outcomes or ledger.in_doubt or ledger.damaged:
                kept.append(ledger)
            else:
                Path(ledger.path).unlink(missing_ok=True)
        self._adopted = kept


def _doubted(outcome: AttemptOutcome | None) -> AttemptOutcome | None:
    """What never arrived in this life may have been begun in one whose ledger is damaged."""
    if outcome is None or outcome.cause != NEVER_ARRIVED:
        return outcome
    return AttemptOutcome(outcome.attempt, "in_doubt", "ledger_damaged")


def _settle(ledger: Adopted, key: Key) -> None:
    ledger.outcomes.pop(key, None)
    ledger.in_doubt.discard(key)
