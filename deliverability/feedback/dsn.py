"""Delivery status notifications (RFC 3464), with the violations that real ones have.

Known violations, each seen in the wild: recipient groups without the blank line between them, or with blank
lines inside;
continuation lines without the space; fields outside their group; a space before the colon; a status with a
comment, or the
recipient in angle brackets, without a type, or only in a later field; the whole part in base64 or as text/plain.
"""

from __future__ import annotations

import re

import msgspec

from deliverability.feedback.addresses import clean_address
from deliverability.feedback.limits import DIAGNOSTIC_CHARS, RECIPIENTS

__all__ = ("DeliveryStatus", "RecipientFields", "looks_like_dsn", "read_delivery_status")

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]{1,60})[ \t]?:[ \t]*(.*)")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,4})(?![\d.])")
_STATUS_DIGITS = re.compile(r"\A\s*([245])\.?(\d)\.?(\d)\s*(?:\(|\Z)")
_TYPE = re.compile(r"\A\s*(?:smtp|x-[\w-]+|unix|dns|x400|postfix|unknown)\s*;\s*", re.IGNORECASE)
_KNOWN = frozenset({
    "final-recipient", "original-recipient", "action", "status", "remote-mta", "diagnostic-code",
    "last-attempt-date", "final-log-id", "will-retry-until", "x-actual-recipient", "x-original-recipient",
    "x-supplementary-info", "x-display-name", "x-spam-status", "x-notes", "x-mailer-error",
})  # fmt: skip
_STARTS = ("final-recipient", "original-recipient", "action", "x-actual-recipient")


class RecipientFields(msgspec.Struct, frozen=True):
    """The fields of one recipient (RFC 3464 §2.3), cleaned; "" where absent."""

    final: str = ""
    original: str = ""
    actual: str = ""
    action: str = ""
    status: str = ""
    remote_mta: str = ""
    diagnostic: str = ""
    diagnostic_type: str = ""


class DeliveryStatus(msgspec.Struct, frozen=True):
    """One delivery-status part."""

    reporting_mta: str
    arrival: str
    recipients: tuple[RecipientFields, ...]


def looks_like_dsn(text: str) -> bool:
    """Say whether a text has the fields of a delivery status."""
    head = text[:65_536].lower()
    return ("final-recipient" in head or "original-recipient" in head) and "action" in head


def read_delivery_status(text: str) -> DeliveryStatus:
    """Read the fields of a delivery-status part, message fields first, then one group a recipient."""
    message: dict[str, str] = {}
    groups: list[dict[str, str]] = []
    current: dict[str, str] = {}
    last = ""
    fresh = False
    for line in text.split("\n"):
        if not line.strip():
            fresh, last = True, ""
            continue
        field = None if line[0] in " \t" else _FIELD.match(line)
        if field is None:
            _continue(current or message, last, line)
            continue
        name, value = field.group(1).lower(), field.group(2).strip()
        if name not in _KNOWN:
            if not current:
                message.setdefault(name, value)
            last = name
            fresh = False
            continue
        if _begins(current, name, fresh=fresh):
            if len(groups) >= RECIPIENTS:
                break
            current = {}
            groups.append(current)
        current.setdefault(name, value)
        last, fresh = name, False
    recipients = tuple(_recipient(group) for group in groups)
    return DeliveryStatus(
        reporting_mta=_TYPE.sub("", message.get("reporting-mta", "")).strip(),
        arrival=message.get("arrival-date", ""),
        recipients=tuple(
            r for r in recipients if r.final or r.original or r.action or r.diagnostic
        ),
    )


def _begins(current: dict[str, str], name: str, *, fresh: bool) -> bool:
    """Say whether a field begins the next recipient: a repeated field does, a blank line only before a starting one."""
    if not current:
        return True
    if name in current:
        return name in ("final-recipient", "action", "status") or (fresh and name in _STARTS)
    return (
        fresh
        and name in _STARTS
        and ("final-recipient" in current or "action" in current)
        and (name != "final-recipient" or "final-recipient" in current)
        and not (name == "action" and "action" not in current)
    )


def _continue(group: dict[str, str], name: str, line: str) -> None:
    """Append a continuation, or a line that should have been one, to the field before it."""
    if name in group and len(group[name]) < DIAGNOSTIC_CHARS:
        group[name] = f"{group[name]} {line.strip()}".strip()


def _recipient(group: dict[str, str]) -> RecipientFields:
    diagnostic = group.get("diagnostic-code", "")
    kind = _TYPE.match(diagnostic)
    return RecipientFields(
        final=clean_address(group.get("final-recipient", "")),
        original=clean_address(
            group.get("original-recipient", "") or group.get("x-original-recipient", "")
        ),
        actual=clean_address(group.get("x-actual-recipient", "")),
        action=_action(group.get("action", "")),
        status=_status(group.get("status", "")),
        remote_mta=_remote(group.get("remote-mta", "")),
        diagnostic=_TYPE.sub("", diagnostic).strip()[:DIAGNOSTIC_CHARS],
        diagnostic_type=kind.group(0).strip(" ;\t").lower() if kind else "",
    )


def _action(value: str) -> str:
    word = value.split("(", 1)[0].split(";", 1)[0].strip().lower()
    for known, stems in (
        ("failed", ("fail", "error", "bounce", "reject", "denied", "undeliver")),
        ("delayed", ("delay", "defer", "warn", "expir")),
        ("delivered", ("deliver", "success")),
        ("relayed", ("relay",)),
        ("expanded", ("expand",)),
    ):
        if word.startswith(stems):
            return known
    return ""


def _status(value: str) -> str:
    found = _STATUS.search(value)
    if found:
        return found.group(1)
    digits = _STATUS_DIGITS.match(value)
    return ".".join(digits.groups()) if digits else ""


def _remote(value: str) -> str:
    value = _TYPE.sub("", value).strip()
    return value.split()[0].strip("[]<>;,")[:255] if value else ""
