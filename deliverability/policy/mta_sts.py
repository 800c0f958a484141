"""MTA-STS, RFC 8461: a domain says over HTTPS which hosts take its mail, and that they offer TLS.

Two pieces: the TXT record at `_mta-sts`, whose `id` changes when the policy does; and the policy, fetched from
`https://mta-sts.DOMAIN/.well-known/mta-sts.txt`:

    version: STSv1
    mode: enforce
    mx: *.mail.example.com
    max_age: 604800
"""

from __future__ import annotations

__all__ = (
    "POLICY_OCTETS_MAX",
    "Mode",
    "StsPolicy",
    "StsRecord",
    "matches",
    "parse_policy",
    "parse_record",
    "policy_url",
    "select_record",
)

import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from deliverability.dns.names import query_name
from deliverability.policy.tags import Mistake, parse_tags

POLICY_OCTETS_MAX = 65_536  # §3.3: a limit of 64 KB is suggested
_MAX_AGE_S_MAX = 31_557_600  # §3.2
_PATTERNS_MAX = 1000

_id = re.compile(r"[A-Za-z0-9]{1,32}").fullmatch
_digits = re.compile(r"[0-9]{1,10}").fullmatch
_pattern = re.compile(r"(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*").fullmatch


class Mode(StrEnum):
    """What a sender does with a host that doesn't fit. §5."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class StsRecord(msgspec.Struct, frozen=True):
    """The record: when `policy_id` differs from the one known, the policy is to be fetched again. §3.1."""

    policy_id: str


class StsPolicy(msgspec.Struct, frozen=True):
    """A policy. `mx_patterns` in lower case; they may be empty where the mode is none. §3.2."""

    mode: Mode
    mx_patterns: tuple[str, ...]
    max_age_s: int


def policy_url(domain: str) -> str:
    """Tell where the policy is: by GET, redirects not followed, certificate verified. §3.3."""
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def parse_record(record: bytes) -> StsRecord | Mistake:
    """Read `v=STSv1; id=…`. §3.1."""
    tags = parse_tags(record)
    if isinstance(tags, Mistake):
        return tags
    if next(iter(tags.items()), None) != ("v", "STSv1"):
        return Mistake("v=STSv1 must stand first")
    if not _id(tags.get("id", "")):
        return Mistake("id= must be 1 to 32 letters and digits")
    return StsRecord(tags["id"])


def select_record(texts: Iterable[bytes]) -> StsRecord | Mistake | None:
    """Choose among the texts of `_mta-sts`: more than one record counts as none. §3.1."""
    found = [text for text in texts if text.startswith(b"v=STSv1;")]
    if not found:
        return None
    if len(found) > 1:
        return Mistake("there is more than one MTA-STS record")
    return parse_record(found[0])


def parse_policy(body: bytes) -> StsPolicy | Mistake:
    """Read a policy file; lines end in LF or CRLF, unknown keys are skipped, of repeats the first counts. §3.2."""
    if len(body) > POLICY_OCTETS_MAX:
        return Mistake(f"longer than {POLICY_OCTETS_MAX} octets")
    try:
        lines = body.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        return Mistake("not text in UTF-8")
    values: dict[str, str] = {}
    patterns: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, colon, raw_value = line.partition(":")
        value = raw_value.strip()
        if not colon:
            return Mistake(f"line {number}: `key: value` is expected")
        if key.strip() == "mx":
            if not _pattern(value):
                return Mistake(f"line {number}: {value[:80]!r} isn't a host or *.domain")
            patterns.append(value.lower())
        else:
            values.setdefault(key.strip(), value)
    return _policy(values, patterns)


def _policy(values: dict[str, str], patterns: list[str]) -> StsPolicy | Mistake:
    if values.get("version") != "STSv1":
        return Mistake("version: STSv1 is missing")
    mode = values.get("mode", "")
    if mode not in list(Mode):
        return Mistake(f"mode must be {', '.join(Mode)}, is {mode[:40]!r}")
    max_age = values.get("max_age", "")
    if not _digits(max_age) or int(max_age) > _MAX_AGE_S_MAX:
        return Mistake(f"max_age must be 0 to {_MAX_AGE_S_MAX} seconds, is {max_age[:40]!r}")
    if not patterns and mode != Mode.NONE:
        return Mistake("no mx: a policy names at least one host")
    if len(patterns) > _PATTERNS_MAX:
        return Mistake(f"more than {_PATTERNS_MAX} lines of mx")
    return StsPolicy(Mode(mode), tuple(patterns), int(max_age))


def matches(policy: StsPolicy, host: str) -> bool:
    """Tell whether the policy names an MX host; `*.` stands for exactly one label (§4.1, RFC 6125 §6.4)."""
    name = query_name(host)
    parent = name.partition(".")[2]
    return any(
        pattern == name or (bool(parent) and pattern == f"*.{parent}")
        for pattern in policy.mx_patterns
    )
