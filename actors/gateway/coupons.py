"""The endpoints of coupon pools: put codes in, close, look."""

from __future__ import annotations

__all__ = ("COUPON_HANDLERS", "CloseIn", "CodesIn")

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath
from msgspec import Meta

from actors.backend import CodeView, PoolView
from actors.gateway.bodies import decode_one
from actors.gateway.handling import edge_of, found, tenant_of
from engine.errors import InputError

_Request = Request[Any, Any, Any]
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class CodesIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Codes for a pool. `low`: tell (channel `coupons`) when so many are left."""

    codes: Annotated[
        list[Annotated[str, Meta(pattern=r"^\S{1,100}$(?!\n)", description="without spaces")]],
        Meta(max_length=10_000),
    ]
    low: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None


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
    call = edge.backend.add_codes(tenant_of(request), pool, asked.codes, asked.low)
    return await edge.intake.answered(call)


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


COUPON_HANDLERS = (post_codes, post_pool_close, get_pool, get_code)


async def _body(request: _Request) -> tuple[bytes, str]:
    return await request.body(), request.headers.get("content-type", "")
