"""Complaints: feedback reports (RFC 5965), auth-failure reports (RFC 6591), and complaints that are neither.

What is not ARF: Microsoft's JMRP (the message itself as an attachment, the recipient in an `X-HmXmr…` field),
plain-text
DMARC failure notices, and opt-out mails sent by a mail program's unsubscribe button (RFC 2369, RFC 8058 §2).
"""

from __future__ import annotations

import re

from deliverability.feedback.addresses import addresses_in, clean_address
from deliverability.feedback.limits import FIELD_CHARS, RECIPIENTS, REPORT_BYTES
from deliverability.feedback.mime import Header, Part, decode_words, header_block
from deliverability.feedback.reading import ComplaintReport, Evidence, Kind, Reading

__all__ = (
    "kind_of_feedback",
    "read_accusation",
    "read_feedback_report",
    "read_jmrp",
    "read_loose_report",
    "read_opt_out",
    "read_plain_failure",
)

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]?:[ \t]*(.*)")
_IP = re.compile(
    r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w])"
)
_REDACTED = "undisclosed-recipient@invalid"
_JMRP = re.compile(
    r"^(?:complaint about message from|.{0,20}abuse (?:report|complaint))", re.IGNORECASE
)
_ACCUSES = re.compile(
    r"^\[spamcop \(|^(?:re: |fwd?: )?(?:\[[^\]]{1,40}\] ?)?(?:uce|spam|junk|abuse|phishing|ube)[ -]"
    r"(?:report|complaint|notification|notice|incident|alert)|\b(?:complaint|report) (?:about|of|on) "
    r"(?:spam|abuse|uce|unsolicited)",
    re.IGNORECASE,
)
_LOOSE = re.compile(
    r"(?:\A|\n)[ \t]{0,4}((?:user-agent|version|feedback-type)[ \t]?:)", re.IGNORECASE
)
_TELLING = frozenset({"feedback-type"})
_OPT_OUT = re.compile(
    r"^\s*(?:re:|fwd?:)?\s*(?:unsubscribe|opt[- ]?out|remove(?: me)?|wypisz|abmelden|désabonn\w*|darse de baja)\b",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"(?:dmarc|spf|dkim)[^\n]{0,80}(?:fail|failure|report)|authentication failure|failure report",
    re.IGNORECASE,
)
_RECIPIENT_FIELDS = (
    "redacted-address",
    "removal-recipient",
    "original-recipient",
)
_MESSAGE_RECIPIENTS = (
    "x-hmxmroriginalrecipient",
    "x-apparently-to",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "to",
)


def kind_of_feedback(feedback_type: str) -> Kind:
    """The kind of reading that a feedback type makes (RFC 5965 §3.1, RFC 6591 §3.1, RFC 6430)."""
    match feedback_type:
        case "opt-out" | "opt-out-list":
            return "opt-out"
        case "auth-failure" | "dmarc":
            return "auth-failure"
    return "complaint"


def read_feedback_report(part: Part, original: Header | None) -> list[ComplaintReport]:
    """One report for each original recipient of a message/feedback-report part, or one without recipient."""
    return _reports(_fields(part.text(REPORT_BYTES)), original)


def read_loose_report(part: Part, original: Header | None) -> list[ComplaintReport]:
    """Read the fields of RFC 5965 that stand in a text or an attachment of another type; none if there are none."""
    if b"eedback-" not in part.body[:REPORT_BYTES] and not part.transfer:
        return []
    text = part.text(REPORT_BYTES)
    begins = _LOOSE.search(text)
    if begins is None:
        return []
    block, _, rest = text[begins.start(1) :].partition("\n\n")
    fields = _fields(block)
    if not fields.keys() & _TELLING:
        return []
    if original is None:
        found, _ = header_block(rest.lstrip("\n")[:REPORT_BYTES].encode("utf-8", "replace"))
        original = found if found.fields else None
    return _reports(fields, original)


def read_accusation(header: Header, original: Header | None) -> Reading | None:
    """Read a complaint in words (SpamCop, an abuse desk): its subject accuses and it carries the message, or None."""
    subject = decode_words(header.get("subject")).strip()
    if original is None or not _ACCUSES.search(subject):
        return None
    if not (original.get("message-id") or original.get("received")):
        return None
    ip = _IP.search(subject)
    report = ComplaintReport(
        feedback_type="abuse",
        recipient=_original_recipient(original) or _REDACTED,
        source_ip=ip.group(0) if ip else "",
        reported_domain=_domain(clean_address(original.get("from"))),
        sisimai="feedback",
        original_sender=clean_address(original.get("return-path") or original.get("from")),
        message_id=original.get("message-id").strip("<> "),
        arrival=original.get("date"),
        auth_failure="",
        evidence=Evidence(
            rule="complaint.words", line=subject[:200], source="header", confidence=0.8
        ),
    )
    return Reading(kind="complaint", reports=(report,))


def _reports(fields: dict[str, list[str]], original: Header | None) -> list[ComplaintReport]:
    if not fields:
        return []
    kind = _first(fields, "feedback-type").lower().split(";")[0].strip() or "abuse"
    named = [clean_address(value) for value in fields.get("original-rcpt-to", [])[:RECIPIENTS]]
    recipients = [address for address in named if address] or [_recipient(fields, original)]
    domains = fields.get("reported-domain", [])
    reports = []
    for number, recipient in enumerate(recipients):
        domain = (
            domains[min(number, len(domains) - 1)]
            if len(domains) == len(recipients)
            else (domains[0] if domains else "")
        )
        reports.append(_report(kind, recipient, fields, original, domain))
    return reports


def read_jmrp(header: Header, parts: list[Part]) -> Reading | None:
    """Read a complaint that consists of an accusing subject or sender and the message itself; None if it is none."""
    attached = [part for part in parts if part.kind == "message/rfc822"]
    if not attached:
        return None
    original, _ = header_block(attached[0].body)
    subject = decode_words(header.get("subject")).strip()
    marked = original.get("x-hmxmroriginalrecipient")
    if not marked and not (
        _JMRP.match(subject) and "report-type" not in header.get("content-type")
    ):
        return None
    ip = _IP.search(subject)
    report = ComplaintReport(
        feedback_type="abuse",
        recipient=clean_address(marked) or _original_recipient(original),
        source_ip=ip.group(0) if ip else "",
        reported_domain=_domain(clean_address(original.get("from"))),
        sisimai="feedback",
        original_sender=clean_address(original.get("return-path") or original.get("from")),
        message_id=original.get("message-id").strip("<> "),
        arrival=original.get("date"),
        auth_failure="",
        evidence=Evidence(
            rule="complaint.jmrp", line=subject[:200], source="header", confidence=0.95
        ),
    )
    return Reading(kind="complaint", reports=(report,))


def read_opt_out(header: Header, prose: str) -> Reading | None:
    """Read a mail that asks to be taken off; None if it does not plainly do so."""
    subject = decode_words(header.get("subject"))
    apple = header.get("x-apple-unsubscribe").strip().lower() == "true"
    if not apple and not (_OPT_OUT.match(subject) and len(prose) < 2_000):
        return None
    sender = clean_address(header.get("from"))
    report = ComplaintReport(
        feedback_type="opt-out",
        recipient=sender,
        source_ip="",
        reported_domain=_domain(clean_address(header.get("to"))),
        sisimai="feedback",
        original_sender=clean_address(header.get("to")),
        message_id="",
        arrival=header.get("date"),
        auth_failure="",
        evidence=Evidence(
            rule="opt-out.mail",
            line=subject[:200],
            source="header",
            confidence=0.9 if apple else 0.8,
        ),
    )
    return Reading(kind="opt-out", reports=(report,))


def read_plain_failure(header: Header, prose: str, original: Header | None) -> Reading | None:
    """Read a DMARC failure notice in plain text (LinkedIn, Exim); None if it is none."""
    subject = decode_words(header.get("subject"))
    if not _FAILURE.search(subject) or not re.search(
        r"source[- ]ip|sender ip|ip address|reported[- ]domain|authentication-results",
        prose,
        re.IGNORECASE,
    ):
        return None
    fields = _fields(prose)
    ip = _first(fields, "source-ip") or (_IP.search(prose) or [""])[0]
    domain = _first(fields, "reported-domain") or _first(fields, "sender-domain")
    report = ComplaintReport(
        feedback_type="auth-failure",
        recipient=_recipient(fields, original),
        source_ip=ip,
        reported_domain=domain
        or (_domain(clean_address(original.get("from"))) if original else ""),
        sisimai="feedback",
        original_sender=_first(fields, "original-mail-from"),
        message_id="",
        arrival=_first(fields, "arrival-date"),
        auth_failure="dmarc",
        evidence=Evidence(
            rule="auth-failure.plain", line=subject[:200], source="prose", confidence=0.8
        ),
    )
    return Reading(kind="auth-failure", reports=(report,))


def _report(
    kind: str, recipient: str, fields: dict[str, list[str]], original: Header | None, domain: str
) -> ComplaintReport:
    sender = clean_address(_first(fields, "original-mail-from"))
    return ComplaintReport(
        feedback_type=kind,
        recipient=recipient,
        source_ip=_first(fields, "source-ip", "source"),
        reported_domain=domain.strip(),
        sisimai="feedback",
        original_sender=sender or (clean_address(original.get("from")) if original else ""),
        message_id=(original.get("message-id") if original else "").strip("<> "),
        arrival=_first(fields, "arrival-date", "received-date"),
        auth_failure=_first(fields, "auth-failure"),
        evidence=Evidence(
            rule="arf.fields",
            line=f"Feedback-Type: {kind}",
            source="feedback-report",
            confidence=0.99,
        ),
    )


def _recipient(fields: dict[str, list[str]], original: Header | None) -> str:
    """The complaining recipient: from the report, the message it carries, or an address that says so."""
    for name in _RECIPIENT_FIELDS:
        for value in fields.get(name, []):
            address = clean_address(value)
            if "@" in address:
                return address
    found = _original_recipient(original) if original else ""
    return found or _REDACTED


def _original_recipient(original: Header) -> str:
    for name in _MESSAGE_RECIPIENTS:
        found = addresses_in(original.get(name), 1)
        if found:
            return found[0]
    return ""


def _fields(text: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in text.split("\n"):
        field = None if line[:1] in (" ", "\t") else _FIELD.match(line)
        if field:
            last = fields.setdefault(field.group(1).lower(), [])
            if len(last) < RECIPIENTS:
                last.append(field.group(2).strip())
        elif last and line.strip() and len(last[-1]) < FIELD_CHARS:
            last[-1] = f"{last[-1]} {line.strip()}"
    return fields


def _first(fields: dict[str, list[str]], *names: str) -> str:
    for name in names:
        values = fields.get(name)
        if values and values[0]:
            return values[0]
    return ""


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
