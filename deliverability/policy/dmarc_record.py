"""DMARC policy records. RFC 9989 §4.7, which replaced RFC 7489 §6.3; its `pct`, `rf` and `ri` are read over."""

from __future__ import annotations

__all__ = ("Alignment", "DmarcPolicy", "DmarcRecord", "parse_dmarc", "select_dmarc")

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

import msgspec

from deliverability.policy.tags import Mistake, Tags, parse_tags

Value = TypeVar("Value", bound=StrEnum)


class DmarcPolicy(StrEnum):
    """What the owner asks to be done with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class Alignment(StrEnum):
    """How alike domains must be: of one organisation, or the same."""

    RELAXED = "r"
    STRICT = "s"


class Psd(StrEnum):
    """Whether a domain is a public suffix: yes, no (it is an organisational domain), unsaid."""

    YES = "y"
    NO = "n"
    UNSAID = "u"


class DmarcRecord(msgspec.Struct, frozen=True):
    """A record. `policy` none where p= is missing or unknown and rua= is there (§4.7).

    `subdomains` (sp=) and `nonexistent` (np=) are None where not given. `testing`: t=y, the policy counts one
    step lower. `unusable` names tags whose value was none and that therefore don't count.
    """

    policy: DmarcPolicy
    subdomains: DmarcPolicy | None = None
    nonexistent: DmarcPolicy | None = None
    dkim: Alignment = Alignment.RELAXED
    spf: Alignment = Alignment.RELAXED
    psd: Psd = Psd.UNSAID
    testing: bool = False
    aggregate_uris: tuple[str, ...] = ()
    failure_uris: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    text: str = ""


_v_tag = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")


def select_dmarc(texts: Iterable[bytes]) -> DmarcRecord | Mistake | None:
    """Choose among the texts of `_dmarc`: more than one record counts as none. §4.10 step 2."""
    found = [text for text in texts if _v_tag.match(text)]
    if not found:
        return None
    if len(found) > 1:
        return Mistake("there is more than one DMARC record, so none counts")
    return parse_dmarc(found[0])


def parse_dmarc(record: bytes) -> DmarcRecord | Mistake:
    """Read a record. §4.7: a wrong value counts as the tag's absence."""
    tags = parse_tags(record)
    if isinstance(tags, Mistake):
        return tags
    if next(iter(tags.items()), None) != ("v", "DMARC1"):
        return Mistake("v=DMARC1 must stand first")
    unusable: list[str] = []
    aggregate = _uris(tags, "rua", unusable)
    policy = _choice(DmarcPolicy, tags, "p", unusable)
    if policy is None:
        if not aggregate:
            return Mistake("p= must be none, quarantine or reject")
        policy = DmarcPolicy.NONE
    return DmarcRecord(
        policy,
        _choice(DmarcPolicy, tags, "sp", unusable),
        _choice(DmarcPolicy, tags, "np", unusable),
        _choice(Alignment, tags, "adkim", unusable) or Alignment.RELAXED,
        _choice(Alignment, tags, "aspf", unusable) or Alignment.RELAXED,
        _choice(Psd, tags, "psd", unusable) or Psd.UNSAID,
        tags.get("t", "").lower() == "y",
        aggregate,
        _uris(tags, "ruf", unusable),
        tuple(unusable),
        record.decode(),
    )


def _choice(kind: type[Value], tags: Tags, name: str, unusable: list[str]) -> Value | None:
    if name not in tags:
        return None
    try:
        return kind(tags[name].lower())
    except ValueError:
        unusable.append(name)
        return None


def _uris(tags: Tags, name: str, unusable: list[str]) -> tuple[str, ...]:
    """Addresses of reports; RFC 7489's `!10m` at their end is cut off."""
    if name not in tags:
        return ()
    named = [uri.strip().partition("!")[0] for uri in tags[name].split(",")]
    good = tuple(uri for uri in named if uri.lower().startswith("mailto:") and "@" in uri)
    if len(good) != len(named):
        unusable.append(name)
    return good
