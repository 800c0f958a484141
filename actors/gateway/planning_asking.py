"""What the endpoints of planning have in common: whom they ask, what was asked, and by whom."""

from __future__ import annotations

__all__ = ("asked_of", "author_of", "history_of", "keeper_of", "read_body")

import time
from typing import Any, TypeVar

import msgspec
from litestar import Request

from actors.gateway import planning_wire as wire
from actors.gateway.bodies import decode_one
from actors.gateway.handling import ProblemError, actor_of, edge_of
from actors.gateway.problems import problem
from actors.planning.keeper import Keeper
from actors.planning.versions import Author
from engine.errors import VeredusError
from scenarios.history import HistoryDiff

_T = TypeVar("_T")
_By = TypeVar("_By", bound=wire.ByCommand)
_Request = Request[Any, Any, Any]


def keeper_of(request: _Request) -> Keeper:
    """Give what plans for this instance. Raises: ProblemError: nothing does."""
    keeper = edge_of(request).planning
    if keeper is None:
        detail = "This instance plans nothing: it is a replay, or a gateway alone."
        raise ProblemError(problem(409, "refused", detail))
    return keeper


async def read_body(request: _Request, kind: type[_T]) -> _T:
    """Read what was asked. Raises: ProblemError: it isn't of this kind."""
    body = await request.body()
    media_type = request.headers.get("content-type", "")
    return decode_one(body, media_type, msgspec.json.Decoder(kind))


def author_of(request: _Request, reason: str) -> Author:
    """Tell who asks."""
    return Author(actor_of(request), reason, time.time_ns() // 1_000_000)


async def asked_of(request: _Request, kind: type[_By]) -> tuple[_By, Author]:
    """Read what was asked, and who asks it why."""
    asked = await read_body(request, kind)
    return asked, author_of(request, asked.reason)


async def history_of(
    keeper: Keeper, tenant: str, before: str | None, after: str
) -> HistoryDiff | None:
    """Tell what the last days say about a change that is published; None: it is new, or they can't be read now."""
    if before is None:
        return None
    try:
        return await keeper.compare(tenant, before, after)
    except VeredusError:  # it is published all the same
        return None
