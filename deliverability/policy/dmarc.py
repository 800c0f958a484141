"""DMARC: whose policy counts, which domains are of one organisation, and whether they align. RFC 9989 §4.10.

No list of public suffixes: the organisational domain is found by walking up the tree of names and asking each for
its record (at most eight look-ups, long names skip to seven labels). So it is right for domains that publish, and a
domain below which nobody publishes is its own organisation.
"""

from __future__ import annotations

__all__ = ("DmarcFound", "TreeWalk", "aligned", "find_dmarc", "organisational_domain", "walk")

import msgspec

from deliverability.dns.asking import Asking, Outcome, RecordType, ask
from deliverability.dns.names import query_name
from deliverability.policy.dmarc_record import (
    Alignment,
    DmarcPolicy,
    DmarcRecord,
    Psd,
    select_dmarc,
)
from deliverability.policy.tags import Mistake

_LABELS_MAX = 8  # §4.10 step 4
_LABELS_AFTER = 7

_LOWER = {
    DmarcPolicy.REJECT: DmarcPolicy.QUARANTINE,
    DmarcPolicy.QUARANTINE: DmarcPolicy.NONE,
    DmarcPolicy.NONE: DmarcPolicy.NONE,
}


class TreeWalk(msgspec.Struct, frozen=True):
    """The records on the way up, by domain, the longest first; mistakes met; and look-ups that failed."""

    domain: str
    records: dict[str, DmarcRecord] = {}
    mistakes: dict[str, str] = {}
    failed: dict[str, Outcome] = {}

    @property
    def organisation(self) -> str:
        """The organisational domain. §4.10.2."""
        for name, record in self.records.items():
            if record.psd is Psd.NO:
                return name
            if record.psd is Psd.YES and name != self.domain:
                return _one_below(self.domain, name)
        return list(self.records)[-1] if self.records else self.domain


class DmarcFound(msgspec.Struct, frozen=True):
    """The record that counts for an author's domain, and where it stands; None where there is none.

    `policy` is what the owner asks for mail of that very domain, t= counted in.
    """

    domain: str
    organisation: str
    record: DmarcRecord | None = None
    published_at: str = ""
    policy: DmarcPolicy | None = None
    walk: TreeWalk = TreeWalk("")


def walk(domain: str) -> Asking[TreeWalk]:
    """Walk up from a domain. §4.10."""
    records: dict[str, DmarcRecord] = {}
    mistakes: dict[str, str] = {}
    failed: dict[str, Outcome] = {}
    start = query_name(domain)
    for name in _steps(start):
        answer = yield from ask(f"_dmarc.{name}", RecordType.TXT)
        if not answer.outcome.settled:
            failed[name] = answer.outcome
            continue
        found = select_dmarc(answer.texts)
        if isinstance(found, Mistake):
            mistakes[name] = found.why
        elif found is not None:
            records[name] = found
            if found.psd is Psd.NO or (found.psd is Psd.YES and name != start):
                break
    return TreeWalk(start, records, mistakes, failed)


def find_dmarc(domain: str) -> Asking[DmarcFound]:
    """Find the policy for an author's domain: its own, its organisation's, its public suffix's. §4.10.1."""
    walked = yield from walk(domain)
    organisation = walked.organisation
    suffix = next((name for name, found in walked.records.items() if found.psd is Psd.YES), "")
    for name in (walked.domain, organisation, suffix):
        record = walked.records.get(name)
        if record is not None:
            policy = yield from _policy(record, walked.domain, name)
            return DmarcFound(walked.domain, organisation, record, name, policy, walked)
    return DmarcFound(walked.domain, organisation, walk=walked)


def organisational_domain(domain: str) -> Asking[str]:
    """Find the organisational domain of a domain. §4.10.2."""
    walked = yield from walk(domain)
    return walked.organisation


def aligned(author: DmarcFound, domain: str, mode: Alignment) -> Asking[bool]:
    """Tell whether an authenticated domain aligns with the author's. §4.10.2, §3.2.10."""
    name = query_name(domain)
    if name == author.domain:
        return True
    if mode is Alignment.STRICT or not name:
        return False
    return (yield from organisational_domain(name)) == author.organisation


def _policy(record: DmarcRecord, domain: str, published_at: str) -> Asking[DmarcPolicy]:
    """p=, or below the domain that publishes sp=, or np= for a name that doesn't exist. §4.7."""
    policy = record.policy
    if domain != published_at:
        policy = record.subdomains or policy
        if record.nonexistent is not None:
            answer = yield from ask(domain, RecordType.A)
            if answer.outcome is Outcome.NXDOMAIN:
                policy = record.nonexistent
    return _LOWER[policy] if record.testing else policy


def _steps(domain: str) -> list[str]:
    """The names to ask."""
    if not domain:
        return []
    labels = domain.split(".")
    names = [domain]
    if len(labels) > _LABELS_MAX:
        labels = labels[-_LABELS_AFTER - 1 :]
    while len(labels) > 1:
        labels = labels[1:]
        names.append(".".join(labels))
    return names


def _one_below(domain: str, suffix: str) -> str:
    above = domain.removesuffix(f".{suffix}").split(".")
    return f"{above[-1]}.{suffix}"
