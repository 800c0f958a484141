"""Codes for journeys: a journey stands at its `coupon` step until the pool has answered.

The pool may live in another partition: question and answer are Tells, decided once each. A code that finds its journey
gone (ended, moved, out of time, erased) goes back, since nobody has seen it.
"""

from __future__ import annotations

__all__ = ("forget_codes", "give_back", "take", "taken", "without")

from typing import TYPE_CHECKING

import msgspec

from engine.keyspace import name_of
from engine.machine import Effect, Tell
from scenarios.coupons import (
    CodeGiven,
    ForgetHolder,
    NoCode,
    ReturnCode,
    TakeCode,
    code_key,
    pool_key,
)
from scenarios.program import Taking
from scenarios.state import COUPONS_MAX, Contact, HeldCode, Journey

if TYPE_CHECKING:  # acts are compiled into what a draft knows
    from scenarios.draft import Draft


def take(draft: Draft, step: Taking, journey: Journey, visit: int) -> None:
    """Ask the pool for a code."""
    draft.record("code_asked", journey=journey.id, step=step.id, pool=step.pool)
    key = draft.context.key
    ask = TakeCode(key, journey.id, step.id, visit, journey.scenario)
    draft.effects.append(Tell(pool_key(draft.tenant, step.pool), ask))


def taken(draft: Draft, step: Taking, journey: Journey, body: CodeGiven) -> Journey:
    """Keep the code with the journey, and on record with the contact."""
    held = HeldCode(body.pool, body.code, draft.now)
    draft.coupons = (*draft.coupons, held)[-COUPONS_MAX:]
    draft.record("branch_taken", journey=journey.id, step=step.id, branch="taken")
    return msgspec.structs.replace(journey, caught={**journey.caught, step.caught: body.code})


def without(draft: Draft, step: Taking, journey: Journey, why: str) -> None:
    """Note that there is no code."""
    draft.record("branch_taken", journey=journey.id, step=step.id, branch="else", why=why)


def give_back(tenant: str, contact_key: bytes, body: CodeGiven | NoCode) -> list[Effect]:
    """Give back a code that nobody waits for any more."""
    if isinstance(body, NoCode):
        return []
    contact = name_of(contact_key).decode()
    back = ReturnCode(pool_key(tenant, body.pool), body.code, contact)
    return [Tell(code_key(tenant, body.pool, body.code), back)]


def forget_codes(tenant: str, contact_key: bytes, state: Contact) -> list[Effect]:
    """Let the codes of a contact forget who had them; they stay given."""
    contact = name_of(contact_key).decode()
    return [
        Tell(code_key(tenant, one.pool, one.code), ForgetHolder(contact)) for one in state.coupons
    ]
