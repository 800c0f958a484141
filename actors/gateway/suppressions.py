"""The endpoints of the suppression list. A tenant's key reaches its own scopes; an operator's every one."""

from __future__ import annotations

__all__ = ("HANDLERS",)

from typing import Annotated, Any, cast

import msgspec
from litestar import Request, delete, get, post
from litestar.params import QueryParameter

from actors.gateway.bodies import decode_items, decode_one
from actors.gateway.door import PRINCIPAL
from actors.gateway.keys import Principal, hash_key
from actors.suppression.service import Listing, Suppressions
from actors.suppression.wire import Addition, Checked, ListPage, Removal, Told
from engine.errors import RefusedError

_Request = Request[Any, Any, Any]
_Reason = Annotated[
    str, QueryParameter(max_length=500, description="Why; it goes on record. No address in it.")
]
_ITEMS_MAX = 5000
_ADDITIONS = msgspec.json.Decoder(Addition)
_REMOVALS = msgspec.json.Decoder(Removal)


class CheckIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address to check. Without `stream` and `topic` every entry that concerns the tenant is told."""

    address: str
    stream: str = ""
    topic: str = ""


_CHECKS = msgspec.json.Decoder(CheckIn)


@post("/v1/suppressions", status_code=200, opt={"body": Addition, "many": True})
async def post_suppressions(request: _Request, reason: _Reason = "") -> Told:
    """Put addresses on the suppression list: one, an array, or one a line (application/x-ndjson).

    All or none. When this answers, the addresses are on the list durably; no mail to them begins later than 2 s after.
    """
    body = await request.body()
    found = decode_items(body, request.headers.get("content-type", ""), _ADDITIONS, _ITEMS_MAX)
    principal = _principal(request)
    return _list(request).add(
        found.items,
        default_tenant=principal.tenant,
        tenant=_bounds(principal),
        actor=_actor(request),
        reason=reason,
    )


@post("/v1/suppressions/roles", status_code=200)
async def post_roles(
    request: _Request,
    within: Annotated[str, QueryParameter(max_length=300, description="The scope.")] = "",
    reason: _Reason = "",
) -> Told:
    """Put all role addresses (abuse@, postmaster@, ...) of every domain on the list, within a scope."""
    principal = _principal(request)
    return _list(request).add_roles(
        within,
        default_tenant=principal.tenant,
        tenant=_bounds(principal),
        actor=_actor(request),
        reason=reason,
    )


@delete("/v1/suppressions", status_code=200, opt={"body": Removal, "many": True})
async def delete_suppressions(request: _Request, reason: _Reason = "") -> Told:
    """Take addresses off the list; the body is as that of POST."""
    body = await request.body()
    found = decode_items(body, request.headers.get("content-type", ""), _REMOVALS, _ITEMS_MAX)
    principal = _principal(request)
    return _list(request).remove(
        found.items, tenant=_bounds(principal), actor=_actor(request), reason=reason
    )


@get("/v1/suppressions")
async def get_suppressions(
    request: _Request,
    after: Annotated[
        str, QueryParameter(max_length=40, description="`next` of the page before.")
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=5000, description="At most so many.")] = 100,
    why: Annotated[str, QueryParameter(max_length=30, description="Only this reason.")] = "",
    within: Annotated[str, QueryParameter(max_length=300, description="Only this scope.")] = "",
) -> ListPage:
    """List entries in the order of their hashes."""
    listing = Listing(after, limit, why, within)  # Litestar keeps `scope` for itself
    principal = _principal(request)
    return _list(request).page(listing, _bounds(principal), principal.tenant)


@post("/v1/suppressions/check", status_code=200, opt={"body": CheckIn})
async def check_suppression(request: _Request) -> Checked:
    """Tell whether mail may go to an address. By POST, so that no log of a proxy has the address."""
    body = await request.body()
    item = decode_one(body, request.headers.get("content-type", ""), _CHECKS)
    whole = not item.stream and not item.topic
    tenant = _principal(request).tenant
    return _list(request).check(item.address, tenant, item.stream, item.topic, whole=whole)


HANDLERS = (
    post_suppressions,
    post_roles,
    delete_suppressions,
    get_suppressions,
    check_suppression,
)


def _list(request: _Request) -> Suppressions:
    loop = request.app.state.edge.feedback
    if loop is None:
        raise RefusedError("this instance keeps no suppression list")
    return cast("Suppressions", loop.suppressions)


def _principal(request: _Request) -> Principal:
    principal: Principal = cast("dict[str, Any]", request.scope)[PRINCIPAL]
    return principal


def _bounds(principal: Principal) -> str | None:
    return None if principal.operator else principal.tenant


def _actor(request: _Request) -> str:
    key = request.headers.get("authorization", "").partition(" ")[2].strip()
    if not key:
        return "operator on this machine"
    kind = "operator key" if _principal(request).operator else "key"
    return f"{kind} {hash_key(key)[:19]}"
