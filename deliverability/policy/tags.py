"""Lists of tags, `v=DMARC1; p=none`: what DKIM, DMARC, MTA-STS and TLS-RPT records are made of. RFC 6376 §3.2."""

from __future__ import annotations

__all__ = ("RECORD_OCTETS_MAX", "Mistake", "Tags", "parse_tags")

import re
from typing import NewType

import msgspec

RECORD_OCTETS_MAX = 16_384  # four times what fits an answer that anybody would serve
Tags = NewType("Tags", dict[str, str])
"""Values by name, in their order; names keep their case."""

_name = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}").fullmatch


class Mistake(msgspec.Struct, frozen=True):
    """Why a record or policy isn't one, for its owner to mend."""

    why: str


def parse_tags(record: bytes) -> Tags | Mistake:
    """Take a record to pieces. White space around names and values doesn't count; a last `;` may stand."""
    if len(record) > RECORD_OCTETS_MAX:
        return Mistake(f"longer than {RECORD_OCTETS_MAX} octets")
    try:
        text = record.decode()
    except UnicodeDecodeError:
        return Mistake("not text in UTF-8")
    tags = Tags({})
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        raw_name, equals, value = part.partition("=")
        name = raw_name.strip()
        if not equals or not _name(name):
            return Mistake(f"a tag such as name=value is expected, got {part.strip()[:60]!r}")
        if name in tags:
            return Mistake(f"the tag {name} stands twice")
        tags[name] = value.strip()
    return tags
