"""Amazon SES notifications (bounce, complaint, delivery): JSON in the text of a mail, or posted by SNS.

An SNS envelope (`Message` holds the JSON as a string) is opened; JSON that a mail folded at line ends is joined
again.
"""

from __future__ import annotations

import msgspec

from deliverability.feedback.addresses import clean_address
from deliverability.feedback.dsn import DeliveryStatus, RecipientFields
from deliverability.feedback.limits import DIAGNOSTIC_CHARS, RECIPIENTS
from deliverability.feedback.reading import ComplaintReport, Evidence, Reading

__all__ = ("read_ses_notice",)

_NAMES = ('"notificationType"', '"eventType"', '"notificationType\\"')
_ACTIONS = {"Bounce": "failed", "DeliveryDelay": "delayed", "Delivery": "delivered"}
_LISTS = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Delivery": ("delivery", "recipients"),
}


def read_ses_notice(text: str) -> DeliveryStatus | Reading | None:
    """Read a notification: a complaint as a reading, others as a delivery status; None if it is none."""
    start = text.find("{")
    if start < 0 or not any(name in text for name in _NAMES):
        return None
    tree = _decode(text[start:])
    if isinstance(tree.get("Message"), str):
        tree = _decode(str(tree["Message"]))
    kind = str(tree.get("notificationType") or tree.get("eventType") or "")
    if kind == "Complaint":
        return _complaint(tree)
    if kind not in _LISTS:
        return None
    section, names = _LISTS[kind]
    body = _mapping(tree.get(section))
    listed = body.get(names)
    recipients = tuple(
        _fields(item, _ACTIONS[kind], body)
        for item in (listed[:RECIPIENTS] if isinstance(listed, list) else [])
    )
    return DeliveryStatus(
        reporting_mta=str(body.get("reportingMTA") or "")
        .removeprefix("dsn; ")
        .removeprefix("dns; "),
        arrival=str(body.get("timestamp") or ""),
        recipients=tuple(one for one in recipients if one.final),
    )


def _fields(item: object, action: str, body: dict[str, object]) -> RecipientFields:
    one = _mapping(item) if isinstance(item, dict) else {"emailAddress": item}
    diagnostic = str(one.get("diagnosticCode") or body.get("smtpResponse") or "")
    return RecipientFields(
        final=clean_address(str(one.get("emailAddress") or "")),
        action=action,
        status=str(one.get("status") or ""),
        remote_mta=str(body.get("remoteMtaIp") or ""),
        diagnostic=diagnostic.removeprefix("smtp; ").removeprefix("smtp;")[:DIAGNOSTIC_CHARS],
    )


def _complaint(tree: dict[str, object]) -> Reading:
    body, mail = _mapping(tree.get("complaint")), _mapping(tree.get("mail"))
    listed = body.get("complainedRecipients")
    kind = str(body.get("complaintFeedbackType") or "abuse")
    sender = str(mail.get("source") or "")
    reports = tuple(
        ComplaintReport(
            feedback_type=kind,
            recipient=clean_address(str(_mapping(item).get("emailAddress") or "")),
            source_ip=str(mail.get("sourceIp") or ""),
            reported_domain=sender.rpartition("@")[2].strip("<> "),
            sisimai="feedback",
            original_sender=clean_address(sender),
            message_id=str(mail.get("messageId") or ""),
            arrival=str(body.get("arrivalDate") or body.get("timestamp") or ""),
            auth_failure="",
            evidence=Evidence(rule="ses.complaint", line=kind, source="json", confidence=0.95),
        )
        for item in (listed[:RECIPIENTS] if isinstance(listed, list) else [])
    )
    return Reading(kind="complaint", reports=reports)


def _decode(text: str) -> dict[str, object]:
    """The JSON object at the start of a text; {} if there is none. Folds are joined, what follows the object is cut."""
    end = text.rfind("}") + 1
    for candidate in (text[:end], text[:end].replace("\n ", "").replace("\n", "")):
        try:
            tree = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, RecursionError):
            continue
        return tree if isinstance(tree, dict) else {}
    return {}


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
