"""The endpoints, on Litestar: what they are called, what they ask of the engine, who may."""

from __future__ import annotations

__all__ = ("Edge", "make_app")

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response, delete, get, post, put
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.params import FromPath, HeaderParameter, QueryParameter
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from actors.backend import (
    AuditPage,
    Conservation,
    ContactView,
    Explanation,
    MessageView,
    NoticePage,
    OutcomePage,
    QuarantineDetail,
    QuarantinePage,
    Readiness,
    Repaired,
    SendResult,
    StatusView,
)
from actors.gateway import feedback, suppressions, wire
from actors.gateway.cluster_routes import CLUSTER_HANDLERS
from actors.gateway.coupons import COUPON_HANDLERS
from actors.gateway.experiments import EXPERIMENT_HANDLERS
from actors.gateway.handling import Edge
from actors.gateway.handling import ProblemError as _ProblemError
from actors.gateway.handling import actor_of as _actor
from actors.gateway.handling import contact_of as _decoded
from actors.gateway.handling import edge_of as _edge
from actors.gateway.handling import found as _found
from actors.gateway.handling import message_id_of as _message_id
from actors.gateway.handling import operator_only as _operator_only
from actors.gateway.handling import tenant_of as _tenant
from actors.gateway.health_routes import HEALTH_HANDLERS
from actors.gateway.intake import Results
from actors.gateway.message_wire import MessageIn
from actors.gateway.messages import MessageAccepted, MessageOutcome, MessageResults
from actors.gateway.openapi import document
from actors.gateway.planning import PLANNING_HANDLERS
from actors.gateway.problems import MEDIA_TYPE, Problem, problem, problem_of
from actors.gateway.products import PRODUCT_HANDLERS
from actors.gateway.queue_routes import QUEUE_HANDLERS
from actors.gateway.webhook_routes import WEBHOOK_HANDLERS

_T = TypeVar("_T")
_Request = Request[Any, Any, Any]
_Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many.")]
_Reason = Annotated[
    str, QueryParameter(max_length=500, description="Why; it goes on record. No address in it.")
]
_log = structlog.get_logger("veredus.http")


# ---- taking


@post("/v1/events", status_code=200, opt={"body": wire.EventIn, "many": True})
async def post_events(request: _Request) -> Results:
    """Take events: one, an array, or one a line (application/x-ndjson).

    Answers once they are durable, with a result for each. A repeated `id` is recognised. When any item has a mistake,
    nothing of the request is taken and the mistakes are listed.
    """
    return await _edge(request).intake.events(_tenant(request), *await _body(request))


@put("/v1/contacts", status_code=200, opt={"body": wire.ContactIn, "many": True})
async def put_contacts(request: _Request) -> Results:
    """Set attributes and consents of contacts: one, an array, or one a line (application/x-ndjson)."""
    return await _edge(request).intake.contacts(_tenant(request), *await _body(request))


@post("/v1/contacts/{contact:str}/consents", status_code=200, opt={"body": wire.ConsentIn})
async def post_consent(request: _Request, contact: FromPath[str]) -> Results:
    """Take a consent granted or withdrawn. The newest by its own time wins."""
    name = _decoded(request, contact)
    return await _edge(request).intake.consent(_tenant(request), name, *await _body(request))


@delete("/v1/contacts/{contact:str}", status_code=200, opt={"body": wire.EraseIn, "optional": True})
async def delete_contact(request: _Request, contact: FromPath[str]) -> Results:
    """Erase a contact: personal fields go at once, all mail is cancelled, a tombstone remains."""
    name = _decoded(request, contact)
    edge, tenant = _edge(request), _tenant(request)
    loop = edge.feedback
    known = await loop.erasing(tenant, name) if loop is not None else []
    results = await edge.intake.erase(tenant, name, *await _body(request))
    if loop is not None:
        loop.forget(known)
    return results


@post("/v1/contacts/{contact:str}/merge", status_code=200, opt={"body": wire.MergeIn})
async def merge_contact(request: _Request, contact: FromPath[str]) -> Results:
    """Merge a contact into another, and let what comes for it reach that one. Safe to repeat.

    It is done soon after: `merged_into` of the contact tells. Refused, and on record, where it would be a loop.
    """
    name = _decoded(request, contact)
    return await _edge(request).intake.merge(_tenant(request), name, *await _body(request))


@post("/v1/messages", status_code=202, opt={"body": MessageIn, "many": True})
async def post_messages(
    request: _Request,
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            description="Or as a field of the body; of a list, each item's key is made of it and its number.",
        ),
    ] = None,
) -> Response[MessageAccepted] | Response[MessageResults]:
    """Send messages: one, an array, or one a line (application/x-ndjson), each to one recipient or many.

    The same key again gives the same messages (200); with another body it is a conflict (409). A list is answered with
    a result for each item.
    """
    results, listed = await _edge(request).intake.messages(
        _tenant(request), *await _body(request), idempotency_key
    )
    if listed:
        return Response(MessageResults([_message_outcome(one) for one in results]), status_code=200)
    (result,) = results
    match result.status:
        case "accepted" | "repeated":
            ids = [one.hex() for one in result.message_ids]
            accepted = MessageAccepted(ids[0], result.status, ids if len(ids) > 1 else [])
            return Response(accepted, status_code=202 if result.status == "accepted" else 200)
        case "conflict":
            detail = "This idempotency key stands for another request."
            raise _ProblemError(problem(409, "idempotency-conflict", detail))
        case "refused":
            raise _ProblemError(problem(422, "refused", result.reason))


# ---- asking


@get("/v1/contacts/{contact:str}")
async def get_contact(request: _Request, contact: FromPath[str]) -> ContactView:
    """Tell everything held about a contact."""
    edge = _edge(request)
    name = _decoded(request, contact)
    view = await edge.intake.answered(edge.backend.contact(_tenant(request), name))
    return _found(view, "contact")


@get("/v1/messages/{message_id:str}")
async def get_message(request: _Request, message_id: FromPath[str]) -> MessageView:
    """Tell where a message stands."""
    edge = _edge(request)
    call = edge.backend.message(_tenant(request), _message_id(message_id))
    return _found(await edge.intake.answered(call), "message")


@get("/v1/messages/{message_id:str}/explain")
async def explain_message(request: _Request, message_id: FromPath[str]) -> Explanation:
    """Tell a message's story: what led to it, what was decided, what became of each attempt."""
    edge = _edge(request)
    call = edge.backend.explain(_tenant(request), _message_id(message_id))
    return _found(await edge.intake.answered(call), "message")


@get("/v1/outcomes")
async def get_outcomes(
    request: _Request,
    after: Annotated[
        str, QueryParameter(max_length=500, description="`next` of the page before.")
    ] = "",
    limit: _Limit = 100,
    wait_ms: Annotated[
        int,
        QueryParameter(
            ge=0, le=300_000, description="Wait so long for the first, if there is none."
        ),
    ] = 0,
) -> OutcomePage:
    """Read what became of mail, in commit order. `next` is always usable, also when nothing was new."""
    edge = _edge(request)
    wait_ms = min(wait_ms, edge.config.http.outcomes_wait_ms_max)
    tenant = _tenant(request)
    if wait_ms:
        page = await _unless_closing(
            edge, edge.backend.outcomes(tenant, after, limit, wait_ms), wait_ms
        )
        if page is not None:
            return page
    return await edge.intake.answered(edge.backend.outcomes(tenant, after, limit, 0))


@get("/v1/notices/{channel:str}")
async def get_notices(
    request: _Request,
    channel: FromPath[str],
    after: Annotated[
        str, QueryParameter(max_length=500, description="`next` of the page before.")
    ] = "",
    limit: _Limit = 100,
    wait_ms: Annotated[
        int,
        QueryParameter(
            ge=0, le=300_000, description="Wait so long for the first, if there is none."
        ),
    ] = 0,
) -> NoticePage:
    """Read what scenarios put on a channel (step `notify`; `coupons`: pools that run low), in commit order."""
    edge, tenant = _edge(request), _tenant(request)
    wait_ms = min(wait_ms, edge.config.http.outcomes_wait_ms_max)
    if wait_ms:
        call = edge.backend.notices(tenant, channel, after, limit, wait_ms)
        page = await _unless_closing(edge, call, wait_ms)
        if page is not None:
            return page
    return await edge.intake.answered(edge.backend.notices(tenant, channel, after, limit, 0))


# ---- operating


@get("/v1/status", guards=[_operator_only])
async def get_status(request: _Request) -> StatusView:
    """Describe the instance: workers, queues, the conservation law."""
    edge = _edge(request)
    return await edge.intake.answered(edge.backend.status())


@get("/v1/audit", guards=[_operator_only])
async def get_audit(
    request: _Request,
    after: Annotated[
        int, QueryParameter(ge=0, description="Sequence number of the last one seen.")
    ] = 0,
    limit: _Limit = 100,
) -> AuditPage:
    """Read the control log, and whether its chain of hashes holds."""
    edge = _edge(request)
    return await edge.intake.answered(edge.backend.audit(after, limit))


@get("/v1/conservation", guards=[_operator_only])
async def get_conservation(
    request: _Request,
    recount: Annotated[
        Literal["no", "last", "start"],
        QueryParameter(description="`start` begins to count everything; `last` tells how it goes."),
    ] = "no",
) -> Conservation:
    """Tell whether the conservation law holds, by the counters and by the last recount."""
    edge = _edge(request)
    return await edge.intake.answered(edge.backend.conservation(recount))


@get("/v1/quarantine", guards=[_operator_only])
async def get_quarantine(
    request: _Request,
    after: Annotated[
        str, QueryParameter(max_length=40, description="Id of the last one seen.")
    ] = "",
    limit: _Limit = 100,
) -> QuarantinePage:
    """List inputs that couldn't be decided, by partition and number."""
    edge = _edge(request)
    return await edge.intake.answered(edge.backend.quarantine(after, limit))


@get("/v1/quarantine/{entry:str}", guards=[_operator_only])
async def get_quarantined(request: _Request, entry: FromPath[str]) -> QuarantineDetail:
    """Show an input in quarantine, decoded."""
    edge = _edge(request)
    return _found(
        await edge.intake.answered(edge.backend.quarantined(entry)), "input in quarantine"
    )


@post("/v1/quarantine/{entry:str}/replay", status_code=200, guards=[_operator_only])
async def replay_quarantined(
    request: _Request, entry: FromPath[str], reason: _Reason = ""
) -> Repaired:
    """Decide an input in quarantine again; it stays, with its new reason, when that fails."""
    edge = _edge(request)
    call = edge.backend.repair(entry, "replay", _actor(request), reason)
    return await edge.intake.answered(call)


@delete("/v1/quarantine/{entry:str}", status_code=200, guards=[_operator_only])
async def drop_quarantined(
    request: _Request, entry: FromPath[str], reason: _Reason = ""
) -> Repaired:
    """Drop an input in quarantine, on record in the control log."""
    edge = _edge(request)
    call = edge.backend.repair(entry, "drop", _actor(request), reason)
    return await edge.intake.answered(call)


@get("/metrics", guards=[_operator_only], media_type=MediaType.TEXT)
async def get_metrics(request: _Request) -> Response[bytes]:
    """Give all metrics in the text format of Prometheus."""
    return Response(generate_latest(_edge(request).registry), media_type=CONTENT_TYPE_LATEST)


@get("/healthz", media_type=MediaType.TEXT)
async def get_health() -> str:
    """Tell that the process answers. Needs no key."""
    return "ok\n"


@get("/readyz")
async def get_readiness(request: _Request) -> Response[Readiness]:
    """Tell whether inputs are taken now: 200, or 503 with the reason. Needs no key."""
    edge = _edge(request)
    readiness = await edge.intake.answered(edge.backend.ready())
    return Response(readiness, status_code=200 if readiness.ready else 503)


@get("/v1/openapi.json", include_in_schema=False)
async def get_openapi(request: _Request) -> Response[bytes]:
    """Give the OpenAPI document of these endpoints."""
    return Response(document(request.app), media_type="application/json")


_HANDLERS = (
    post_events,
    put_contacts,
    post_consent,
    delete_contact,
    merge_contact,
    post_messages,
    get_contact,
    get_message,
    explain_message,
    get_outcomes,
    get_notices,
    get_status,
    get_audit,
    get_conservation,
    get_quarantine,
    get_quarantined,
    replay_quarantined,
    drop_quarantined,
    get_metrics,
    get_health,
    get_readiness,
    get_openapi,
    *PLANNING_HANDLERS,
    *EXPERIMENT_HANDLERS,
    *QUEUE_HANDLERS,
    *suppressions.HANDLERS,
    *feedback.HANDLERS,
    *WEBHOOK_HANDLERS,
    *COUPON_HANDLERS,
    *PRODUCT_HANDLERS,
    *CLUSTER_HANDLERS,
    *HEALTH_HANDLERS,
)


def make_app(edge: Edge, version: str) -> Litestar:
    """Make the application behind the doors, which have authenticated each request and bounded its body."""
    return Litestar(
        route_handlers=_HANDLERS,
        state=State({"edge": edge}),
        exception_handlers={Exception: _answer},
        openapi_config=OpenAPIConfig(
            title="Veredus",
            version=version,
            render_plugins=[],
            use_handler_docstrings=True,
            operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        ),
        logging_config=None,
        debug=False,
        request_max_body_size=None,
    )


# ---- pieces


async def _unless_closing(edge: Edge, call: Coroutine[Any, Any, _T], extra_ms: int) -> _T | None:
    """Wait for an answer that may take long; None when the gateway ends before it comes."""
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(edge.intake.answered(call, extra_ms))
        closing = group.create_task(edge.closing.wait())
        await asyncio.wait({answer, closing}, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if not answer.done():
            answer.cancel()
            return None
    return answer.result()


async def _body(request: _Request) -> tuple[bytes, str]:
    return await request.body(), request.headers.get("content-type", "")


def _message_outcome(result: SendResult) -> MessageOutcome:
    """Tell what became of an item; the messages of a conflict are those of another request, and not told."""
    ids = [] if result.status == "conflict" else [one.hex() for one in result.message_ids]
    return MessageOutcome(result.status, ids, result.reason)


def _answer(request: _Request, error: Exception) -> Response[bytes]:
    told = _problem(request, error)
    headers = {name.decode(): value.decode() for name, value in told.headers()}
    del headers["content-type"]
    return Response(
        told.body(), status_code=told.status, headers=headers, media_type=MEDIA_TYPE.decode()
    )


def _problem(request: _Request, error: Exception) -> Problem:
    if isinstance(error, _ProblemError):
        return error.told
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _of_litestar(error)
    told = problem_of(error)
    if told is not None:
        return told
    route = request.scope.get("path_template", "")  # not the path, which may name a contact
    _log.error("request_failed", route=route, method=request.method, exc_info=error)
    return problem(500, "internal", "Veredus made a mistake; it is in the log of the instance.")


def _of_litestar(error: HTTPException) -> Problem:
    """Tell what Litestar refused: an unknown path, a method, a parameter of the query."""
    faults = [
        wire.Fault(str(item.get("key", "")), str(item.get("message", "")))
        for item in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(item, dict)
    ]
    kind = {404: "not-found", 405: "method"}.get(error.status_code, "invalid")
    told = problem(error.status_code, kind, "" if faults else error.detail)
    return msgspec.structs.replace(told, errors=faults)
