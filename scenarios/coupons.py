"""Coupon pools: codes that are given once each, whichever partition asks, and however often anything is repeated.

    import ─AddCodes─▶ pool ─Claim─▶ code ─Claimed─▶ pool: its place in the row
    contact ─TakeCode─▶ pool ─Give─▶ (shelf ─▶) code ─CodeGiven─▶ contact
    contact that can't use it ─ReturnCode─▶ code ─Claimed─▶ pool: at the end of the row

One kind of entity in three sorts, all in the pool's partition, so that a give is one unit and one commit: the *pool*
knows how many codes were added and taken, and the row's unfinished end; a *shelf* holds `SHELF` codes of the row, so
that a pool of a million writes a few KB a take; a *code* knows that it was claimed before, so that no import doubles
it, and to whom it went. The contact asks by Tell, which the kernel decides once: no memory of requests is needed.
"""

from __future__ import annotations

__all__ = (
    "BATCH_MAX",
    "POOL",
    "AddCodes",
    "ClosePool",
    "CodeGiven",
    "Coupon",
    "CouponMachine",
    "ForgetHolder",
    "NoCode",
    "Pool",
    "ReturnCode",
    "Shelf",
    "TakeCode",
    "code_key",
    "pool_key",
)

from typing import Annotated, Any, Final, assert_never

import msgspec

from engine.keyspace import EntityKey, name_of, partition_hash, tenant_of
from engine.machine import Context, Effect, Emit, Record, Tell, Transition
from engine.vocabulary import Personal

POOL: Final = 0x70  # p
SHELF: Final = 256
BATCH_MAX: Final = 100
"""Codes of one input: each takes two decisions of a unit, which may have 256."""


def _key(tenant: str, pool: str, name: str) -> EntityKey:
    place = partition_hash(tenant, f"pool {pool}")
    return EntityKey(b"".join((place, bytes((POOL,)), f"{tenant}\0{name}".encode())))


def pool_key(tenant: str, pool: str) -> EntityKey:
    """Make the key of a pool, placed by its name."""
    return _key(tenant, pool, pool)


def code_key(tenant: str, pool: str, code: str) -> EntityKey:
    """Make the key of a code, which lives beside its pool. No pool's name contains a colon."""
    return _key(tenant, pool, f"{pool}:{code}")


def _shelf_key(tenant: str, pool: str, number: int) -> EntityKey:
    return _key(tenant, pool, f"{pool}/{number}")


# ---- states


class Pool(msgspec.Struct, frozen=True, array_like=True, tag="pool"):
    """How many codes were ever put into the row, and taken out; `tail`: those of the unfinished shelf."""

    added: int = 0
    taken: int = 0
    tail: tuple[str, ...] = ()
    low: int = 0  # tell when so many are left
    known: int = 0  # codes of imports that were there already
    returned: int = 0  # of those added: given to nobody in the end
    refused: int = 0
    closed: bool = False
    expires: int = 0  # from then on (ms) nothing is given; 0: for ever

    @property
    def left(self) -> int:
        """How many there are to give."""
        return self.added - self.taken


class Shelf(msgspec.Struct, frozen=True, array_like=True, tag="shelf"):
    """A part of the row."""

    codes: tuple[str, ...]


class Coupon(msgspec.Struct, frozen=True, array_like=True, tag="code"):
    """A code. `holder` is the contact to which it was given, at `at` (ms; 0: to nobody yet)."""

    at: int = 0
    holder: Annotated[str, Personal] = ""
    scenario: str = ""
    step: str = ""


# ---- inputs


class AddCodes(msgspec.Struct, frozen=True, array_like=True, tag="add_codes"):
    """To a pool: codes, at most `BATCH_MAX`. It opens a pool that is closed. `low`, `expires` None: as it was."""

    codes: tuple[str, ...]
    low: int | None = None
    expires: int | None = None


class ClosePool(msgspec.Struct, frozen=True, array_like=True, tag="close_pool"):
    """To a pool: give nothing more, until codes are added again."""

    reason: str = ""


class TakeCode(msgspec.Struct, frozen=True, array_like=True, tag="take"):
    """Contact to pool: a code for a journey that stands at a step."""

    contact: bytes
    journey: bytes
    step: str
    visit: int
    scenario: str = ""


class Claim(msgspec.Struct, frozen=True, array_like=True, tag="claim"):
    """Pool to code: be one of mine."""

    pool: bytes
    code: str


class Claimed(msgspec.Struct, frozen=True, array_like=True, tag="claimed"):
    """Code to pool: put me at the end of the row; `known`: I was there already."""

    code: str
    known: bool = False
    returned: bool = False


class Fill(msgspec.Struct, frozen=True, array_like=True, tag="fill"):
    """Pool to shelf: hold these."""

    codes: tuple[str, ...]


class GiveAt(msgspec.Struct, frozen=True, array_like=True, tag="give_at"):
    """Pool to shelf: let the code of a place be given; after the last the shelf is gone."""

    pool: str
    place: int
    take: TakeCode


class Give(msgspec.Struct, frozen=True, array_like=True, tag="give"):
    """To a code: go to this journey."""

    pool: str
    code: str
    take: TakeCode


class ReturnCode(msgspec.Struct, frozen=True, array_like=True, tag="return"):
    """Contact to code: nobody has seen you; be free again."""

    pool: bytes
    code: str
    contact: str


class ForgetHolder(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Contact to code: who held you is erased, or is another now (`holder`). You stay given."""

    contact: str
    holder: str = ""


class CodeGiven(msgspec.Struct, frozen=True, array_like=True, tag="code_given"):
    """Code to contact: you have it."""

    journey: bytes
    step: str
    visit: int
    pool: str
    code: Annotated[str, Personal]


class NoCode(msgspec.Struct, frozen=True, array_like=True, tag="no_code"):
    """Pool to contact: there is none. `reason`: empty, closed, expired, no_pool."""

    journey: bytes
    step: str
    visit: int
    pool: str
    reason: str


CouponInput = (
    AddCodes
    | ClosePool
    | TakeCode
    | Claim
    | Claimed
    | Fill
    | GiveAt
    | Give
    | ReturnCode
    | ForgetHolder
)
_State = Pool | Shelf | Coupon


class CouponMachine:
    """Decides pools, their shelves and their codes."""

    kind = POOL
    schema = 1
    state_type: Any = _State
    input_type: Any = CouponInput

    def tally(self, state: _State) -> None:
        """Coupons don't count as messages."""
        del state

    def decide(self, state: _State | None, body: CouponInput, context: Context) -> Transition:
        """Decide one input. Total and deterministic."""
        match body:
            case AddCodes() | ClosePool() | TakeCode() | Claimed():
                assert state is None or isinstance(state, Pool), "what is told to a pool"
                return _of_pool(state, body, context)
            case Fill() | GiveAt():
                assert state is None or isinstance(state, Shelf), "what is told to a shelf"
                return _of_shelf(state, body, context)
            case Claim() | Give() | ReturnCode() | ForgetHolder():
                assert state is None or isinstance(state, Coupon), "what is told to a code"
                return _of_code(state, body, context)
            case _:
                assert_never(body)


# ---- the pool


def _of_pool(
    state: Pool | None, body: AddCodes | ClosePool | TakeCode | Claimed, context: Context
) -> Transition:
    tenant, pool = tenant_of(context.key), name_of(context.key).decode()
    match body:
        case AddCodes():
            return _add(state or Pool(), body, context)
        case ClosePool():
            record = Record("pool_closed", {"reason": body.reason})
            closed = msgspec.structs.replace(state, closed=True) if state is not None else None
            return Transition(closed, None, (record,))
        case TakeCode():
            return _take(state, body, context)
        case Claimed():
            assert state is not None, "a code is claimed for a pool that is there"
            return _append(state, body, tenant, pool)
        case _:
            assert_never(body)


def _add(pool: Pool, body: AddCodes, context: Context) -> Transition:
    tenant, name = tenant_of(context.key), name_of(context.key).decode()
    low = pool.low if body.low is None else body.low
    expires = pool.expires if body.expires is None else body.expires
    after = msgspec.structs.replace(pool, low=low, expires=expires, closed=False)
    claims: list[Effect] = [
        Tell(code_key(tenant, name, code), Claim(context.key, code))
        for code in dict.fromkeys(body.codes)
    ]
    twice = len(body.codes) - len(claims)
    return Transition(msgspec.structs.replace(after, known=after.known + twice), None, claims)


def _append(pool: Pool, body: Claimed, tenant: str, name: str) -> Transition:
    """Put a code at the end of the row."""
    if body.known:
        return Transition(msgspec.structs.replace(pool, known=pool.known + 1))
    added, tail = pool.added + 1, (*pool.tail, body.code)
    effects: list[Effect] = []
    if not added % SHELF:
        effects.append(Tell(_shelf_key(tenant, name, added // SHELF - 1), Fill(tail)))
        tail = ()
    after = msgspec.structs.replace(
        pool, added=added, tail=tail, returned=pool.returned + body.returned
    )
    return Transition(after, None, effects)


def _refusal(pool: Pool | None, now: int) -> str:
    """Tell why a pool gives nothing; "" where it does."""
    if pool is None:
        return "no_pool"
    if pool.closed:
        return "closed"
    if pool.expires and now >= pool.expires:
        return "expired"
    return "" if pool.left else "empty"


def _take(pool: Pool | None, take: TakeCode, context: Context) -> Transition:
    """Give the first code of the row."""
    tenant, name = tenant_of(context.key), name_of(context.key).decode()
    reason = _refusal(pool, context.now)
    if reason or pool is None:
        told = NoCode(take.journey, take.step, take.visit, name, reason)
        if pool is not None:
            pool = msgspec.structs.replace(pool, refused=pool.refused + 1)
        record = Record("code_refused", {"journey": take.journey, "reason": reason})
        return Transition(pool, None, (Tell(EntityKey(take.contact), told), record))
    shelf, place = divmod(pool.taken, SHELF)
    effects: list[Effect] = []
    if shelf == pool.added // SHELF:
        code = pool.tail[place]
        effects.append(Tell(code_key(tenant, name, code), Give(name, code, take)))
    else:
        effects.append(Tell(_shelf_key(tenant, name, shelf), GiveAt(name, place, take)))
    after = msgspec.structs.replace(pool, taken=pool.taken + 1)
    if after.left in {after.low, 0}:
        what = "low" if after.left else "empty"
        effects.append(Record("pool_low", {"left": after.left}))
        effects.append(Emit("notify.coupons", {"pool": name, "what": what, "left": after.left}))
    return Transition(after, None, effects)


# ---- shelves


def _of_shelf(state: Shelf | None, body: Fill | GiveAt, context: Context) -> Transition:
    match body:
        case Fill(codes=codes):
            return Transition(Shelf(codes))
        case GiveAt(pool=pool, place=place, take=take):
            assert state is not None, "a shelf is there until its last code is given"
            code = state.codes[place]
            tell = Tell(code_key(tenant_of(context.key), pool, code), Give(pool, code, take))
            return Transition(state if place + 1 < len(state.codes) else None, None, (tell,))
        case _:
            assert_never(body)


# ---- codes


def _of_code(
    state: Coupon | None, body: Claim | Give | ReturnCode | ForgetHolder, context: Context
) -> Transition:
    match body:
        case Claim(pool=pool, code=code):
            claimed = Claimed(code, known=state is not None)
            return Transition(state or Coupon(), None, (Tell(EntityKey(pool), claimed),))
        case Give(take=take):
            assert state is not None, "only what was claimed stands in the row"
            assert not state.at, "a code is given once"
            contact = EntityKey(take.contact)
            given = Coupon(max(context.now, 1), name_of(contact).decode(), take.scenario, take.step)
            told = CodeGiven(take.journey, take.step, take.visit, body.pool, body.code)
            record = Record("code_given", {"journey": take.journey, "step": take.step})
            return Transition(given, None, (Tell(contact, told), record))
        case ReturnCode(pool=pool, code=code, contact=contact_id):
            if state is None or not state.at or state.holder != contact_id:
                return Transition(state)
            back = Claimed(code, returned=True)
            return Transition(Coupon(), None, (Tell(EntityKey(pool), back),))
        case ForgetHolder(contact=contact_id, holder=holder):
            if state is None or state.holder != contact_id:
                return Transition(state)
            return Transition(msgspec.structs.replace(state, holder=holder))
        case _:
            assert_never(body)
