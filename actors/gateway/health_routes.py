"""The endpoints of health, for operators: lanes with score and reasons, exports of providers."""

from __future__ import annotations

__all__ = ("HEALTH_HANDLERS",)

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import QueryParameter

from actors.gateway.handling import edge_of, operator_only
from actors.health_desk import HealthDesk
from actors.health_views import HealthView, Imported
from engine.errors import InputError, RefusedError

_Request = Request[Any, Any, Any]


@get("/v1/health/lanes", guards=[operator_only])
async def get_health_lanes(
    request: _Request,
    curves: Annotated[
        bool, QueryParameter(description="With the curves of the last day and month.")
    ] = False,
) -> HealthView:
    """Tell how each source is doing at each provider, the worst first, and what is limited."""
    edge = edge_of(request)
    return await edge.intake.answered(_desk(request).told(curves=curves))


@post("/v1/health/exports", status_code=200, guards=[operator_only])
async def post_health_exports(
    request: _Request,
    file: Annotated[
        str, QueryParameter(max_length=200, description="Its name, for messages about mistakes.")
    ] = "",
) -> Imported:
    """Take over an export of Google Postmaster Tools (JSON, CSV) or Microsoft SNDS (CSV), as text. Safe to repeat."""
    body = await request.body()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError("the export isn't UTF-8", mend="save it as UTF-8") from error
    return _desk(request).take(text, file)


def _desk(request: _Request) -> HealthDesk:
    desk = edge_of(request).health
    if desk is None:
        raise RefusedError("this instance doesn't follow health")
    return desk


HEALTH_HANDLERS = (get_health_lanes, post_health_exports)
