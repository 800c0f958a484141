"""The endpoints of coupon pools: put codes in, close, look."""

from __future__ import annotations

__all__ = ("COUPON_HANDLERS", "CloseIn", "CodesIn", "check_pools")

import time
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath
from msgspec import Meta

from actors.coupon_views import CodeView, Pools, PoolView
from actors.gateway.bodies import decode_one
from actors.gateway.handling import Edge, edge_of, found, tenant_of
from actors.gateway.planning_asking import author_of
from actors.gateway.wire import Time, ms_of
from actors.planning.versions import Author, VersionDesk
from actors.pool_uses import pool_mistakes, pools_of
from engine.errors import InputError
from scenarios.checking import load

_Request = Request[Any, Any, Any]
SECTION = "pool"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class CodesIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Codes for a pool. `low`: tell (channel `coupons`) when so many are left; `expires_at`: give none from then on."""

    codes: Annotated[
        list[Annotated[str, Meta(pattern=r"^\S{1,100}$(?!\n)", description="without spaces")]],
        Meta(max_length=10_000),
    ]
    low: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    expires_at: Time = None


class CloseIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a pool is closed; it goes on record."""

    reason: Annotated[str, Meta(max_length=500)] = ""


_CODES = msgspec.json.Decoder(CodesIn)
_CLOSE = msgspec.json.Decoder(CloseIn)


@post("/v1/coupons/{pool:str}", status_code=200, opt={"body": CodesIn})
async def post_codes(request: _Request, pool: FromPath[str]) -> PoolView:
    """Put codes into a pool, which is made if there is none; a code that it ever had isn't added again."""
    edge, asked = edge_of(request), decode_one(*await _body(request), _CODES)
    if not 0 < len(pool) <= 64 or not _NAME.issuperset(pool):
        raise InputError("this is no name of a pool", mend="lower case, digits, - and _")
    tenant = tenant_of(request)
    expires = None if asked.expires_at is None else ms_of(asked.expires_at, 0)
    call = edge.backend.add_codes(tenant, pool, asked.codes, asked.low, expires)
    view = await edge.intake.answered(call)
    if edge.planning is not None:
        _note(edge.planning.versions, tenant, pool, author_of(request, ""))
    return view


def _note(desk: VersionDesk, tenant: str, pool: str, author: Author) -> None:
    """Let the catalog know a pool by its name, once: pools are entities, and nobody could list them."""
    if desk.content(tenant, SECTION, pool) is None:
        desk.put(tenant, [(SECTION, pool, b"{}")], f"pool {tenant}/{pool}", "make", author)


@get("/v1/coupons")
async def get_pools(request: _Request) -> Pools:
    """List the pools: all that were filled, and those that published scenarios take from."""
    edge, tenant = edge_of(request), tenant_of(request)
    found = await _pools(edge, tenant, _known(edge, tenant))
    return Pools([found[name] for name in sorted(found)])


def _known(edge: Edge, tenant: str) -> set[str]:
    """Give the names of pools that the catalog knows."""
    if edge.planning is None:
        return set()
    desk = edge.planning.versions
    items = [one for one in desk.head().items if one.tenant == tenant]
    names = {one.name for one in items if one.section == SECTION}
    for one in items:
        if one.section == "scenario":
            names.update(pools_of(desk.text(tenant, one.name) or ""))
    return names


async def _pools(edge: Edge, tenant: str, names: set[str]) -> dict[str, PoolView]:
    found = {}
    for name in sorted(names):
        view = await edge.intake.answered(edge.backend.coupon_pool(tenant, name))
        if view is not None:
            found[name] = view
    return found


async def check_pools(request: _Request, text: str, file: str) -> None:
    """Check the pools that a scenario takes codes from. Raises: InputError: one isn't there, or gives nothing.

    One that its current version takes from already may be dry: that must not keep an edit from going live.
    """
    edge, tenant, named = edge_of(request), tenant_of(request), pools_of(text)
    if edge.planning is None or not named:
        return
    desk = edge.planning.versions
    current = desk.text(tenant, load(text, file).name) or ""
    pools = await _pools(edge, tenant, {*named, *_known(edge, tenant)})
    now = time.time_ns() // 1_000_000
    for mistake in pool_mistakes(text, file, pools, pools_of(current), now):
        raise mistake.error()


@post("/v1/coupons/{pool:str}/close", status_code=200, opt={"body": CloseIn})
async def post_pool_close(request: _Request, pool: FromPath[str]) -> PoolView:
    """Let a pool give nothing more, until codes are added again."""
    edge, asked = edge_of(request), decode_one(*await _body(request), _CLOSE)
    call = edge.backend.close_pool(tenant_of(request), pool, asked.reason)
    return found(await edge.intake.answered(call), "pool")


@get("/v1/coupons/{pool:str}")
async def get_pool(request: _Request, pool: FromPath[str]) -> PoolView:
    """Tell how many codes a pool had, gave and has left."""
    edge = edge_of(request)
    call = edge.backend.coupon_pool(tenant_of(request), pool)
    return found(await edge.intake.answered(call), "pool")


@get("/v1/coupons/{pool:str}/codes/{code:str}")
async def get_code(request: _Request, pool: FromPath[str], code: FromPath[str]) -> CodeView:
    """Tell to whom a code was given, when and by which step."""
    edge = edge_of(request)
    call = edge.backend.coupon_code(tenant_of(request), pool, code)
    return found(await edge.intake.answered(call), "code")


COUPON_HANDLERS = (post_codes, post_pool_close, get_pools, get_pool, get_code)


async def _body(request: _Request) -> tuple[bytes, str]:
    return await request.body(), request.headers.get("content-type", "")
