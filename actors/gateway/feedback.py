"""The endpoints of feedback: mail that came back elsewhere, findings, rates."""

from __future__ import annotations

__all__ = ("HANDLERS",)

from typing import Annotated, Any, Literal, cast

import msgspec
from litestar import Request, get, post
from litestar.params import QueryParameter

from actors.feedback.loop import FeedbackLoop, FeedbackView
from actors.feedback.reception import Receipt
from actors.gateway.door import PRINCIPAL
from actors.gateway.keys import Principal
from deliverability.feedback.findings import Finding
from deliverability.feedback.rates import LaneRates
from engine.errors import InputError, RefusedError

_Request = Request[Any, Any, Any]


class Findings(msgspec.Struct, frozen=True):
    """What is found now, the gravest first."""

    items: list[Finding]


class RatesPage(msgspec.Struct, frozen=True):
    """Rates by lane."""

    items: list[LaneRates]


@post("/v1/feedback", status_code=200)
async def post_feedback(
    request: _Request,
    to: Annotated[
        str,
        QueryParameter(max_length=320, description="The forward-path of its envelope, if known."),
    ] = "",
) -> Receipt:
    """Take one mail that came back (message/rfc822): a bounce, a complaint, a report. Giving it again is harmless.

    It is believed as far as it proves itself, whoever gives it: by a reverse-path that we signed, or a known reporter's
    DKIM signature.
    """
    body = await request.body()
    if not body:
        raise InputError("expected a mail as body", mend="send it as message/rfc822")
    return await _loop(request).reception.take(body, [to] if to else [], "http")


@get("/v1/feedback/findings")
async def get_findings(request: _Request) -> Findings:
    """List what somebody should look at: rates over their limits, sources that fail alignment, TLS that fails."""
    return Findings(_loop(request).findings(_bounds(request)))


@get("/v1/feedback/rates")
async def get_rates(
    request: _Request,
    window: Annotated[
        Literal["hour", "day", "week", "month"], QueryParameter(description="That ends now.")
    ] = "day",
) -> RatesPage:
    """Tell what mail comes to, by tenant, stream, source and provider, with causes."""
    return RatesPage(_loop(request).rates(window, _bounds(request)))


@get("/v1/feedback")
async def get_feedback(request: _Request) -> FeedbackView:
    """Tell what came back, and what was refused, in numbers. For operators."""
    if _bounds(request) is not None:
        raise RefusedError("this concerns the whole instance and needs an operator's key")
    return _loop(request).view()


HANDLERS = (post_feedback, get_feedback, get_findings, get_rates)


def _loop(request: _Request) -> FeedbackLoop:
    found = request.app.state.edge.feedback
    if found is None:
        raise RefusedError("this instance takes no feedback")
    return cast("FeedbackLoop", found)


def _bounds(request: _Request) -> str | None:
    principal: Principal = cast("dict[str, Any]", request.scope)[PRINCIPAL]
    return None if principal.operator else principal.tenant
