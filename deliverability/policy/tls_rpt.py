"""Where a domain wants reports on TLS: the record of RFC 8460 §3."""

from __future__ import annotations

__all__ = ("TlsRptRecord", "parse_tls_rpt", "select_tls_rpt")

from collections.abc import Iterable

import msgspec

from deliverability.policy.tags import Mistake, parse_tags


class TlsRptRecord(msgspec.Struct, frozen=True):
    """The addresses that reports go to: `mailto:` and `https:` URIs."""

    uris: tuple[str, ...]


def parse_tls_rpt(record: bytes) -> TlsRptRecord | Mistake:
    """Read `v=TLSRPTv1; rua=mailto:…,https:…`. URIs of other schemes are left out (§3)."""
    tags = parse_tags(record)
    if isinstance(tags, Mistake):
        return tags
    if next(iter(tags.items()), None) != ("v", "TLSRPTv1"):
        return Mistake("v=TLSRPTv1 must stand first")
    uris = [uri.strip() for uri in tags.get("rua", "").split(",")]
    usable = tuple(uri for uri in uris if uri.lower().startswith(("mailto:", "https:")))
    if not usable:
        return Mistake("rua= has no mailto: or https: address")
    return TlsRptRecord(usable)


def select_tls_rpt(texts: Iterable[bytes]) -> TlsRptRecord | Mistake | None:
    """Choose among the texts of `_smtp._tls`: more than one record counts as none (§3)."""
    found = [text for text in texts if text.startswith(b"v=TLSRPTv1;")]
    if not found:
        return None
    if len(found) > 1:
        return Mistake("there is more than one TLS-RPT record")
    return parse_tls_rpt(found[0])
