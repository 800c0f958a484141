"""The connections of one route: which host, which source, which TLS; failover, and back.

A `Way` is asked for a connection and tries hop after hop (RFC 5321 §5.1) until one answers. It hears what becomes of
sessions, and tells its route whether another path is worth trying at once. Nothing is ever given to a session that
isn't ready, so what fails before costs no message; what dies with a message in hand is `Lost`, which the route tells.
"""

from __future__ import annotations

__all__ = ("HopSession", "SessionReport", "SourceBoard", "Way", "WaySettings", "authenticates")

import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Literal, Protocol

import msgspec

from deliverability.policy.tls_demand import TlsDemand
from deliverability.routing.hops import Hop, Hops
from deliverability.routing.sources import Absence, Roster, SourceSpec
from deliverability.smtp.endings import Closed
from deliverability.smtp.opening import ClientConfig, Credentials, TlsUse
from deliverability.transport.dialing import SourceError, dial
from deliverability.transport.smtp_client import Connection, ConnectionOwner, Tap, Timeouts
from deliverability.transport.tls_watch import BrokenTls, TlsWatch
from engine.errors import TransportError

_SOURCE_FAULT_MS = 30_000


class HopSession(msgspec.Struct, frozen=True):
    """How a hop is spoken with. `open_context`: where the check of `context` failed and mail goes all the same."""

    demand: TlsDemand
    context: ssl.SSLContext | None
    open_context: ssl.SSLContext | None = None
    credentials: Credentials | None = None
    implicit_tls: bool = False
    named: bool = False  # the configuration names the host, not the MX records of a domain


class SourceBoard(Protocol):
    """Which sources are out."""

    def out(self) -> Mapping[str, Absence]:
        """Give the sources that are out, by name."""

    def fault(self, source: str, reason: str, until: int) -> None:
        """Take a source out for a while, since it failed."""


class SessionReport(msgspec.Struct, frozen=True):
    """What became of the TLS of one session, for RFC 8460. `failure` empty: it went as the policy asks."""

    host: str
    address: str
    source: str
    demand: TlsDemand
    failure: str = ""
    reason: str = ""


class WaySettings(msgspec.Struct, frozen=True):
    """What all ways of a deployment have in common."""

    timeouts: Timeouts
    session_of: Callable[[Hop], HopSession]
    mono_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    board: SourceBoard
    broken: BrokenTls
    report: Callable[[SessionReport], None]
    note: Callable[[str, Hop, str], None]
    """Hears `down` and `up` of hops, with the reason."""
    fails_back: bool = False
    in_doubt_max: int = 16  # messages in flight on a connection, with CHUNKING
    tap_of: Callable[[SourceSpec, Hop], Tap | None] = lambda _source, _hop: None
    """Gives what is to see a new session, if anything."""


class _Session(msgspec.Struct):
    """What is known of an open connection."""

    hop: Hop
    source: SourceSpec
    demand: TlsDemand
    watch: TlsWatch
    clear: bool  # TLS isn't asked for, since it failed lately
    ready: bool = False


class Way:
    """The connections of one route.

    Args:
        hops: where to.
        roster: where from.
        settings: the rest.
        renew: gives the hops as they are known now.
    """

    def __init__(
        self,
        hops: Hops,
        roster: Roster,
        settings: WaySettings,
        renew: Callable[[], Sequence[Hop]] | None = None,
    ) -> None:
        self.hops = hops
        self._renew = renew
        self._roster = roster
        self._settings = settings
        self._sessions: dict[Connection, _Session] = {}
        self._troubled = False  # some hop has failures: answers are to be counted
        self.is_full: Callable[[str, int], bool] | None = None
        """Tells whether a source can't use one more connection, given how many it has; None: nobody says."""

    async def connect(self, owner: ConnectionOwner, trial: Hop | None = None) -> Connection:
        """Open a connection over the best path there is. `trial`: to this hop, or not at all.

        Raises:
            TransportError: no path is open now.
        """
        settings = self._settings
        if self._renew is not None:
            self.hops.replace(self._renew())
        source = self._source()
        tried: list[Hop] = []
        last: TransportError | None = None
        hop = trial or self._choose(source, tried)
        while hop is not None:
            tried.append(hop)
            try:
                return await self._dial(owner, source, hop)
            except SourceError as error:
                until = settings.wall_ms() + _SOURCE_FAULT_MS
                settings.board.fault(source.name, error.reason, until)
                last, source = error, self._source()
            except TransportError as error:
                last = error
                if not self._serves(hop):
                    self._fail(hop, error.reason, certain=True)
            hop = None if trial else self._choose(source, tried)
        raise last or TransportError("connect", self._why_none())

    def began(self, connection: Connection) -> None:
        """Hear that a session is ready and takes its first message."""
        session = self._sessions.get(connection)
        if session is None or session.ready:
            return
        session.ready = True
        encrypted = connection.session.tls
        failure = "" if encrypted else "starttls-not-supported"
        if session.clear:
            return  # the failure that led to it is told already
        self._report(session, failure, "" if encrypted else "STARTTLS isn't offered")

    def answered(self, connection: Connection) -> None:
        """Hear that a message was answered. Cheap while no hop has failed."""
        if not self._troubled:
            return
        session = self._sessions.get(connection)
        if session is not None and self.hops.served(session.hop):
            self._settings.note("up", session.hop, "")
            self._leave_worse(session.hop)
        self._troubled = any(state.failures or state.until for _, state in self.hops.states())

    def lost(self, connection: Connection, reason: str) -> None:
        """Hear that a session died or hung with a message in hand."""
        session = self._sessions.get(connection)
        if session is not None:
            self._fail(session.hop, reason, certain=False)

    def closed(self, connection: Connection, closed: Closed) -> bool:
        """Hear that a connection is closed. Returns whether another path is worth trying at once."""
        session = self._sessions.pop(connection, None)
        if session is None:
            return False
        hop = session.hop
        self.hops.left(hop)
        if closed.by in ("quit", "aborted") or session.ready:
            return False
        now = self._settings.mono_ms()
        if closed.phase == "tls" or session.watch.failure:
            self._report(session, session.watch.failure or "validation-failure", closed.reason)
            if session.demand.optional:
                self._settings.broken.remember(_memory(hop, session.demand), now)
                return True
        if self._serves(hop):
            return False  # this session was too many
        self._fail(hop, closed.reason, certain=True)
        return self._open_elsewhere(now)

    def fail_back(self) -> Hop | None:
        """Give a better hop that is due for a trial, which `connect` is then to be asked for."""
        if not (self._troubled and self._settings.fails_back):
            return None
        return self.hops.fail_back(self._settings.mono_ms())

    def path(self, connection: Connection) -> tuple[str, Hop | None]:
        """Tell source and hop of a connection."""
        session = self._sessions.get(connection)
        return ("", None) if session is None else (session.source.name, session.hop)

    def leave_source(self, name: str) -> None:
        """End the sessions of a source, after what is in flight."""
        for connection, session in list(self._sessions.items()):
            if session.source.name == name:
                connection.quit()

    # ---- inside

    def _source(self) -> SourceSpec:
        settings = self._settings
        out, now = settings.board.out(), settings.wall_ms()
        source = self._roster.next({**self._full(), **out}, now) or self._roster.next(out, now)
        if source is None:
            raise TransportError("connect", "all sources of the pool are out")
        return source

    def _full(self) -> dict[str, Absence]:
        """Give the sources that others should go before, since they have all that they may have."""
        if self.is_full is None:
            return {}
        opened = Counter(session.source.name for session in self._sessions.values())
        return {
            name: Absence("paced", 0)
            for name in self._roster.names
            if self.is_full(name, opened[name])
        }

    def _choose(self, source: SourceSpec, tried: list[Hop]) -> Hop | None:
        avoid = list(tried)
        if source.address and source.proxy == "none":
            version = ip_address(source.address).version
            avoid += [hop for hop in self.hops.hops if _version(hop.address) not in (0, version)]
        return self.hops.choose(self._settings.mono_ms(), avoid)

    async def _dial(self, owner: ConnectionOwner, source: SourceSpec, hop: Hop) -> Connection:
        settings = self._settings
        talk = settings.session_of(hop)
        now = settings.mono_ms()
        if talk.demand.testing and settings.broken.holds(_memory(hop, talk.demand), now):
            lenient = TlsDemand("opportunistic", talk.demand.kind)
            talk = msgspec.structs.replace(talk, demand=lenient, context=talk.open_context)
        clear = talk.demand.optional and settings.broken.holds(hop.name, now)
        use: TlsUse = "implicit" if talk.implicit_tls else _use(talk.demand, clear=clear)
        config = ClientConfig(
            ehlo_name=source.ehlo_name,
            tls=use,
            credentials=talk.credentials,
            window=settings.in_doubt_max,
            authenticated=authenticates(talk, clear=clear),
        )
        watch = TlsWatch(talk.demand, hop.name, settings.wall_ms() / 1000)
        try:
            connection = await dial(
                owner,
                source,
                hop,
                config,
                timeouts=settings.timeouts,
                context=talk.context,
                check=watch,
                tap=settings.tap_of(source, hop),
            )
        except BaseException:
            self.hops.left(hop)
            raise
        self._sessions[connection] = _Session(hop, source, talk.demand, watch, clear)
        return connection

    def _fail(self, hop: Hop, reason: str, *, certain: bool) -> None:
        self._troubled = True
        now = self._settings.mono_ms()
        was_down = self.hops.down(hop, now)
        if self.hops.failed(hop, now, reason, certain=certain) and not was_down:
            self._settings.note("down", hop, reason)
            for connection, session in list(self._sessions.items()):
                if session.hop == hop:
                    connection.quit()  # what is in flight has its own time-out

    def _serves(self, hop: Hop) -> bool:
        return any(one.ready and one.hop == hop for one in self._sessions.values())

    def _leave_worse(self, hop: Hop) -> None:
        if self._settings.fails_back:
            for connection, session in list(self._sessions.items()):
                if session.hop.rank > hop.rank:
                    connection.quit()

    def _open_elsewhere(self, now: int) -> bool:
        return any(not self.hops.down(hop, now) for hop in self.hops.hops)

    def _why_none(self) -> str:
        reasons = [
            f"{hop.name}: {state.reason}" for hop, state in self.hops.states() if state.until
        ]
        return f"all hosts are down ({'; '.join(reasons)[:300]})" if reasons else "no host to try"

    def _report(self, session: _Session, failure: str, reason: str) -> None:
        hop, source = session.hop, session.source
        if session.demand.level != "none":
            self._settings.report(
                SessionReport(
                    hop.name, hop.address, source.address, session.demand, failure, reason[:200]
                )
            )


def _use(demand: TlsDemand, *, clear: bool) -> Literal["never", "opportunistic", "required"]:
    if clear or demand.level == "none":
        return "never"
    return "opportunistic" if demand.optional else "required"


def authenticates(talk: HopSession, *, clear: bool) -> bool:
    """Tell whether a session's TLS shows the server that the domain means: by DANE, MTA-STS, or a name of our own.

    A certificate alone isn't enough: it may be for a host that a forged MX record named. RFC 8689 §4.2.1.
    """
    demand = talk.demand
    if clear or demand.testing or demand.level not in ("verified", "dane"):
        return False
    return talk.named or demand.kind in ("sts", "tlsa")


def _memory(hop: Hop, demand: TlsDemand) -> str:
    """Under which name a failure is remembered: in testing mode the certificate failed, not TLS."""
    return f"{hop.name} testing" if demand.testing else hop.name


def _version(address: str) -> int:
    try:
        return ip_address(address).version
    except ValueError:
        return 0  # a name
