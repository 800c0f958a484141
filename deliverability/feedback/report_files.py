"""Reports that are files: DMARC aggregates and TLS reports, plain, packed, or packed inside a packed file.

A mail may carry several, and an archive too; all of them are read, each once.
"""

from __future__ import annotations

from collections.abc import Iterator

from deliverability.feedback.dmarc import looks_like_dmarc, read_dmarc
from deliverability.feedback.limits import ARCHIVE_MEMBERS, UNPACKED_BYTES
from deliverability.feedback.mime import Part, header_block
from deliverability.feedback.reading import DmarcReport, Reading, Report, TlsReport
from deliverability.feedback.tlsrpt import looks_like_tlsrpt, read_tlsrpt
from deliverability.feedback.unpack import is_packed, unpack

__all__ = ("attached_reports", "read_report_file")

_FILE_KINDS = ("application/", "text/xml", "text/json", "multipart/x-zip")
_NAMES = (".zip", ".gz", ".xml", ".json")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BLANK = b"\xef\xbb\xbf \t\r\n"
_INLINE_BYTES = 4096


def read_report_file(data: bytes) -> Reading | None:
    """Read bytes that are reports themselves, not a mail; None if they are none."""
    reports: list[Report] = []
    for content in _contents(data):
        if looks_like_tlsrpt(content):
            reports += read_tlsrpt(content)
        if looks_like_dmarc(content) and _is_file(content):
            dmarc = read_dmarc(content)
            if dmarc is not None:
                reports.append(dmarc)
    return _reading(reports)


def attached_reports(parts: list[Part]) -> Reading | None:
    """Read all reports that a mail carries; None if it carries none."""
    reports: list[Report] = []
    for part in parts:
        if not part.children and (_may_be_file(part) or _is_inline(part)):
            reading = read_report_file(part.decoded(UNPACKED_BYTES))
            if reading is not None:
                reports += reading.reports
    return _reading(reports)


def _reading(reports: list[Report]) -> Reading | None:
    """Put reports together, each once; those of the kind that came first."""
    if not reports:
        return None
    kind = type(reports[0])
    once: dict[tuple[str, str], Report] = {}
    for number, report in enumerate(reports):
        if isinstance(report, DmarcReport | TlsReport) and isinstance(report, kind):
            name = report.org_name if isinstance(report, DmarcReport) else report.organization
            once.setdefault((name, report.report_id or f"#{number}"), report)
    return Reading(
        kind="dmarc-aggregate" if kind is DmarcReport else "tls-rpt", reports=tuple(once.values())
    )


def _contents(data: bytes) -> Iterator[bytes]:
    """What a file holds: itself, what is packed in it, and what is packed in that, no deeper."""
    if not is_packed(data):
        yield data
        return
    for outer in unpack(data):
        yield from unpack(outer)[:ARCHIVE_MEMBERS] if is_packed(outer) else [outer]


def _is_file(content: bytes) -> bool:
    """Say whether bytes begin as XML does, or at least not as a mail does: reporters write a line before, too."""
    head = content[:_INLINE_BYTES]
    if head.lstrip(_BLANK).startswith(b"<") or head.startswith(_UTF16):
        return True
    return not header_block(head)[0].fields


def _may_be_file(part: Part) -> bool:
    return part.kind.startswith(_FILE_KINDS) or part.filename().lower().endswith(_NAMES)


def _is_inline(part: Part) -> bool:
    """Say whether a part for people holds a report instead of words."""
    if not part.kind.startswith("text/"):
        return False
    head = part.decoded(_INLINE_BYTES).lstrip(_BLANK)
    return head.startswith(b"{") or (head.startswith(b"<") and looks_like_dmarc(head))
