"""What a worker does about messages that a former life left in hand. DESIGN §4, "When things die".

Asking is fencing. *Never begun*: ready again. *Outcome*: as it says. *Mark without outcome* of a dead incarnation: in
doubt. Ledgers of former incarnations are adopted at start and removed once their answers are durable.
"""

from __future__ import annotations

__all__ = (
    "Recovered",
    "adopt_patiently",
    "held_in",
    "held_messages",
    "of_former",
    "recover",
    "resolve",
)

import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from actors.worker.assembly import Assembly
from actors.worker.egress_port import HeldMessage, LocalEgress
from deliverability.egress import Asked
from deliverability.message.records import AttemptOutcome
from deliverability.message.state import MessageState
from deliverability.transport.ledger import Adopted, adopt
from engine.errors import RefusedError
from engine.keyspace import EntityKey, name_of
from engine.tick import Answer

log = structlog.get_logger()

TRIES = 100
PAUSE_S = 0.01


class Recovered:
    """What was found of former lives, and the answers that follow."""

    def __init__(self) -> None:
        self.adopted: list[Adopted] = []
        self.foreign: list[
            Adopted
        ] = []  # of holders that don't run any more; others may need theirs, too
        self.answers: list[Answer] = []
        self.held = 0
        self.in_the_air = 0
        self.concluded = 0
        self.never_begun = 0

    @property
    def consulted(self) -> list[Adopted]:
        """The ledgers that were looked into, as long as what they said isn't durable."""
        return self.adopted + self.foreign

    def settled(self) -> None:
        """The answers are durable: the ledgers they came from aren't wanted any more."""
        for ledger in self.adopted:
            Path(ledger.path).unlink(missing_ok=True)
        self.adopted = []
        self.foreign = []


def recover(parts: Assembly) -> Recovered:
    """Adopt the ledgers of former incarnations and find the fate of all that was in hand."""
    found = Recovered()
    for path in parts.old_ledgers:
        found.adopted.append(adopt_patiently(path))
    held = held_messages(parts)
    parts.egress.hold(held)
    for path in parts.foreign_ledgers({one.holder for one in held}):
        found.foreign.append(adopt_patiently(path))
    found.answers = resolve(parts, found.consulted)
    found.held = len(found.answers)
    for answer in found.answers:
        outcome = answer.body
        if outcome.kind == "in_doubt":
            found.in_the_air += 1
        elif outcome.kind == "unattempted":
            found.never_begun += 1
        else:
            found.concluded += 1
    if found.held:
        log.warning(
            "recovered",
            held=found.held,
            in_the_air=found.in_the_air,
            concluded=found.concluded,
            never_begun=found.never_begun,
        )
    return found


def adopt_patiently(path: Path) -> Adopted:
    """Adopt a ledger at which other workers, or the governor, may be looking at the same moment."""
    for _ in range(TRIES):
        try:
            return adopt(path)
        except RefusedError:
            time.sleep(PAUSE_S)
    return adopt(path)


def resolve(parts: Assembly, adopted: list[Adopted]) -> list[Answer]:
    """Ask for the fate of every message that stands as handed over; those still begun answer by themselves."""
    answers = []
    for epoch, _holder, key, state in _held(parts):
        message_id, attempt = name_of(key), state.attempt
        outcome = of_former(adopted, message_id, attempt)
        if outcome is None and _ledger_lost(parts, adopted, state):
            outcome = AttemptOutcome(attempt, "in_doubt", "ledger_lost")
        if outcome is None:
            outcome = parts.egress.fate(Asked(message_id, attempt), epoch, fence=False)
        if outcome is not None:
            answers.append(Answer(key, outcome, (EntityKey(state.send.contact),)))
    return answers


def held_messages(parts: Assembly) -> list[HeldMessage]:
    """List what the partitions hold for handed over."""
    return [
        HeldMessage(key, name_of(key), state.attempt, EntityKey(state.send.contact), epoch, holder)
        for epoch, holder, key, state in _held(parts)
    ]


def held_in(
    parts: Assembly, numbers: frozenset[int]
) -> Iterator[tuple[int, bytes, EntityKey, MessageState]]:
    """List what some partitions hold for handed over: epoch, holder, key, message."""
    for number in numbers:
        partition = parts.host.partitions[number]
        for holder, raw_key in partition.held():
            state = parts.host.entry(EntityKey(raw_key))[0]
            assert isinstance(state, MessageState), "only messages are held"
            yield partition.epoch, holder, EntityKey(raw_key), state


def _held(parts: Assembly) -> Iterator[tuple[int, bytes, EntityKey, MessageState]]:
    for epoch, holder, raw_key in parts.host.held():
        key = EntityKey(raw_key)
        state = parts.host.entry(key)[0]
        assert isinstance(state, MessageState), "only messages are held"
        yield epoch, holder, key, state


def _ledger_lost(parts: Assembly, adopted: list[Adopted], state: MessageState) -> bool:
    """Tell whether the life that held a message left no ledger, or a damaged one: nobody knows whether it was begun.

    An egress of its own is asked instead, and answers for its lives itself.
    """
    if state.credit is None or not isinstance(parts.egress, LocalEgress):
        return False
    lives = {
        int(Path(ledger.path).stem.rpartition("-")[2]) for ledger in adopted if not ledger.damaged
    }
    incarnation = state.credit.credit.incarnation
    return incarnation != parts.egress.incarnation and incarnation not in lives


def of_former(adopted: list[Adopted], message_id: bytes, attempt: int) -> AttemptOutcome | None:
    """Give what the ledgers of dead lives say of an attempt; None: none has a mark of it."""
    for ledger in adopted:
        outcome = ledger.fate(message_id, attempt)
        if outcome is not None:
            return outcome
    return None
