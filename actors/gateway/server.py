"""The gateway as a server: listening sockets, TLS, beginning and end, inside the caller's event loop."""

from __future__ import annotations

__all__ = ("Gateway", "serve")

import asyncio
import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry

from actors.backend import Backend
from actors.cluster.desk import ClusterDesk
from actors.feedback.loop import FeedbackLoop
from actors.gateway.door import Door, InFlight
from actors.gateway.handling import Edge
from actors.gateway.intake import Intake
from actors.gateway.keys import Keys
from actors.gateway.metrics import GatewayMetrics
from actors.gateway.protocol import BoundedProtocol
from actors.gateway.routes import make_app
from actors.health_desk import HealthDesk
from actors.local_socket import SOCKET_NAME, bind_private
from actors.planning.keeper import Keeper
from actors.queues import Queues
from actors.submission.content import Injector
from actors.tracking.answers import Tracking
from actors.webhooks.desk import WebhookDesk
from deliverability.tokens import KeyRing
from engine.config import Config, Http
from engine.errors import ConfigError, Place

_BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the instance that we are part of decides when to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave all signals alone."""
        yield


class Gateway:
    """The HTTP interface of one instance: a door on the network, another on the local socket.

    Args:
        registry: what `/metrics` shows; the gateway adds its own metrics to it.
        rings: each tenant's keys; with them recipients are served (unsubscribe, clicks, opens).
        injector: with it messages may bring their own content; else they name published templates.
        feedback: takes what comes back, and has the suppression list; without it their endpoints refuse.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        registry: CollectorRegistry,
        rings: Mapping[str, KeyRing] | None = None,
        injector: Injector | None = None,
        planning: Keeper | None = None,
        queues: Queues | None = None,
        feedback: FeedbackLoop | None = None,
        webhooks: WebhookDesk | None = None,
        cluster: ClusterDesk | None = None,
        health: HealthDesk | None = None,
    ) -> None:
        self._config = config
        self._closing = asyncio.Event()
        metrics = GatewayMetrics(registry)
        intake = Intake(
            config, backend, metrics, _clock_ms, lambda: secrets.token_hex(16), injector
        )
        shared = (planning, queues, feedback, webhooks, cluster, health)
        edge = Edge(config, backend, intake, registry, self._closing, *shared)
        app = make_app(edge, product_version())
        keys, limits = Keys(config), config.http
        in_flight = InFlight(limits, metrics)
        consented = feedback.consented if feedback is not None else None
        tracking = Tracking(rings, backend, _clock_ms, consented) if rings else None
        self.network = Door(app, intake, keys, limits, in_flight, metrics, "network", tracking)
        self.local = Door(app, intake, keys, limits, in_flight, metrics, "socket")
        self.address = ("", 0)  # host and port, once ready
        self.socket_path = Path(config.data_dir) / SOCKET_NAME

    async def serve(self, ready: asyncio.Event, stop: asyncio.Event) -> None:
        """Listen; set `ready` when requests are answered; after `stop`, finish those under way and return.

        Raises:
            ConfigError: the address, the certificate or the socket can't be used.
            RefusedError: another instance answers on the local socket.
        """
        http = self._config.http
        with _listen(http) as network, bind_private(self.socket_path) as local:
            self.address = network.getsockname()[:2]
            servers = [_server(self.network, http, _tls(http)), _server(self.local, http, None)]
            async with asyncio.TaskGroup() as group:
                for server, listening in zip(servers, (network, local), strict=True):
                    group.create_task(server.serve(sockets=[listening]))
                try:
                    for server in servers:
                        await server.begun.wait()
                    ready.set()
                    await stop.wait()
                finally:
                    self._closing.set()
                    for server in servers:
                        server.should_exit = True


async def serve(
    config: Config,
    backend: Backend,
    registry: CollectorRegistry,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Serve HTTP for a backend until `stop`; see `Gateway.serve`."""
    await Gateway(config, backend, registry).serve(ready, stop)


def product_version() -> str:
    """Tell the version of the installed distribution; a checkout that isn't installed has none."""
    try:
        return version("veredus")
    except PackageNotFoundError:
        return "0"


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _server(door: Door, http: Http, tls: ssl.SSLContext | None) -> _Server:
    config = uvicorn.Config(
        door,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=http.connections_max,
        timeout_keep_alive=http.keep_alive_s,
        timeout_graceful_shutdown=http.drain_timeout_s,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return _Server(config)


def _tls(http: Http) -> ssl.SSLContext | None:
    """Load certificate and key. TLS 1.2 and later, RFC 9325 §3.1.1."""
    if not http.tls_cert_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(http.tls_cert_file, http.tls_key_file)
    except OSError as error:  # ssl.SSLError, too
        reason = error.strerror or str(error)
        where = Place(file=http.tls_cert_file, path="http.tls_cert_file")
        raise ConfigError(f"certificate or key can't be used: {reason}", where) from None
    return context


@contextlib.contextmanager
def _listen(http: Http) -> Iterator[socket.socket]:
    host = http.host.strip("[]")
    try:
        found = socket.getaddrinfo(
            host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # `localhost` has two addresses; programs that know one of them mostly know 127.0.0.1.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(http, error) from None
    with contextlib.closing(listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            raise _unusable(http, error) from None
        yield listening


def _unusable(http: Http, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    mend = "choose another with http.port"
    return ConfigError(
        f"can't listen on {http.host}:{http.port}: {reason}", Place(path="http"), mend
    )
