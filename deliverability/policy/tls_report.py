"""Reports on TLS to the domains that ask for them: counts of sessions, and the report of a day. RFC 8460. Pure.

A session that reached readiness counts once for the policy it was held under: well, or with a result type (§4.3). A
handshake that failed counts as failed, also where mail then went another way.
"""

from __future__ import annotations

__all__ = (
    "SessionRow",
    "TlsCounts",
    "TlsReportFrame",
    "compose_report",
    "report_file_name",
    "report_mail",
)

import datetime as dt
import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import msgspec

from deliverability.policy.tls_demand import PolicyKind

_ROWS_MAX = 50_000
_DETAILS_MAX = 1000


class SessionRow(msgspec.Struct, frozen=True, array_like=True):
    """What sessions have in common that are counted together. `failure` empty: they went as the policy asks."""

    domain: str
    kind: PolicyKind
    policy_lines: tuple[str, ...] = ()
    mx_patterns: tuple[str, ...] = ()
    host: str = ""
    address: str = ""
    source: str = ""
    failure: str = ""
    reason: str = ""


class TlsCounts:
    """Counts of sessions since they were taken last; beyond 50,000 kinds of sessions the rest isn't counted."""

    def __init__(self) -> None:
        self._counts: Counter[SessionRow] = Counter()
        self.dropped = 0

    def add(self, row: SessionRow) -> None:
        """Count a session."""
        if row in self._counts or len(self._counts) < _ROWS_MAX:
            self._counts[row] += 1
        else:
            self.dropped += 1

    def take(self) -> list[tuple[SessionRow, int]]:
        """Give the counts and begin anew."""
        counts, self._counts = self._counts, Counter()
        return list(counts.items())


class TlsReportFrame(msgspec.Struct, frozen=True):
    """What all reports of a day have in common. `contact` is a mailbox; `submitter` our domain."""

    organization: str
    contact: str
    submitter: str
    day: dt.date

    @property
    def start(self) -> dt.datetime:
        """The first instant of the day, UTC (§4.1)."""
        return dt.datetime.combine(self.day, dt.time.min, dt.UTC)

    @property
    def end(self) -> dt.datetime:
        """The last second of the day."""
        return self.start + dt.timedelta(days=1, seconds=-1)

    def report_id(self, domain: str) -> str:
        """Name the report; the same day and domain give the same id, so that a repetition is seen as one."""
        return f"{self.day.isoformat()}.{domain}@{self.submitter}"


def compose_report(
    frame: TlsReportFrame, domain: str, rows: Iterable[tuple[SessionRow, int]]
) -> bytes:
    """Make the report of a domain: JSON (§4.4), by policy, gzipped."""
    policies: dict[tuple[Any, ...], list[tuple[SessionRow, int]]] = {}
    for row, number in rows:
        if row.domain == domain:
            key = (row.kind, row.policy_lines, row.mx_patterns)
            policies.setdefault(key, []).append((row, number))
    tree = {
        "organization-name": frame.organization,
        "date-range": {"start-datetime": _time(frame.start), "end-datetime": _time(frame.end)},
        "contact-info": frame.contact,
        "report-id": frame.report_id(domain),
        "policies": [_policy(domain, found) for _, found in sorted(policies.items())],
    }
    return gzip.compress(msgspec.json.encode(tree), mtime=0)


def _policy(domain: str, rows: Sequence[tuple[SessionRow, int]]) -> dict[str, Any]:
    first = rows[0][0]
    good = sum(number for row, number in rows if not row.failure)
    bad: Counter[SessionRow] = Counter()
    for row, number in rows:
        if row.failure:
            bad[row] += number
    policy: dict[str, Any] = {"policy-type": first.kind, "policy-domain": domain}
    if first.policy_lines:
        policy["policy-string"] = list(first.policy_lines)
    if first.mx_patterns:
        policy["mx-host"] = list(first.mx_patterns)
    result: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": good,
            "total-failure-session-count": bad.total(),
        },
    }
    if bad:
        result["failure-details"] = [_detail(*one) for one in bad.most_common(_DETAILS_MAX)]
    return result


def _detail(row: SessionRow, number: int) -> dict[str, Any]:
    told = {
        "result-type": row.failure,
        "sending-mta-ip": row.source,
        "receiving-mx-hostname": row.host,
        "receiving-ip": row.address,
        "failure-reason-code": row.reason,
    }
    return {name: value for name, value in told.items() if value} | {"failed-session-count": number}


def _time(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def report_file_name(frame: TlsReportFrame, domain: str) -> str:
    """Name the file: `submitter!policy-domain!begin!end.json.gz` (§5.1)."""
    begin, end = int(frame.start.timestamp()), int(frame.end.timestamp())
    return f"{frame.submitter}!{domain}!{begin}!{end}.json.gz"


def report_mail(
    frame: TlsReportFrame, domain: str, report: bytes, to: str, now: dt.datetime
) -> bytes:
    """Make the mail that brings a report (§5.3), unsigned; it must be signed before it goes (§3)."""
    mail = EmailMessage(policy=SMTP)
    report_id = frame.report_id(domain)
    mail["From"] = frame.contact
    mail["To"] = to
    mail["Date"] = now
    mail["Message-ID"] = f"<{frame.day.isoformat()}.{domain}.tlsrpt@{frame.submitter}>"
    mail["Subject"] = (
        f"Report Domain: {domain} Submitter: {frame.submitter} Report-ID: <{report_id}>"
    )
    mail["TLS-Report-Domain"] = domain
    mail["TLS-Report-Submitter"] = frame.submitter
    mail["TLS-Required"] = "No"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"This is an aggregate TLS report from {frame.submitter} for {domain}.\r\n")
    name = report_file_name(frame, domain)
    mail.add_attachment(report, maintype="application", subtype="tlsrpt+gzip", filename=name)
    mail.replace_header("Content-Type", "multipart/report")
    mail.set_param("report-type", "tlsrpt")
    mail.set_param("boundary", f"tlsrpt-{frame.day.isoformat()}-veredus")
    return mail.as_bytes()
