"""What all endpoints share: the edge that they ask, who asks, and how a refusal is told."""

from __future__ import annotations

__all__ = (
    "Edge",
    "ProblemError",
    "actor_of",
    "contact_of",
    "edge_of",
    "found",
    "message_id_of",
    "operator_only",
    "tenant_of",
)

import asyncio
from typing import Any, TypeVar, cast
from urllib.parse import unquote

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from actors.backend import Backend
from actors.cluster.desk import ClusterDesk
from actors.feedback.loop import FeedbackLoop
from actors.gateway import wire
from actors.gateway.door import PRINCIPAL, SLASHES_ENCODED
from actors.gateway.intake import Intake
from actors.gateway.keys import Principal, hash_key
from actors.gateway.problems import Problem, problem
from actors.health_desk import HealthDesk
from actors.planning.keeper import Keeper
from actors.queues import Queues
from actors.webhooks.desk import WebhookDesk
from engine.config import Config
from engine.ids import ID_BYTES

_T = TypeVar("_T")
_Request = Request[Any, Any, Any]


class Edge(msgspec.Struct, frozen=True):
    """What all endpoints share."""

    config: Config
    backend: Backend
    intake: Intake
    registry: Any  # prometheus_client.CollectorRegistry
    closing: asyncio.Event  # set when the gateway ends: nobody is to wait any longer
    planning: Keeper | None = None
    queues: Queues | None = None
    feedback: FeedbackLoop | None = None
    webhooks: WebhookDesk | None = None
    cluster: ClusterDesk | None = None
    health: HealthDesk | None = None


class ProblemError(Exception):
    """Carries a problem to the exception handler."""

    def __init__(self, told: Problem) -> None:
        self.told = told
        super().__init__(told.detail)


def operator_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let only an operator pass. Raises: ProblemError: 403."""
    principal = cast("dict[str, Any]", connection.scope)[PRINCIPAL]
    if not principal.operator:
        detail = "This concerns the whole instance and needs an operator's key."
        raise ProblemError(problem(403, "operator-only", detail))


def edge_of(request: _Request) -> Edge:
    """Give the edge of the application."""
    return cast("Edge", request.app.state.edge)


def tenant_of(request: _Request) -> str:
    """Tell which tenant asks."""
    principal: Principal = cast("dict[str, Any]", request.scope)[PRINCIPAL]
    return principal.tenant


def actor_of(request: _Request) -> str:
    """Tell who changes something, for the record: the owner of the local socket, or an operator's key by its hash."""
    key = request.headers.get("authorization", "").partition(" ")[2].strip()
    return f"operator key {hash_key(key)[:19]}" if key else "operator on this machine"


def found(view: _T | None, what: str) -> _T:
    """Give what was found. Raises: ProblemError: 404, there is nothing."""
    if view is None:
        raise ProblemError(problem(404, "not-found", f"There is no such {what}."))
    return view


def contact_of(request: _Request, contact: str) -> str:
    """Give the contact's id; when it has a slash, the door left the path as it was encoded."""
    return unquote(contact) if SLASHES_ENCODED in request.scope else contact


def message_id_of(text: str) -> bytes:
    """Read the id of a message in a path. Raises: FaultsError: it isn't one."""
    try:
        identity = bytes.fromhex(text)
    except ValueError:
        identity = b""
    if len(identity) != ID_BYTES:
        detail = f"expected {2 * ID_BYTES} hexadecimal digits"
        raise wire.FaultsError([wire.Fault("{message_id}", detail)])
    return identity
