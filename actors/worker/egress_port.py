"""What a worker's host sees of the egress that sends for it: one interface, whether it lives in the same loop or not.

`LocalEgress` is the fused worker's: an `Egress` and a `Delivery` in the same event loop, plain calls.
`actors.worker.remote_egress` keeps to the same protocol over calls to another actor: credits in advance, hand-over,
outcomes, confirmation. No method waits for anything. DESIGN §4.
"""

from __future__ import annotations

__all__ = ("EgressPort", "HeldMessage", "LocalEgress")

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from deliverability.egress import Asked, Concluded, Egress
from deliverability.governor import Gate
from deliverability.message.records import AttemptOutcome
from deliverability.transport.delivery import Delivery
from deliverability.transport.ledger import LedgerFile
from engine.keyspace import EntityKey, message_key
from engine.tick import Answer, CreditOffer
from engine.vocabulary import Message


class HeldMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that its partition holds for handed over. `epoch`: of the partition now."""

    key: EntityKey
    message_id: bytes
    attempt: int
    contact: EntityKey
    epoch: int
    holder: bytes
    route: str = ""  # where it is known


class EgressPort(Protocol):
    """The egress of one worker. Attempts are in hand from `accept` until their outcome is durable and confirmed."""

    draining: bool
    """Whether no more credits are given: the worker is about to end."""

    catalog: int
    """The version of the catalog that decides: what sends needs one that isn't older."""

    @property
    def incarnation(self) -> int:
        """Which life of the egress this is; 0 while it isn't known."""

    @property
    def in_hand(self) -> int:
        """How many attempts were handed over and have no outcome here yet."""

    @property
    def begun(self) -> int:
        """How many of these may have reached the other side."""

    @property
    def fresh_count(self) -> int:
        """How many outcomes `outcomes` would give."""

    @property
    def unconfirmed_count(self) -> int:
        """How many outcomes are here and not durable yet."""

    @property
    def composing(self) -> bool:
        """Whether messages wait to be composed in this loop: it should turn."""

    @property
    def returned(self) -> tuple[int, int]:
        """How many hand-overs there were in this life, and how many of them came back unattempted."""

    def offer(self, lane: bytes, *, ready: bool) -> CreditOffer | None:
        """Give credits for a lane; `ready`: something waits there, else they are wanted in advance."""

    def take_back(self, offer: CreditOffer) -> None:
        """Hear in the same tick that credits of an offer weren't used."""

    def parked_until(self, lane: bytes) -> int | None:
        """Give the time (that of inputs) at which a lane may be given credits again; None: it may have them now."""

    def accept(self, epoch: int, message: Message) -> None:
        """Hand a message over. What can't be started any more gets its outcome all the same."""

    def cancel(self, message_id: bytes, attempt: int) -> None:
        """Ask that an attempt isn't begun any more; its outcome tells."""

    def outcomes(self) -> list[Answer]:
        """Take the outcomes that are new since the last call; they are confirmed by `confirmed`."""

    def confirmed(self) -> None:
        """Hear that all outcomes given so far are durable."""

    def unconfirmed(self) -> list[Answer]:
        """After a failed commit: give all outcomes again that aren't confirmed."""

    def hold(self, held: Sequence[HeldMessage]) -> None:
        """Hear, before `fate` is asked, what the partitions hold for handed over."""

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Ask for the fate of an attempt that is held. Returns: None when its outcome comes by `outcomes`."""

    def pump(self) -> None:
        """After a tick: let go what it handed over."""

    def look(self) -> None:
        """Look after time, ten times a second or so."""

    async def drain(self) -> None:
        """Finish what is in hand as far as that can be done without the worker's loop."""

    def close(self, *, clean: bool) -> None:
        """End. `clean`: nothing is open between worker and egress."""

    def sent(self) -> dict[str, int]:
        """Count messages accepted by the other side, by route, as far as heard in this life."""

    def accept_ms(self) -> dict[str, dict[int, int]]:
        """Give wall ms from hand-over to acceptance, by route and grain; empty where another actor has them."""

    def connections(self) -> dict[str, int]:
        """Count open connections by route; empty where another actor has them."""


class LocalEgress:
    """The egress of a fused worker, in the worker's own loop.

    Args:
        egress: holds what is in hand.
        delivery: sends it.
        gate: rates by route.
        ledger: of the egress, closed with it.
        now: the time of inputs, ms.
    """

    def __init__(
        self,
        egress: Egress,
        delivery: Delivery,
        gate: Gate,
        ledger: LedgerFile,
        now: Callable[[], int],
    ) -> None:
        self._egress = egress
        self._delivery = delivery
        self._gate = gate
        self._ledger = ledger
        self._now = now
        self.catalog = 0  # host and renderer use the same one
        self._given: list[Concluded] = []
        self._accepted = False

    @property
    def draining(self) -> bool:
        """Whether no more credits are given."""
        return self._egress.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._egress.draining = value

    @property
    def incarnation(self) -> int:
        """Which life this is."""
        return self._egress.incarnation

    @property
    def in_hand(self) -> int:
        """How many attempts have no outcome yet."""
        return self._egress.in_hand

    @property
    def begun(self) -> int:
        """How many are begun."""
        return self._egress.begun

    @property
    def fresh_count(self) -> int:
        """How many outcomes wait to be taken."""
        return self._egress.fresh_count

    @property
    def unconfirmed_count(self) -> int:
        """How many outcomes aren't durable yet."""
        return self._egress.unconfirmed_count

    @property
    def composing(self) -> bool:
        """Whether routes stand in line to compose."""
        return self._delivery.turns.waiting

    @property
    def returned(self) -> tuple[int, int]:
        """How many were handed over, and how many of them came back."""
        return self._egress.handed_over, self._egress.unattempted

    def offer(self, lane: bytes, *, ready: bool) -> CreditOffer | None:
        """Give credits at once: nothing needs to be asked for in advance."""
        del ready
        route = lane[1:].decode()
        most = self._gate.available(route, self._now(), urgent=lane[:1] < b"2")
        if most == 0:
            return None
        offer = self._egress.offer(lane, self._delivery.now(), most)
        if offer is not None:
            self._gate.take(route, offer.number)
        return offer

    def take_back(self, offer: CreditOffer) -> None:
        """Take unused credits back."""
        self._egress.take_back(offer)
        self._gate.give_back(offer.lane[1:].decode(), offer.number)

    def parked_until(self, lane: bytes) -> int | None:
        """Tell when the route's next token comes."""
        route = lane[1:].decode()
        if self._gate.available(route, self._now(), urgent=lane[:1] < b"2") == 0:
            return self._gate.next_at(route)
        return None

    def accept(self, epoch: int, message: Message) -> None:
        """Take a message in hand."""
        self._accepted = True
        self._egress.accept(epoch, message, self._delivery.now())

    def cancel(self, message_id: bytes, attempt: int) -> None:
        """Cancel what isn't begun."""
        self._egress.cancel(message_id, attempt)

    def outcomes(self) -> list[Answer]:
        """Take new outcomes."""
        fresh = self._egress.outcomes()
        self._given += fresh
        return [_answer(one) for one in fresh]

    def confirmed(self) -> None:
        """Forget what is durable."""
        if self._given:
            given, self._given = self._given, []
            self._egress.confirmed(given)

    def unconfirmed(self) -> list[Answer]:
        """Give all again that isn't confirmed."""
        self._given = self._egress.unconfirmed()
        return [_answer(one) for one in self._given]

    def message_ids(self) -> set[bytes]:
        """Name the messages that are in hand, or whose outcome isn't durable."""
        return self._egress.message_ids()

    def hold(self, held: Sequence[HeldMessage]) -> None:
        """Hear nothing new: what is in hand is here."""

    def fate(self, asked: Asked, epoch: int, *, fence: bool) -> AttemptOutcome | None:
        """Answer at once; what is begun answers by itself."""
        return self._egress.fate(asked, epoch, fence=fence)

    def pump(self) -> None:
        """Put connections to work."""
        if self._accepted:
            self._accepted = False
            self._delivery.pump()

    def look(self) -> None:
        """Give back what waits too long, close idle connections."""
        self._delivery.tick()

    async def drain(self) -> None:
        """Finish what is in flight and close all connections."""
        await self._delivery.close()

    def close(self, *, clean: bool) -> None:
        """Close the ledger; one in which nothing is open is removed."""
        self._ledger.close(remove=clean)

    def sent(self) -> dict[str, int]:
        """Count messages accepted by the other side, by route; "": on those that are forgotten."""
        return self._delivery.sent()

    def accept_ms(self) -> dict[str, dict[int, int]]:
        """Give how long acceptance took, by route and grain."""
        return {name: route.accept_ms for name, route in self._delivery.routes.items()}

    def connections(self) -> dict[str, int]:
        """Count open connections."""
        return {name: len(route.connections) for name, route in self._delivery.routes.items()}


def _answer(concluded: Concluded) -> Answer:
    message = concluded.message
    key = message_key(message.tenant, message.message_id)
    return Answer(key, concluded.outcome, (EntityKey(message.contact),))
