"""The submission listener of an instance, on its sockets: STARTTLS on one port, TLS from the first octet on another."""

from __future__ import annotations

__all__ = ("Submission",)

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from actors.backend import Backend
from actors.gateway.keys import Keys
from actors.submission.content import Injector
from actors.submission.gathering import Gatherer
from actors.submission.policy import Desk, SubmissionPolicy
from actors.worker.rendering import Letterhead
from deliverability.smtp.policy import Peer
from deliverability.smtp.server import ServerConfig
from deliverability.transport.smtp_server import Decide, SmtpListener
from engine.config import Config
from engine.errors import ConfigError, Place


class Submission:
    """Listens for applications that submit mail. Use `start` and `stop`.

    Args:
        config: `[submission]` says where.
        backend: accepts transactions.
        injector: checks content and makes it durable.
        heads: whom each tenant may write to.
        registry: where metrics go.
        clock_ms: wall time.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        injector: Injector,
        heads: Mapping[str, Letterhead],
        registry: CollectorRegistry,
        clock_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._gatherer = Gatherer(config, injector, backend, clock_ms)
        guards = {name: head.guard for name, head in heads.items()}
        keys = Keys(config)
        self._desk = Desk(config, keys, injector, self._gatherer, guards, registry)
        self._clock_ms = clock_ms
        self.listeners: list[SmtpListener] = []

    async def start(self) -> list[str]:
        """Listen where the configuration says. Returns what to tell the operator; nothing when it says nowhere.

        Raises: ConfigError: an address or a certificate can't be used.
        """
        limits = self._config.submission
        context = self._tls()
        told = []
        for port, implicit in ((limits.port, False), (limits.tls_port, True)):
            if not port:
                continue
            listener = self._listener(context, implicit=implicit)
            try:
                await listener.start(limits.host.strip("[]"), port)
            except OSError as error:
                reason = error.strerror or str(error)
                where = Place(path="submission.tls_port" if implicit else "submission.port")
                raise ConfigError(
                    f"can't listen on {limits.host}:{port}: {reason}", where
                ) from None
            self.listeners.append(listener)
            manner = "TLS" if implicit else "STARTTLS" if context else "no TLS"
            told.append(f"mail is taken on {limits.host}:{port} ({manner})")
        if self.listeners:
            self._gatherer.start()
        return told

    async def stop(self) -> None:
        """Take nothing new, answer what is under way, close."""
        if not self.listeners:
            return
        self._desk.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.http.drain_timeout_s):
                await self._gatherer.idle()
        for listener in self.listeners:
            await listener.stop()
        await self._gatherer.stop()

    def _listener(self, context: ssl.SSLContext | None, *, implicit: bool) -> SmtpListener:
        limits = self._config.submission
        offered = ServerConfig(
            host_name=self._config.delivery.ehlo_name,
            size_octets_max=limits.size_bytes_max,
            recipients_max=limits.recipients_max,
            binary_mime=False,
            dsn=limits.dsn,
            requiretls=context is not None,
            starttls=context is not None and not implicit,
            auth=context is not None,
        )
        return SmtpListener(
            offered,
            self._policy,
            self._clock_ms,
            context=context,
            implicit_tls=implicit,
            idle_ms=limits.idle_s * 1000,
            session_ms=limits.session_s_max * 1000,
            held_octets_max=limits.held_bytes_max,
        )

    def _policy(self, peer: Peer, decide: Decide) -> SubmissionPolicy:
        return SubmissionPolicy(self._desk, peer, decide)

    def _tls(self) -> ssl.SSLContext | None:
        """Load certificate and key. RFC 8314 §3.3; TLS 1.2 and later, RFC 9325 §3.1.1."""
        limits = self._config.submission
        if not limits.tls_cert_file:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(limits.tls_cert_file, limits.tls_key_file)
        except OSError as error:  # ssl.SSLError, too
            reason = error.strerror or str(error)
            where = Place(file=limits.tls_cert_file, path="submission.tls_cert_file")
            raise ConfigError(f"certificate or key can't be used: {reason}", where) from None
        return context
