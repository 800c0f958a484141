r"""Read one mail, or one report file: what is it, and what does it say about whom.

    >>> read(b"From: a@example.org\\n\\nhello").kind
    'other'

Pure and total: any bytes give a `Reading`, within the bounds of `limits`. The order of the questions matters:
machine-readable
parts first (reports, then feedback, then delivery status), prose after them, automatic replies last, since
bounces carry
their marks too.
"""

from __future__ import annotations

from collections.abc import Callable

from deliverability.feedback.addresses import addresses_in
from deliverability.feedback.bounces import Bounce, automatic_reply, read_bounce
from deliverability.feedback.complaints import (
    kind_of_feedback,
    read_accusation,
    read_feedback_report,
    read_jmrp,
    read_loose_report,
    read_opt_out,
    read_plain_failure,
)
from deliverability.feedback.dsn import DeliveryStatus, looks_like_dsn, read_delivery_status
from deliverability.feedback.limits import (
    HEADER_BYTES,
    HEADER_FIELDS,
    MAIL_BYTES,
    MAILS_PER_FILE,
    MIME_PARTS,
    REPORT_BYTES,
)
from deliverability.feedback.mime import Header, Part, header_block, normal_newlines, split, walk
from deliverability.feedback.prose import cut_original, mentions
from deliverability.feedback.reading import ComplaintReport, Kind, Reading, RecipientReport, Report
from deliverability.feedback.report_files import attached_reports, read_report_file
from deliverability.feedback.ses_notice import read_ses_notice
from deliverability.feedback.signs import bounce_weight, is_auto_reply, is_challenge
from deliverability.feedback.taxonomy import Cause

__all__ = ("ResolveReversePath", "read", "read_file")

ResolveReversePath = Callable[[str], "str | None"]

_RANK: tuple[Kind, ...] = (
    "complaint", "opt-out", "auth-failure", "bounce", "delay", "auto-reply", "delivered",
    "dmarc-aggregate", "tls-rpt", "other",
)  # fmt: skip
_PROSE_KINDS = ("text/plain", "text/html", "text/rfc822", "multipart/report", "message/partial")
_ORIGINAL_KINDS = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/partial",
    "text/rfc822",
)
_STATUS_KINDS = (
    "message/delivery-status",
    "message/global-delivery-status",
    "message/delivery-report",
    "message/deliverystatus",
)
_LOOSE_KINDS = ("text/plain", "application/octet-stream", "message/rfc822-headers")
_REPORT_KINDS = ("message/feedback-report", "message/abuse-report", "message/feedbackreport")


def read(mail: bytes, *, resolve_reverse_path: ResolveReversePath | None = None) -> Reading:
    """Read one mail or one report file (XML, JSON, gzip, zip).

    Args:
        mail: its bytes; no more than `limits.MAIL_BYTES` are looked at.
        resolve_reverse_path: takes an address the mail came to and says what the message was sent to if the
        address is a valid
            signed reverse-path, else None. Its answer goes before whatever the mail says.
    """
    report = read_report_file(mail[:MAIL_BYTES])
    if report is not None:
        return report
    data = normal_newlines(mail)
    root = split(data)
    resolved = _resolve(root.header, resolve_reverse_path)
    reading = _message(root, resolved)
    met = _limits(mail, root)
    if resolved or met:
        return Reading(
            kind=reading.kind, reports=reading.reports, reverse_path=resolved, limits=met
        )
    return reading


def read_file(data: bytes, *, resolve_reverse_path: ResolveReversePath | None = None) -> Reading:
    """Read a file: one mail, one report, or an mbox (at most `limits.MAILS_PER_FILE`) merged into one reading."""
    mails = _mails(data[:MAIL_BYTES])
    if len(mails) == 1:
        return read(mails[0], resolve_reverse_path=resolve_reverse_path)
    readings = [read(mail, resolve_reverse_path=resolve_reverse_path) for mail in mails]
    kinds = {reading.kind for reading in readings}
    kind = next(kind for kind in _RANK if kind in kinds)
    reports: list[Report] = [report for reading in readings for report in reading.reports]
    limits = tuple(dict.fromkeys(limit for reading in readings for limit in reading.limits))
    path = next((reading.reverse_path for reading in readings if reading.reverse_path), "")
    return Reading(kind=kind, reports=tuple(reports), reverse_path=path, limits=limits)


def _mails(data: bytes) -> list[bytes]:
    """The mails of an mbox (RFC 4155), or the file as one mail."""
    if not data.startswith(b"From "):
        return [data]
    plain = normal_newlines(data)
    starts, at = [0], 0
    while len(starts) < MAILS_PER_FILE:
        at = plain.find(b"\n\nFrom ", at)
        if at < 0:
            break
        header, _ = header_block(plain[at + 2 : at + 4_096])
        if len(header.fields) >= 2 and b"@" in plain[at : plain.find(b"\n", at + 2)] + b"@":
            starts.append(at + 2)
        at += 7
    return [plain[start:end] for start, end in zip(starts, [*starts[1:], len(plain)], strict=True)]


def _message(root: Part, resolved: str, depth: int = 0) -> Reading:
    parts = list(walk(root))
    reports = attached_reports(parts)
    if reports is not None:
        return reports
    original = _original(parts)
    feedback = _feedback(parts, original)
    if feedback is not None:
        return feedback
    prose, copied = _prose(parts)
    if original is None and copied:
        header, _ = header_block(copied[:HEADER_BYTES].encode("utf-8", "replace"))
        original = header if header.fields else None
    status = _delivery_status(parts)
    notice = read_ses_notice(prose) if status is None else None
    if isinstance(notice, Reading):
        return notice
    status = status or notice
    inner = _inner_bounce(root, parts, prose, copied, status, depth, resolved)
    if inner is not None:
        return inner
    jmrp = read_jmrp(root.header, parts) if status is None else None
    if jmrp is not None:
        return jmrp
    failure = read_plain_failure(root.header, prose, original) if status is None else None
    if failure is None and status is None:
        failure = read_accusation(root.header, original)
    if failure is not None:
        return failure
    return _prose_reading(
        root,
        Bounce(
            header=root.header, prose=prose, status=status, original=original, resolved=resolved
        ),
    )


def _inner_bounce(
    root: Part,
    parts: list[Part],
    prose: str,
    copied: str,
    status: DeliveryStatus | None,
    depth: int,
    resolved: str,
) -> Reading | None:
    """Read a bounce that a daemon or filter wrapped: the carried message is one, and the wrapper names nobody."""
    if (
        depth
        or (status is not None and status.recipients)
        or root.header.get("x-failed-recipients")
    ):
        return None
    carried = next(
        (part.body for part in parts if part.kind == "message/rfc822"), b""
    ) or copied.encode("utf-8", "replace")
    header, _ = header_block(carried[:HEADER_BYTES])
    if (
        bounce_weight(header, "") < 4
        or bounce_weight(root.header, prose) < 3
        or mentions(prose, frozenset())
    ):
        return None
    reading = _message(split(carried), resolved, depth + 1)
    return (
        reading
        if any(
            isinstance(report, RecipientReport) and report.recipient for report in reading.reports
        )
        else None
    )


def _prose_reading(root: Part, bounce: Bounce) -> Reading:
    header, prose = root.header, bounce.prose
    if bounce.status is not None and bounce.status.recipients:
        return read_bounce(bounce)
    weight = bounce_weight(header, prose) + (0 if header.fields else 1)
    if is_challenge(header, prose):
        return automatic_reply(header, Cause.CHALLENGE)
    if weight < 5 and is_auto_reply(header, prose) and not header.get("x-failed-recipients"):
        opted = read_opt_out(header, prose)
        return opted or automatic_reply(header, Cause.AUTO_REPLY)
    if weight >= 3:
        return read_bounce(bounce)
    return read_opt_out(header, prose) or Reading(kind="other")


def _feedback(parts: list[Part], original: Header | None) -> Reading | None:
    reports: list[ComplaintReport] = []
    for part in parts:
        if part.kind in _REPORT_KINDS:
            reports.extend(read_feedback_report(part, original))
    if not reports:
        for part in parts:
            if not part.children and part.kind in _LOOSE_KINDS:
                reports.extend(read_loose_report(part, original))
    if not reports:
        return None
    return Reading(kind=kind_of_feedback(reports[0].feedback_type), reports=tuple(reports))


def _delivery_status(parts: list[Part]) -> DeliveryStatus | None:
    found: DeliveryStatus | None = None
    for part in parts:
        if part.kind in _STATUS_KINDS:
            status = read_delivery_status(part.text(REPORT_BYTES))
            if status.recipients:
                return status
            found = found or status
    for part in parts:
        if part.kind in _PROSE_KINDS and not part.children and b"inal-" in part.body[:REPORT_BYTES]:
            text, _ = cut_original(part.text())
            if looks_like_dsn(text):
                status = read_delivery_status(text)
                if status.recipients:
                    return status
    return found


def _original(parts: list[Part]) -> Header | None:
    for part in parts:
        if part.kind in _ORIGINAL_KINDS:
            body = part.decoded(HEADER_BYTES) if part.transfer else part.body[:HEADER_BYTES]
            header, _ = header_block(body)
            if header.fields:
                return header
    return None


def _prose(parts: list[Part]) -> tuple[str, str]:
    """The text for people (plain, or else HTML) and, if it is in there, the copy of the message."""
    plain = [
        part
        for part in parts
        if part.kind == "text/plain" and not part.children and not _is_copy(part)
    ]
    chosen = plain or [part for part in parts if part.kind == "text/html" and not part.children]
    if not chosen:
        chosen = [
            part
            for part in parts
            if not part.children
            and part.kind.startswith(("text/", "multipart/"))
            and part.kind not in _ORIGINAL_KINDS
        ][:1]
    texts, copies = [], []
    for part in chosen[:8]:
        text, copied = cut_original(part.text())
        texts.append(text)
        if copied:
            copies.append(copied)
            break
    return "\n\n".join(texts), copies[0] if copies else ""


def _is_copy(part: Part) -> bool:
    """Say whether a text part is the message's copy: attached headers under a text type."""
    start = part.body[:200].lstrip()
    return start.startswith((b"Return-Path:", b"Received:", b"Return-path:")) and bool(
        part.header.get("content-disposition")
    )


def _resolve(header: Header, resolve: ResolveReversePath | None) -> str:
    if resolve is None:
        return ""
    for name in ("x-original-to", "delivered-to", "envelope-to", "to"):
        for value in header.all(name):
            for address in addresses_in(value, 5):
                found = resolve(address)
                if found:
                    return found
    return ""


def _limits(mail: bytes, root: Part) -> tuple[str, ...]:
    met = []
    if len(mail) > MAIL_BYTES:
        met.append("MAIL_BYTES")
    if len(root.header.fields) >= HEADER_FIELDS:
        met.append("HEADER_FIELDS")
    if len(mail) - len(root.body) > HEADER_BYTES:
        met.append("HEADER_BYTES")
    if sum(1 for _ in walk(root)) >= MIME_PARTS:
        met.append("MIME_PARTS")
    return tuple(met)
