"""What DMARC, TLS and auth-failure reports add up to: by provider, domain and source, over days. Pure.

A report counts once (organisation and id; a failure report by its digest), on the day that its period ends. Days are
kept for a month; how long a source has failed at a provider is remembered beyond them.
"""

from __future__ import annotations

__all__ = ("ReportBook", "SourceLine", "TlsLine")

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from deliverability.feedback.reading import (
    ComplaintReport,
    DmarcReport,
    Reading,
    TlsReport,
)

DAY_MS = 86_400_000
DAYS_KEPT = 31
LINES_MAX = 20_000
SEEN_MAX = 50_000
NAME_CHARS = 100


class SourceLine(msgspec.Struct, array_like=True):
    """Mail of a domain from one source, as one provider saw it. `days`: day -> (messages, aligned)."""

    provider: str
    domain: str
    source: str
    days: dict[int, tuple[int, int]] = {}
    failing_since: int = 0  # ms; 0: it last passed
    failures: int = 0  # auth-failure reports (RFC 6591)

    def sums(self, since_day: int) -> tuple[int, int]:
        """Sum messages and aligned ones from a day on."""
        counted = [pair for day, pair in self.days.items() if day >= since_day]
        return sum(pair[0] for pair in counted), sum(pair[1] for pair in counted)


class TlsLine(msgspec.Struct, array_like=True):
    """TLS sessions to a domain, as one provider counted them. `days`: day -> (success, failure)."""

    provider: str
    domain: str
    days: dict[int, tuple[int, int]] = {}
    kinds: dict[str, int] = {}  # result-type -> sessions, RFC 8460 §4.3
    failing_since: int = 0

    def sums(self, since_day: int) -> tuple[int, int]:
        """Sum sessions that worked and that failed, from a day on."""
        counted = [pair for day, pair in self.days.items() if day >= since_day]
        return sum(pair[0] for pair in counted), sum(pair[1] for pair in counted)


class _Kept(msgspec.Struct, array_like=True):
    sources: list[SourceLine]
    tls: list[TlsLine]
    seen: list[str]


class ReportBook:
    """All reports of a deployment."""

    def __init__(self) -> None:
        self._sources: dict[tuple[str, str, str], SourceLine] = {}
        self._tls: dict[tuple[str, str], TlsLine] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.changed = False

    @staticmethod
    def takes(reading: Reading) -> bool:
        """Tell whether a reading is one that is counted here."""
        return reading.kind in ("dmarc-aggregate", "tls-rpt", "auth-failure")

    def note(self, reading: Reading, now: int, digest: str = "") -> bool:
        """Count the reports of a reading. Returns whether any of them is new."""
        fresh = False
        for report in reading.reports:
            match report:
                case DmarcReport():
                    said = f"dmarc {report.org_name} {report.report_id} {report.domain}"
                    if self._first(said):
                        self._note_dmarc(report, now)
                        fresh = True
                case TlsReport():
                    if self._first(f"tls {report.organization} {report.report_id}"):
                        self._note_tls(report, now)
                        fresh = True
                case ComplaintReport():
                    if self._first(f"failure {digest}"):
                        line = self._source("", report.reported_domain, report.source_ip)
                        line.failures += 1
                        fresh = True
                case _:
                    continue
        self.changed = self.changed or fresh
        return fresh

    def sources(self) -> Iterator[SourceLine]:
        """Give all lines of sources, in order."""
        for key in sorted(self._sources):
            yield self._sources[key]

    def tls(self) -> Iterator[TlsLine]:
        """Give all lines of TLS, in order."""
        for key in sorted(self._tls):
            yield self._tls[key]

    def dump(self) -> bytes:
        """Encode everything."""
        kept = _Kept(list(self._sources.values()), list(self._tls.values()), list(self._seen))
        return msgspec.msgpack.encode(kept)

    @classmethod
    def load(cls, raw: bytes) -> ReportBook:
        """Decode what `dump` gave. Raises: msgspec.MsgspecError."""
        kept = msgspec.msgpack.decode(raw, type=_Kept)
        made = cls()
        made._sources = {(one.provider, one.domain, one.source): one for one in kept.sources}
        made._tls = {(one.provider, one.domain): one for one in kept.tls}
        made._seen = OrderedDict.fromkeys(kept.seen)
        return made

    # ---- inside

    def _first(self, said: str) -> bool:
        if said in self._seen:
            return False
        self._seen[said[: 4 * NAME_CHARS]] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True

    def _note_dmarc(self, report: DmarcReport, now: int) -> None:
        ends = min(report.end_s * 1000, now) or now
        for source, messages, passed in report.sources:
            line = self._source(report.org_name, report.domain, source)
            _add(line.days, ends // DAY_MS, messages, passed)
            if passed >= messages:
                line.failing_since = 0
            elif passed * 2 < messages and not line.failing_since:
                line.failing_since = min(report.begin_s * 1000, now) or now

    def _note_tls(self, report: TlsReport, now: int) -> None:
        for policy in report.policies:
            key = (report.organization[:NAME_CHARS], (policy.domain or "").lower()[:NAME_CHARS])
            line = self._tls.get(key)
            if line is None:
                if len(self._tls) >= LINES_MAX:
                    continue
                line = self._tls[key] = TlsLine(*key)
            failed = max(policy.failure or 0, 0)
            _add(line.days, now // DAY_MS, max(policy.success or 0, 0), failed)
            for kind, sessions in policy.failures[:20]:
                if kind in line.kinds or len(line.kinds) < 40:
                    line.kinds[kind] = line.kinds.get(kind, 0) + sessions
            if not failed:
                line.failing_since = 0
            elif not line.failing_since:
                line.failing_since = now

    def _source(self, provider: str, domain: str, source: str) -> SourceLine:
        key = (provider[:NAME_CHARS], domain.lower()[:NAME_CHARS], source[:NAME_CHARS])
        line = self._sources.get(key)
        if line is None:
            if len(self._sources) >= LINES_MAX:  # the quietest gives way
                quiet = min(
                    self._sources, key=lambda k: sum(m for m, _ in self._sources[k].days.values())
                )
                del self._sources[quiet]
            line = self._sources[key] = SourceLine(*key)
        return line


def _add(days: dict[int, tuple[int, int]], day: int, first: int, second: int) -> None:
    held = days.get(day, (0, 0))
    days[day] = (held[0] + first, held[1] + second)
    while len(days) > DAYS_KEPT:
        del days[min(days)]
