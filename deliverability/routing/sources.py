"""Which address mail comes from: pools of weighted sources. Pure.

A connection gets its source when it is opened. Work is shared by *smooth weighted round robin*: each source gains its
weight, the one that has most is taken and pays the sum; so with weights 5, 1, 1 no source is taken five times in a
row. A source that is out takes no part; those left share its work.
"""

from __future__ import annotations

__all__ = ("DEFAULT_POOL", "Absence", "Roster", "SourceSpec", "pools_of")

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from engine.settings_routes import Pool, Source

DEFAULT_POOL = "default"


class SourceSpec(msgspec.Struct, frozen=True):
    """A source as connections need it. The password is nowhere shown."""

    name: str
    address: str
    ehlo_name: str
    proxy: Literal["none", "socks5", "haproxy"] = "none"
    proxy_host: str = ""
    proxy_port: int = 0
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Show what may be logged."""
        return f"SourceSpec({self.name!r}, {self.address!r}, {self.ehlo_name!r}, {self.proxy})"


class Absence(msgspec.Struct, frozen=True):
    """A source is out: why, since when, until when (ms since the epoch; 0: until it is brought back)."""

    reason: str
    since: int
    until: int = 0

    def over(self, now: int) -> bool:
        """Tell whether its time has passed."""
        return 0 < self.until <= now


class Roster:
    """The sources of one pool, and who is next."""

    def __init__(self, members: Sequence[tuple[SourceSpec, int]]) -> None:
        self._members = [(source, weight) for source, weight in members if weight > 0]
        self._gained = {source.name: 0 for source, _ in self._members}

    @property
    def names(self) -> list[str]:
        """Name the sources."""
        return list(self._gained)

    def next(self, out: Mapping[str, Absence], now: int) -> SourceSpec | None:
        """Choose the source of the next connection; None: all are out."""
        present = [
            (source, weight)
            for source, weight in self._members
            if source.name not in out or out[source.name].over(now)
        ]
        if not present:
            return None
        for source, weight in present:
            self._gained[source.name] += weight
        chosen = max((source for source, _ in present), key=lambda one: self._gained[one.name])
        self._gained[chosen.name] -= sum(weight for _, weight in present)
        return chosen


def pools_of(
    sources: Iterable[Source], pools: Iterable[Pool], ehlo_name: str, passwords: Mapping[str, str]
) -> dict[str, list[tuple[SourceSpec, int]]]:
    """Make the pools of a configuration: sources with weights, by the pool's name.

    Args:
        sources: as configured.
        pools: as configured; without any, all sources are the pool `default`.
        ehlo_name: of sources that have none.
        passwords: of proxies, by source.
    """
    known = {
        one.name: SourceSpec(
            one.name,
            one.address,
            one.ehlo_name or ehlo_name,
            one.proxy,
            one.proxy_host,
            one.proxy_port,
            one.proxy_username,
            passwords.get(one.name, ""),
        )
        for one in sources
    }
    made = {pool.name: [(known[m.source], m.weight) for m in pool.members] for pool in pools}
    if not made and known:
        made[DEFAULT_POOL] = [(source, 1) for source in known.values()]
    made.setdefault(DEFAULT_POOL, [(SourceSpec("", "", ehlo_name), 1)])
    return made
