"""SMTP TLS reports (RFC 8460): JSON, plain or gzip, with the liberties that reporters take."""

from __future__ import annotations

import re

import msgspec

from deliverability.feedback.limits import UNPACKED_BYTES
from deliverability.feedback.reading import TlsPolicy, TlsReport

__all__ = ("looks_like_tlsrpt", "read_tlsrpt")

_POLICIES = 10_000
_DETAILS = 1_000
_REPORTS = 100
_TRAILING = re.compile(rb",(\s{0,100}[}\]])")
"""A comma before an end: some reporters write it, JSON has none."""
_NAMES = (b'"policies"', b'"organization-name"', b'"report-id"', b'"date-range"')


def looks_like_tlsrpt(data: bytes) -> bool:
    """Say whether the bytes are a JSON object with the names of a TLS report."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(name in data[:65_536] for name in _NAMES)


def read_tlsrpt(data: bytes) -> list[TlsReport]:
    """Read one report, or a list of them; none where neither organisation, report nor policies are named."""
    plain = data[:UNPACKED_BYTES].lstrip(b"\xef\xbb\xbf")
    tree = _tree(plain)
    if tree is None:
        tree = _tree(_TRAILING.sub(rb"\1", plain))
    listed = tree[:_REPORTS] if isinstance(tree, list) else [tree]
    return [report for item in listed if (report := _report(item)) is not None]


def _tree(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _report(tree: object) -> TlsReport | None:
    if (
        not isinstance(tree, dict)
        or not {"policies", "organization-name", "report-id"} & tree.keys()
    ):
        return None
    dates = _mapping(tree.get("date-range"))
    policies = tree.get("policies")
    listed = policies[:_POLICIES] if isinstance(policies, list) else [policies] if policies else []
    return TlsReport(
        organization=_word(tree.get("organization-name")),
        report_id=_word(tree.get("report-id")),
        begin=_word(dates.get("start-datetime")),
        end=_word(dates.get("end-datetime")),
        policies=tuple(_policy(_mapping(item)) for item in listed),
    )


def _policy(item: dict[str, object]) -> TlsPolicy:
    policy, summary = _mapping(item.get("policy")), _mapping(item.get("summary"))
    details = item.get("failure-details")
    failures = [_mapping(d) for d in details[:_DETAILS]] if isinstance(details, list) else []
    return TlsPolicy(
        domain=_word(policy.get("policy-domain")) or None,
        type=_word(policy.get("policy-type")),
        success=_count(summary, "total-successful-session-count"),
        failure=_count(summary, "total-failure-session-count"),
        failures=tuple(
            (_word(d.get("result-type")), _count(d, "failed-session-count") or 0) for d in failures
        ),
    )


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(mapping: dict[str, object], name: str) -> int | None:
    """A count, or None; also under the misspelt plural of early drafts (`…-sessions-count`)."""
    value = mapping.get(name, mapping.get(name.replace("session-count", "sessions-count")))
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value.strip()[:18])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None
