"""Hosts to choose among: MX hosts of a site or relays, with failover, circuit breaker and fail-back. Pure.

    up ──failed──▶ down until t ──t passes──▶ on trial (one session) ──a message answered──▶ up
                        ▲                            │
                        └───── twice as long ────────┘ failed

A hop is down at once when it can't be reached or won't serve (connect, greeting, TLS, AUTH), and after
`failures_max` sessions in a row that died or hung with a message in hand. The best rank that is up is used, equals
evenly; while none is up, nothing is tried. A better hop whose time is over is tried beside the one in use, by one
session, and takes over when that has carried a message (`fail_back`).
"""

from __future__ import annotations

__all__ = ("BreakerSettings", "Hop", "HopState", "Hops")

from collections.abc import Sequence

import msgspec


class Hop(msgspec.Struct, frozen=True):
    """One address of one host. A lower rank is better; equal ranks share work.

    `name` is what the certificate is checked against; `address` may be a name too, where the system resolves it.
    """

    name: str
    address: str
    port: int = 25
    rank: int = 0


class BreakerSettings(msgspec.Struct, frozen=True):
    """When a hop counts as down and for how long; see `engine.settings_routes.Breaker`. Times in ms."""

    failures_max: int = 2
    first_ms: int = 15_000
    max_ms: int = 300_000


class HopState(msgspec.Struct):
    """What is known of a hop. `sessions`: open or being opened. `until` 0: it is up."""

    sessions: int = 0
    failures: int = 0
    until: int = 0
    backoff_ms: int = 0
    on_trial: bool = False
    reason: str = ""


class Hops:
    """The hops of one way. All times are the caller's monotonic clock, in ms."""

    def __init__(self, hops: Sequence[Hop], settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self._states: dict[tuple[str, int], HopState] = {}
        self.hops: tuple[Hop, ...] = ()
        self.replace(hops)

    def replace(self, hops: Sequence[Hop]) -> None:
        """Take a new list; what is known of hops that stay is kept."""
        if tuple(hops) == self.hops:
            return
        old = self._states
        self.hops = tuple(hops)
        self._states = {_key(hop): old.get(_key(hop), HopState()) for hop in self.hops}

    def choose(self, now: int, avoid: Sequence[Hop] = ()) -> Hop | None:
        """Give the hop for a new session and count the session; None: all are down, or on trial already.

        `avoid`: hops that this session has tried already.
        """
        tried = {_key(hop) for hop in avoid}
        usable = [hop for hop in self.hops if _key(hop) not in tried and self._usable(hop, now)]
        if not usable:
            return None
        best = min(usable, key=lambda hop: (hop.rank, self._state(hop).sessions))
        self._enter(best)
        return best

    def fail_back(self, now: int) -> Hop | None:
        """Give a better hop than those in use that is due for a trial, and count the session; or None."""
        used = [hop.rank for hop in self.hops if self._state(hop).sessions]
        if not used:
            return None
        for hop in self.hops:
            state = self._state(hop)
            if hop.rank < min(used) and state.until and self._usable(hop, now):
                self._enter(hop)
                return hop
        return None

    def failed(self, hop: Hop, now: int, reason: str, *, certain: bool) -> bool:
        """Hear that a session failed. `certain`: the hop wouldn't serve at all; else a message was in hand.

        Returns whether the hop is down now.
        """
        state = self._state(hop)
        state.failures += 1
        state.reason = reason[:200]
        if not (certain or state.on_trial or state.failures >= self._settings.failures_max):
            return False
        if state.until <= now:  # sessions that fail together are one failure
            settings = self._settings
            state.backoff_ms = min(max(state.backoff_ms * 2, settings.first_ms), settings.max_ms)
            state.until = now + state.backoff_ms
        state.on_trial = False
        return True

    def served(self, hop: Hop) -> bool:
        """Hear that a message was answered. Returns whether the hop was down before."""
        state = self._states.get(_key(hop))
        if state is None or not (state.failures or state.until):
            return False
        recovered = bool(state.until)
        state.failures = state.until = state.backoff_ms = 0
        state.on_trial = False
        state.reason = ""
        return recovered

    def left(self, hop: Hop) -> None:
        """Hear that a session, counted by `choose` or `fail_back`, is over."""
        state = self._states.get(_key(hop))
        if state is not None:
            state.sessions = max(state.sessions - 1, 0)
            if not state.sessions:
                state.on_trial = False

    def down(self, hop: Hop, now: int) -> bool:
        """Tell whether a hop is left alone now."""
        return self._state(hop).until > now

    def next_at(self) -> int | None:
        """Give the time at which the first hop that is down may be tried; None: none is down."""
        return min((s.until for s in self._states.values() if s.until), default=None)

    def states(self) -> list[tuple[Hop, HopState]]:
        """List what is known, best first."""
        return [(hop, self._state(hop)) for hop in sorted(self.hops, key=lambda hop: hop.rank)]

    def _usable(self, hop: Hop, now: int) -> bool:
        state = self._state(hop)
        return not state.until or (now >= state.until and not state.on_trial)

    def _enter(self, hop: Hop) -> None:
        state = self._state(hop)
        state.sessions += 1
        state.on_trial = bool(state.until)

    def _state(self, hop: Hop) -> HopState:
        return self._states.setdefault(_key(hop), HopState())


def _key(hop: Hop) -> tuple[str, int]:
    return hop.address, hop.port
