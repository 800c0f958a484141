"""DANE for SMTP, RFC 7672: TLSA records say which certificate an MX host shows. Pure.

Usable are usage 3 (DANE-EE: this very certificate or key; names and dates don't matter, §3.1.1) and usage 2 (DANE-TA:
an authority in the chain; the name must match, §3.1.2). Usages 0 and 1 are not used in SMTP (§3.1.3). A host whose
records are all unusable must be spoken to over TLS, unauthenticated (§2.2); one whose records can't be looked up
isn't spoken to at all.
"""

from __future__ import annotations

__all__ = ("DANE_EE", "DANE_TA", "matches_end_entity", "matching_authority", "usable")

import hashlib
from collections.abc import Iterable, Sequence
from hmac import compare_digest

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deliverability.dns.asking import TlsaRecord

DANE_TA = 2
DANE_EE = 3
_HASHED_OCTETS = {1: 32, 2: 64}


def usable(records: Iterable[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Give the records that SMTP can use: known usage, selector and matching type, data of the right length."""
    return tuple(
        record
        for record in records
        if record.usage in (DANE_TA, DANE_EE)
        and record.selector in (0, 1)
        and record.matching in (0, 1, 2)
        and len(record.data) == _HASHED_OCTETS.get(record.matching, len(record.data))
        and record.data
    )


def matches_end_entity(records: Iterable[TlsaRecord], certificate: bytes) -> bool:
    """Tell whether a record of usage 3 fits the server's certificate (DER)."""
    return any(record.usage == DANE_EE and _fits(record, certificate) for record in records)


def matching_authority(records: Sequence[TlsaRecord], chain: Sequence[bytes]) -> int | None:
    """Give the place in the chain (0 is the server's own) of an authority that a record of usage 2 names."""
    for place, certificate in enumerate(chain):
        if any(record.usage == DANE_TA and _fits(record, certificate) for record in records):
            return place
    return None


def _fits(record: TlsaRecord, certificate: bytes) -> bool:
    """RFC 6698 §2.1.2, §2.1.3: select the whole certificate or its key, whole or hashed."""
    selected = certificate
    if record.selector == 1:
        try:
            key = x509.load_der_x509_certificate(certificate).public_key()
            selected = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError:
            return False
    if record.matching == 1:
        selected = hashlib.sha256(selected).digest()
    elif record.matching == 2:
        selected = hashlib.sha512(selected).digest()
    return compare_digest(selected, record.data)
