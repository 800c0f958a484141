"""The endpoints of queues and of messages in doubt. Looking is for whose mail it is; changing is for operators."""

from __future__ import annotations

__all__ = ("QUEUE_HANDLERS", "DoubtWord")

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from actors.gateway import wire
from actors.gateway.bodies import decode_one
from actors.gateway.handling import (
    actor_of,
    edge_of,
    found,
    message_id_of,
    operator_only,
    tenant_of,
)
from actors.queues import (
    DoubtList,
    QueueAction,
    QueueCommand,
    QueueDone,
    QueueList,
    Queues,
    QueueStory,
    Settled,
)
from engine.errors import RefusedError

_Request = Request[Any, Any, Any]
_COMMAND = msgspec.json.Decoder(QueueCommand)
_ACTIONS = ("suspend", "drain", "cancel", "bounce", "expire", "reroute", "resume")
_Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many.")]
_Text = Annotated[str, QueryParameter(max_length=300)]


class DoubtWord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operator's word on a message in doubt: send it again, or take it for delivered."""

    resend: bool
    reason: Annotated[str, Meta(max_length=500)] = ""


_WORD = msgspec.json.Decoder(DoubtWord)


@get("/v1/queues")
async def get_queues(request: _Request) -> QueueList:
    """Tell the tenant's queues, marks in force, and how many messages aren't at their end."""
    edge = edge_of(request)
    return await edge.intake.answered(_queues(request).list(tenant_of(request)))


@get("/v1/queues/selection")
async def get_selection(
    request: _Request,
    campaign: _Text = "",
    stream: _Text = "",
    domain: Annotated[
        str, QueryParameter(max_length=5000, description="Or several, by comma.")
    ] = "",
    site: _Text = "",
    pool: _Text = "",
    rows_max: Annotated[
        int,
        QueryParameter(ge=1, le=10_000_000, description="Read at most so many rows a worker."),
    ] = 200_000,
) -> QueueStory:
    """Tell what a selection of queued messages meets: by state and domain, and the oldest."""
    domains = [one for one in domain.split(",") if one]
    command = QueueCommand(campaign=campaign, stream=stream, domain=domains, site=site, pool=pool)
    call = _queues(request).show(tenant_of(request), command, rows_max)
    return await edge_of(request).intake.answered(call, rows_max // 50)


@post(
    "/v1/queues/{action:str}", status_code=200, guards=[operator_only], opt={"body": QueueCommand}
)
async def post_queue_command(request: _Request, action: FromPath[str]) -> QueueDone:
    """Suspend, drain, resume, cancel, bounce, expire or reroute what is selected; on record in the control log.

    Answers when all workers decide by it. What it ends counts as queued until the sweep has touched it.
    """
    if action not in _ACTIONS:
        detail = f"expected one of {', '.join(_ACTIONS)}"
        raise wire.FaultsError([wire.Fault("{action}", detail)])
    command = decode_one(*await _body(request), _COMMAND)
    known: QueueAction = action  # type: ignore[assignment] # one of them, as just seen
    call = _queues(request).act(tenant_of(request), known, command, actor_of(request))
    return await edge_of(request).intake.answered(call)


@get("/v1/doubts")
async def get_doubts(request: _Request, limit: _Limit = 100) -> DoubtList:
    """List messages held in doubt: begun, and nobody knows their reply."""
    call = _queues(request).doubts(tenant_of(request), limit)
    return await edge_of(request).intake.answered(call)


@post(
    "/v1/doubts/{message_id:str}", status_code=200, guards=[operator_only], opt={"body": DoubtWord}
)
async def post_doubt(request: _Request, message_id: FromPath[str]) -> Settled:
    """Settle a message in doubt: sent again, at the price of a possible duplicate, or taken for delivered."""
    identity = message_id_of(message_id)
    word = decode_one(*await _body(request), _WORD)
    call = _queues(request).settle(
        tenant_of(request), identity, word.resend, actor_of(request), word.reason
    )
    return found(await edge_of(request).intake.answered(call), "message")


QUEUE_HANDLERS = (get_queues, get_selection, post_queue_command, get_doubts, post_doubt)


async def _body(request: _Request) -> tuple[bytes, str]:
    return await request.body(), request.headers.get("content-type", "")


def _queues(request: _Request) -> Queues:
    queues = edge_of(request).queues
    if queues is None:
        raise RefusedError("this gateway has no queues behind it")
    return queues
