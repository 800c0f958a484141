"""Traces of single sessions of a running instance, asked for by `veredus trace` through a file in the data directory.

`trace/wanted.json` says which site, how many sessions, until when; each sender looks once a second. A session that is
traced writes `trace/N.jsonl`: redacted lines (`deliverability.smtp.redaction`), the first one naming it.
"""

from __future__ import annotations

__all__ = ("SessionTap", "TraceDesk", "TraceHead", "Wanted", "trace_folder")

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from deliverability.routing.destinations import domain_of, site_of
from deliverability.routing.hops import Hop
from deliverability.routing.sources import SourceSpec
from deliverability.smtp.redaction import Redactor, TraceLine

_LOOK_S = 1.0


class Wanted(msgspec.Struct, frozen=True):
    """What is to be traced. `site`: of a route, or the name of a host, or a domain. `until`: ms since the epoch."""

    site: str
    sessions: int
    until: int


class TraceHead(msgspec.Struct, frozen=True):
    """The first line of a trace."""

    route: str
    source: str
    host: str
    address: str
    port: int
    at: int


class SessionTap:
    """Gives the redacted lines of one session to `show`."""

    def __init__(self, show: Callable[[Sequence[TraceLine]], None]) -> None:
        self._show = show
        self._redactor = Redactor()
        self._began = time.monotonic()

    def sent(self, data: bytes) -> None:
        """See what we write."""
        self._show(self._redactor.sent(data, self._at()))

    def received(self, data: bytes) -> None:
        """See what the server writes."""
        self._show(self._redactor.received(data, self._at()))

    def _at(self) -> int:
        return int((time.monotonic() - self._began) * 1000)


def trace_folder(data_dir: Path) -> Path:
    """Give the folder of requests and traces."""
    return data_dir / "trace"


class TraceDesk:
    """What a sender traces now.

    Args:
        data_dir: of the instance.
        wall_ms: ms since the epoch.
    """

    def __init__(self, data_dir: Path, wall_ms: Callable[[], int]) -> None:
        self._folder = trace_folder(data_dir)
        self._wall_ms = wall_ms
        self._wanted: Wanted | None = None
        self._stamp: int | None = None
        self._looked = -_LOOK_S
        self._begun = 0

    def look(self) -> None:
        """See whether something is wanted; at most once a second."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        file = self._folder / "wanted.json"
        try:
            stamp = file.stat().st_mtime_ns
            if stamp == self._stamp:
                return
            self._stamp, self._begun = stamp, 0
            self._wanted = msgspec.json.decode(file.read_bytes(), type=Wanted)
        except (OSError, msgspec.MsgspecError):
            self._wanted = self._stamp = None

    def tap(self, route: str, domain: str, source: SourceSpec, hop: Hop) -> SessionTap | None:
        """Give the tap of a new session, if it is to be traced."""
        wanted = self._wanted
        if wanted is None or self._begun >= wanted.sessions or self._wall_ms() >= wanted.until:
            return None
        if wanted.site not in (site_of(route), domain_of(route), domain, hop.name):
            return None
        self._begun += 1
        file = self._folder / f"{self._wall_ms()}-{os.getpid()}-{self._begun}.jsonl"
        head = TraceHead(route, source.name, hop.name, hop.address, hop.port, self._wall_ms())
        self._append(file, [head])
        return SessionTap(lambda lines: self._append(file, lines))

    def _append(self, file: Path, lines: Sequence[TraceLine | TraceHead]) -> None:
        raw = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            with file.open("ab") as opened:
                opened.write(raw)
        except OSError:
            self._wanted = None  # whoever asked has gone, or the disk is full
