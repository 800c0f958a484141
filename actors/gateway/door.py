"""The door: before any endpoint, each request gets an owner, a bounded body and a place among those under way.

It stands in front of Litestar as plain ASGI, because it must refuse before anything is read, and because the one hot
endpoint, `POST /v1/events`, is answered here without going through it (measured: docs/http-api.md, "Speed").
"""

from __future__ import annotations

__all__ = ("PRINCIPAL", "SLASHES_ENCODED", "Door", "InFlight")

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Literal

import msgspec
import structlog

from actors.gateway.bodies import TooLargeError
from actors.gateway.intake import Intake
from actors.gateway.keys import Keys, Principal, Unknown
from actors.gateway.metrics import GatewayMetrics
from actors.gateway.problems import Problem, problem, problem_of
from actors.tracking.answers import Tracking
from engine.config import Http
from engine.errors import CapacityError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

PRINCIPAL = "veredus.principal"
"""Where the owner of a request stands in its scope."""

SLASHES_ENCODED = "veredus.slashes_encoded"
"""In the scope of a request whose path has encoded slashes, and was therefore left encoded as a whole."""

_PUBLIC = frozenset({"/healthz", "/readyz"})
_JSON = [(b"content-type", b"application/json")]
_log = structlog.get_logger("veredus.http")


class _GoneError(Exception):
    """The client went away before its body was complete."""


class _SlowBodyError(Exception):
    """The body did not come in time."""


class InFlight:
    """What is under way through all doors, within its limits."""

    def __init__(self, limits: Http, metrics: GatewayMetrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._requests = 0
        self._bytes = 0

    def enter(self) -> None:
        """Count a request in.

        Raises:
            CapacityError: too many are under way.
        """
        if self._requests >= self._limits.requests_in_flight_max:
            raise CapacityError("requests under way")
        self._requests += 1
        self._metrics.in_flight.set(self._requests)

    def leave(self, held: int) -> None:
        """Count a request out, with the bytes that it held."""
        self._requests -= 1
        self._bytes -= held
        self._metrics.in_flight.set(self._requests)
        self._metrics.in_flight_bytes.set(self._bytes)

    def hold(self, size: int) -> None:
        """Count bytes of a body in.

        Raises:
            CapacityError: too many are held.
        """
        if self._bytes + size > self._limits.in_flight_bytes_max:
            raise CapacityError("bytes of requests under way")
        self._bytes += size
        self._metrics.in_flight_bytes.set(self._bytes)


class Door:
    """One way in, as an ASGI application: over the network (by key) or over the local socket (by file mode)."""

    def __init__(
        self,
        app: App,
        intake: Intake,
        keys: Keys,
        limits: Http,
        in_flight: InFlight,
        metrics: GatewayMetrics,
        way: Literal["network", "socket"],
        tracking: Tracking | None = None,
    ) -> None:
        self._tracking = tracking
        self._app = app
        self._intake = intake
        self._identify = keys.by_network if way == "network" else keys.by_socket
        self._limits = limits
        self._in_flight = in_flight
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Never raises for what a client did; a mistake of ours is logged and told as 500."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        started = time.perf_counter()
        try:
            await self._serve(scope, receive, answer)
        except _GoneError:
            return
        except _SlowBodyError:
            await answer.tell(
                problem(408, "slow", "The body did not come in time; nothing was taken.")
            )
        except Exception as error:  # noqa: BLE001 -- the outermost loop of the edge: told, logged and counted
            await answer.tell(_told(error, scope))
        route = str(scope.get("path_template") or "other")
        self._metrics.requests.labels(route, str(answer.status)).inc()
        self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _track(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer
    ) -> None:
        """Serve a recipient, who has a token instead of a key."""
        assert self._tracking is not None, "asked only when there is one"
        scope["path_template"] = scope["path"][:3] + "{token}"
        self._in_flight.enter()
        held = _Held(self._in_flight)
        try:
            body = await self._read(headers, receive, held)
            told = await self._tracking.answer(scope["method"], scope["path"], body, headers)
            await answer.whole(told.status, list(told.headers), told.body)
        finally:
            self._in_flight.leave(held.size)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = dict(scope["headers"])
        path = scope["path"]
        if self._tracking is not None and self._tracking.serves(path):
            await self._track(scope, headers, receive, answer)
            return
        if path not in _PUBLIC:
            principal = self._identify(headers)
            if isinstance(principal, Unknown):
                await answer.tell(problem(401, "unauthorized", principal.reason))
                return
            scope[PRINCIPAL] = principal
        self._in_flight.enter()
        held = _Held(self._in_flight)
        try:
            body = await self._read(headers, receive, held)
            _keep_slashes(scope)
            if scope["path"] == "/v1/events" and scope["method"] == "POST":
                await self._events(scope, headers, body, answer)
            else:
                await self._app(scope, _replay(body, receive), answer)
        finally:
            self._in_flight.leave(held.size)

    async def _events(
        self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, answer: _Answer
    ) -> None:
        scope["path_template"] = "/v1/events"
        principal: Principal = scope[PRINCIPAL]
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        results = await self._intake.events(principal.tenant, body, content_type)
        await answer.whole(200, _JSON, msgspec.json.encode(results))

    async def _read(self, headers: Mapping[bytes, bytes], receive: Receive, held: _Held) -> bytes:
        """Read the body, no more of it than allowed and no longer than allowed.

        Raises:
            TooLargeError: it is larger than `http.body_bytes_max`.
            CapacityError: too much is held already.
        """
        size_max = self._limits.body_bytes_max
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > size_max:
            raise TooLargeError(f"at most {size_max} bytes in one request")
        pieces: list[bytes] = []
        more = True
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    pieces.append(message.get("body", b""))
                    held.add(len(pieces[-1]), size_max)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise _SlowBodyError from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Held:
    """The bytes that one request holds."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self.size = 0

    def add(self, size: int, size_max: int) -> None:
        if self.size + size > size_max:
            raise TooLargeError(f"at most {size_max} bytes in one request")
        self._in_flight.hold(size)
        self.size += size


class _Answer:
    """The ASGI `send` of one request, which knows what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def tell(self, told: Problem) -> None:
        """Send a problem, unless an answer has begun."""
        if not self.status:
            await self.whole(told.status, told.headers(), told.body())

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer in one piece."""
        length = (b"content-length", str(len(body)).encode())
        start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
        await self(start)
        await self._send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, then whatever the connection says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _keep_slashes(scope: Scope) -> None:
    """Leave a path encoded when a contact's id in it has a slash, which routing would take for its own."""
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw_path.lower():
        scope["path"] = raw_path.decode("ascii")
        scope[SLASHES_ENCODED] = True


def _told(error: Exception, scope: Scope) -> Problem:
    told = problem_of(error)
    if told is not None:
        return told
    # The route and not the path, which may name a contact.
    route = scope.get("path_template", "")
    _log.error("request_failed", route=route, method=scope["method"], exc_info=error)
    return problem(500, "internal", "Veredus made a mistake; it is in the log of the instance.")
