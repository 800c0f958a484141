"""Where the routes of a worker lead: to the twin, over relays, or to MX hosts. Part of the composition root."""

from __future__ import annotations

__all__ = ("RoutedGate", "TapOf", "Ways", "build_ways", "routing_settings", "timeouts_of")

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path as FilePath

import msgspec
import structlog

from actors.resolver import resolver_of
from actors.source_state import SourceFiles
from actors.worker.tracing import TraceDesk
from actors.worker.wire import WorkerSettings
from deliverability.dns.mail_hosts import AddressPolicy
from deliverability.governor import Gate, Lease
from deliverability.message.records import AttemptOutcome
from deliverability.pacing.exchange import Path
from deliverability.policy.mta_sts import StsPolicy
from deliverability.policy.tags import Mistake
from deliverability.policy.tls_demand import TlsDemand
from deliverability.policy.tls_report import SessionRow
from deliverability.routing.destinations import (
    Destination,
    RoutingSettings,
    domain_of,
    pool_of,
    route_name,
    site_of,
)
from deliverability.routing.hops import BreakerSettings, Hop, Hops
from deliverability.routing.sources import DEFAULT_POOL, Roster, SourceSpec, pools_of
from deliverability.smtp.opening import ClientConfig, Credentials
from deliverability.transport.directory import Directory
from deliverability.transport.mta_sts import fetch_policy
from deliverability.transport.smtp_client import Endpoint, Tap, Timeouts
from deliverability.transport.sts_files import StsFiles
from deliverability.transport.target import Classifier, Target
from deliverability.transport.tls_files import TlsCountFile
from deliverability.transport.tls_watch import BrokenTls, TlsContexts
from deliverability.transport.way import HopSession, SessionReport, Way, WaySettings
from engine.config import Config
from engine.errors import ConfigError, Place
from engine.settings_routes import Relay

log = structlog.get_logger()

RELAYS = "relay"
_SOON_MS = 25  # how long until a lane whose domain is being looked up is looked at again
_DEFERRED_CODE, _BOUNCED_CODE = 450, 550

LeaseOf = Callable[[str], Lease]
TapOf = Callable[[str, str, SourceSpec, Hop], Tap | None]
"""Gives what is to see a new session, by route, domain, source and host."""


class RoutedGate(Gate):
    """A gate that gives no credit before it is known where a domain's mail goes, and counts by site.

    Args:
        lease_of: gives the egress's lease for `pool/site`.
        directory: knows.
    """

    def __init__(self, lease_of: LeaseOf, directory: Directory) -> None:
        super().__init__(lease_of)
        self._directory = directory
        self._asked_at = 0

    def available(self, route: str, now: int, *, urgent: bool = False) -> int | None:
        """Tell how many messages a route may be given now."""
        self._asked_at = now
        if not self._directory.ready(route):
            return 0
        return super().available(self._directory.queue_of(route), now, urgent=urgent)

    def take(self, route: str, number: int) -> None:
        """Use what is available."""
        super().take(self._directory.queue_of(route), number)

    def give_back(self, route: str, number: int) -> None:
        """Return what was taken and not used."""
        super().give_back(self._directory.queue_of(route), number)

    def next_at(self, route: str) -> int | None:
        """Give the time at which a route may be given a message again."""
        if not self._directory.ready(route):
            return self._asked_at + _SOON_MS
        return super().next_at(self._directory.queue_of(route))


class Ways(msgspec.Struct, frozen=True):
    """What a delivery needs to know of where mail goes."""

    target_of: Callable[[str], Target | AttemptOutcome]
    gate: Gate
    queue_of: Callable[[str], str] = str
    look: Callable[[], None] = lambda: None
    """To be called now and then: notices sources that go out."""
    close: Callable[[], None] = lambda: None
    """To be called at the end: writes what was counted."""
    paths_of: Callable[[str], Sequence[Path]] = lambda _route: ()
    """Gives the paths of a route of connections: each source of its pool, and the site."""


def build_ways(
    settings: WorkerSettings,
    lease_of: LeaseOf,
    classify: Classifier,
    known: Callable[[], None],
    tap_of: TapOf | None = None,
) -> Ways:
    """Build what the mode of the configuration asks for.

    Args:
        settings: of the worker.
        lease_of: gives the egress's lease for a `pool/domain`.
        classify: gives the cause of there being nowhere to go.
        known: called when a domain became known that mail waits for.
        tap_of: sees sessions; None: those that `veredus trace` asks for are seen.

    Raises:
        ConfigError: a file of keys or authorities can't be read.
    """
    config = settings.config
    match config.delivery.mode:
        case "twin":
            return _to_twin(settings, lease_of)
        case "relay":
            return _Relays(settings, lease_of, tap_of).ways()
        case "live":
            return _Live(settings, lease_of, classify, known, tap_of).ways()


def routing_settings(config: Config) -> RoutingSettings:
    """Give what the configuration says about ways."""
    delivery = config.delivery
    return RoutingSettings(
        port=delivery.port,
        address_policy=AddressPolicy(delivery.address_policy),
        prohibited=delivery.prohibited_networks,
        tls=delivery.tls.policy,
        mta_sts=delivery.tls.mta_sts == "on",
        dane=delivery.tls.dane == "on" and delivery.dns.validates,
        known=delivery.destinations,
    )


def _to_twin(settings: WorkerSettings, lease_of: LeaseOf) -> Ways:
    config = settings.config
    client = ClientConfig(
        ehlo_name=config.delivery.ehlo_name,
        tls="required" if settings.twin_tls else "never",
        window=config.delivery.in_doubt_max,
    )
    endpoint = Endpoint(host="127.0.0.1", port=settings.twin_port)
    context = _unverified() if settings.twin_tls else None

    def target_of(route: str) -> Target | AttemptOutcome:
        target = _target(config, lease_of(route), endpoint, client, None)
        return msgspec.structs.replace(target, tls=context) if context else target

    def paths_of(route: str) -> Sequence[Path]:
        domain = domain_of(route)
        return (Path("", domain, domain),)

    return Ways(target_of, Gate(lease_of), paths_of=cache(paths_of))


class _Outward:
    """What relays and MX hosts have in common: sources, breaker, TLS, time."""

    def __init__(self, settings: WorkerSettings, tap_of: TapOf | None) -> None:
        self.config = config = settings.config
        self._traces = TraceDesk(FilePath(settings.data_dir), _wall_ms)
        self._tap_of = tap_of or self._traces.tap
        self.breaker = BreakerSettings(
            config.delivery.breaker.failures_max,
            config.delivery.breaker.first_s * 1000,
            config.delivery.breaker.max_s * 1000,
        )
        self.ways: list[Way] = []
        self.board = SourceFiles(FilePath(settings.data_dir), _wall_ms, self._left)
        self._pools = pools_of(
            config.source,
            config.pool,
            config.delivery.ehlo_name,
            {one.name: _first_line(one.proxy_password_file) for one in config.source},
        )
        self._broken = BrokenTls(config.delivery.tls.broken_memory_s * 1000)
        self._rosters: dict[str, Roster] = {}

    def look(self) -> None:
        """Notice sources that go out, and what is to be traced."""
        self.board.look()
        self._traces.look()

    def way(
        self,
        route: str,
        domain: str,
        hops: Sequence[Hop],
        session_of: Callable[[Hop], HopSession],
        report: Callable[[SessionReport], None],
        *,
        fails_back: bool,
        renew: Callable[[], Sequence[Hop]] | None = None,
    ) -> Way:
        """Make a way. A pool that doesn't exist (any more) is `default`."""
        loop = asyncio.get_running_loop()
        settings = WaySettings(
            timeouts=timeouts_of(self.config),
            session_of=session_of,
            mono_ms=lambda: int(loop.time() * 1000),
            wall_ms=_wall_ms,
            board=self.board,
            broken=self._broken,
            report=report,
            note=_note,
            fails_back=fails_back,
            in_doubt_max=self.config.delivery.in_doubt_max,
            tap_of=lambda source, hop: self._tap_of(route, domain, source, hop),
        )
        made = Way(Hops(hops, self.breaker), self._roster(pool_of(route)), settings, renew)
        self.ways.append(made)
        return made

    def paths(self, route: str, site: str, domain: str, hosts: tuple[str, ...]) -> Sequence[Path]:
        """Give the paths of a route: one for each source of its pool."""
        names = self._roster(pool_of(route)).names
        return tuple(Path(name, site, domain, hosts) for name in names)

    def _roster(self, pool: str) -> Roster:
        name = pool if pool in self._pools else DEFAULT_POOL
        if name not in self._rosters:
            self._rosters[name] = Roster(self._pools[name])
        return self._rosters[name]

    def _left(self, source: str) -> None:
        for way in self.ways:
            way.leave_source(source)


class _Relays:
    """Mode `relay`: one server takes all mail; backups take over while it is down."""

    def __init__(self, settings: WorkerSettings, lease_of: LeaseOf, tap_of: TapOf | None) -> None:
        self._outward = _Outward(settings, tap_of)
        self._lease_of = lease_of
        delivery = settings.config.delivery
        relays = (delivery.relay, *delivery.backup)
        self._hops = [Hop(one.host, one.host, one.port, n) for n, one in enumerate(relays)]
        self._sessions = {(one.host, one.port): _relay_session(one) for one in relays}

    def ways(self) -> Ways:
        """Give them."""
        return Ways(
            self._target_of,
            Gate(self._lease_of),
            _to_relay,
            self._outward.look,
            paths_of=cache(self._paths_of),
        )

    def _paths_of(self, route: str) -> Sequence[Path]:
        hosts = tuple(sorted({hop.name for hop in self._hops}))
        return self._outward.paths(route, RELAYS, RELAYS, hosts)

    def _target_of(self, route: str) -> Target:
        way = self._outward.way(
            route,
            RELAYS,
            self._hops,
            lambda hop: self._sessions[hop.address, hop.port],
            lambda _: None,
            fails_back=True,
        )
        config = self._outward.config
        return _target(config, self._lease_of(route), _NO_ENDPOINT, _no_client(config), way)


class _Live:
    """Mode `live`: each domain's MX hosts."""

    def __init__(
        self,
        settings: WorkerSettings,
        lease_of: LeaseOf,
        classify: Classifier,
        known: Callable[[], None],
        tap_of: TapOf | None,
    ) -> None:
        self._outward = _Outward(settings, tap_of)
        self._lease_of = lease_of
        self._classify = classify
        config = settings.config
        tls = config.delivery.tls
        self._contexts = _contexts(tls.ca_file)
        self._known = config.delivery.destinations
        self._directory = Directory(
            resolver_of(config),
            routing_settings(config),
            random.SystemRandom(),
            _wall_ms,
            StsFiles(FilePath(settings.data_dir) / "mta_sts"),
            self._fetch,
            known,
        )
        self._counts: TlsCountFile | None = None
        if tls.report == "on":
            folder = FilePath(settings.data_dir) / "tls"
            self._counts = TlsCountFile(folder, f"{settings.index}-{os.getpid()}", _wall_ms)

    def ways(self) -> Ways:
        """Give them."""
        directory = self._directory
        gate = RoutedGate(self._lease_of_site, directory)
        paths: dict[str, tuple[tuple[str, ...], Sequence[Path]]] = {}

        def paths_of(queue: str) -> Sequence[Path]:
            """Made anew when the hosts of a site change."""
            found = directory.by_key(domain_of(queue))
            hosts = tuple(sorted({hop.name for hop in found.hops})) if found is not None else ()
            known = paths.get(queue)
            if known is None or (hosts and known[0] != hosts):
                domain = found.domain if found is not None else domain_of(queue)
                made = self._outward.paths(queue, site_of(queue), domain, hosts)
                known = paths[queue] = (hosts, made)
            return known[1]

        return Ways(self._target_of, gate, directory.queue_of, self._look, self._close, paths_of)

    async def _fetch(self, domain: str, addresses: Sequence[str]) -> StsPolicy | Mistake:
        return await fetch_policy(domain, addresses, self._contexts.verified)

    def _lease_of_site(self, queue: str) -> Lease:
        found = self._directory.by_key(domain_of(queue))
        return self._lease_of(route_name(pool_of(queue), found.domain) if found else queue)

    def _target_of(self, queue: str) -> Target | AttemptOutcome:
        key = domain_of(queue)
        found = self._directory.by_key(key)
        if found is None:
            return self._nowhere(key)

        def session_of(hop: Hop) -> HopSession:
            newest = self._directory.by_key(key) or found
            demand = newest.demands.get(hop.name, TlsDemand("required"))
            known = self._known.get(newest.domain)
            return HopSession(
                demand,
                self._contexts.of(demand),
                open_context=self._contexts.open,
                named=known is not None and bool(known.hosts),
            )

        def report(session: SessionReport) -> None:
            self._count(self._directory.by_key(key) or found, session)

        way = self._outward.way(
            queue,
            found.domain,
            found.hops,
            session_of,
            report,
            fails_back=False,
            renew=lambda: (self._directory.by_key(key) or found).hops,
        )
        config = self._outward.config
        lease = self._lease_of_site(queue)
        return _target(config, lease, _NO_ENDPOINT, _no_client(config), way)

    def _count(self, found: Destination, session: SessionReport) -> None:
        """Count a session for the domain's report, and a policy that couldn't be fetched beside it."""
        if self._counts is None:
            return
        row = SessionRow(
            found.domain,
            session.demand.kind,
            host=session.host,
            address=session.address if session.failure else "",
            source=session.source if session.failure else "",
            failure=session.failure,
            reason=session.reason,
        )
        match session.demand.kind:
            case "sts":
                row = msgspec.structs.replace(
                    row, policy_lines=found.policy_lines, mx_patterns=found.mx_patterns
                )
            case "tlsa":
                lines = tuple(str(record) for record in session.demand.tlsa)
                row = msgspec.structs.replace(row, policy_lines=lines)
            case "no-policy-found":
                pass
        self._counts.add(row)
        unfetched = self._directory.sts_failures.get(found.domain)
        if unfetched:
            reason = unfetched[:200]
            self._counts.add(
                SessionRow(found.domain, "sts", failure="sts-policy-fetch-error", reason=reason)
            )

    def _look(self) -> None:
        self._outward.look()
        if self._counts is not None:
            self._counts.look()

    def _close(self) -> None:
        if self._counts is not None:
            self._counts.flush()

    def _nowhere(self, domain: str) -> AttemptOutcome:
        why = self._directory.nowhere(domain)
        if why is None:  # it was forgotten since the credit was given: asked again
            return AttemptOutcome(0, "unattempted", "routing")
        code = _BOUNCED_CODE if why.permanent else _DEFERRED_CODE
        verdict = self._classify(code, why.enhanced_code, why.reason, "rcpt")
        return AttemptOutcome(
            0,
            "bounced" if why.permanent else "deferred",
            verdict.cause,
            0,
            why.enhanced_code,
            why.reason,
            "resolve",
            _wall_ms(),
        )


_NO_ENDPOINT = Endpoint(host="")


def _no_client(config: Config) -> ClientConfig:
    return ClientConfig(ehlo_name=config.delivery.ehlo_name)


def _unverified() -> ssl.SSLContext:
    """For a twin, which is on loopback, and whose certificate nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _target(
    config: Config, lease: Lease, endpoint: Endpoint, client: ClientConfig, way: Way | None
) -> Target:
    delivery = config.delivery
    return Target(
        endpoint,
        client,
        timeouts_of(config),
        connections_max=max(lease.connections, 1),
        allowed=lease.allowed,
        messages_per_connection=delivery.messages_per_connection_max,
        idle_s=float(delivery.timeouts.idle_s),
        way=way,
    )


def _to_relay(route: str) -> str:
    """All that a pool sends goes over the same connections."""
    return route_name(pool_of(route), RELAYS)


def _relay_session(relay: Relay) -> HopSession:
    credentials = None
    if relay.username:
        password = _first_line(relay.password_file)
        credentials = Credentials(username=relay.username, password=password)
    contexts = _contexts(relay.ca_file)
    match relay.starttls:
        case "none":
            return HopSession(TlsDemand("none"), None, credentials=credentials)
        case "opportunistic":
            return HopSession(TlsDemand("opportunistic"), contexts.open, credentials=credentials)
        case "required":
            return HopSession(
                TlsDemand("verified"), contexts.verified, credentials=credentials, named=True
            )


def _contexts(ca_file: str) -> TlsContexts:
    try:
        return TlsContexts(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca_file}: {error}", Place(path="ca_file")) from error


def _first_line(file: str) -> str:
    if not file:
        return ""
    try:
        lines = FilePath(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}", Place(path="password_file")) from error
    if not lines or not lines[0]:
        raise ConfigError(f"{file} is empty; its first line is the password")
    return lines[0]


def timeouts_of(config: Config) -> Timeouts:
    """Give the time-outs of sessions."""
    wait = config.delivery.timeouts
    return Timeouts(
        connect_ms=wait.connect_s * 1000,
        greeting_ms=wait.greeting_s * 1000,
        tls_ms=wait.tls_s * 1000,
        mail_ms=wait.mail_s * 1000,
        rcpt_ms=wait.rcpt_s * 1000,
        data_ms=wait.data_s * 1000,
        block_ms=wait.content_s * 1000,
        dot_ms=wait.dot_s * 1000,
    )


def _note(what: str, hop: Hop, reason: str) -> None:
    event = "host_down" if what == "down" else "host_up"
    log.info(event, host=hop.name, address=hop.address, port=hop.port, reason=reason)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
