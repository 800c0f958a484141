"""TLS contexts by what is demanded, and what came of handshakes: DANE, reasons for reports, broken hosts."""

from __future__ import annotations

__all__ = ("BrokenTls", "TlsContexts", "TlsWatch", "failure_type")

import datetime as dt
import ssl
from collections import OrderedDict
from typing import Any, Protocol, cast

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deliverability.policy.dane import DANE_TA, matches_end_entity, matching_authority
from deliverability.policy.tls_demand import TlsDemand

_BROKEN_MAX = 100_000
_DER = 2  # `_ssl.ENCODING_DER`
_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, …_HAS_EXPIRED
_HOSTNAME = (62, 64)  # …_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH


class TlsContexts:
    """The two contexts that sessions need. Raises: OSError: `ca_file` can't be read."""

    def __init__(self, ca_file: str = "") -> None:
        self.verified = ssl.create_default_context(cafile=ca_file or None)
        self.open = ssl.create_default_context()
        self.open.check_hostname = False
        self.open.verify_mode = ssl.CERT_NONE  # opportunistic, or checked by DANE afterwards

    def of(self, demand: TlsDemand) -> ssl.SSLContext:
        """Give the context for what a host must fulfil."""
        return self.verified if demand.level == "verified" else self.open


class BrokenTls:
    """Hosts whose TLS failed, remembered for a while, so that not every session fails first. Bounded."""

    def __init__(self, memory_ms: int) -> None:
        self._memory_ms = memory_ms
        self._until: OrderedDict[str, int] = OrderedDict()

    def remember(self, host: str, now: int) -> None:
        """Note a failure."""
        self._until[host] = now + self._memory_ms
        self._until.move_to_end(host)
        if len(self._until) > _BROKEN_MAX:
            self._until.popitem(last=False)

    def holds(self, host: str, now: int) -> bool:
        """Tell whether a host failed lately."""
        until = self._until.get(host)
        if until is None:
            return False
        if now >= until:
            del self._until[host]
            return False
        return True


class TlsWatch:
    """Looks at the handshake of one session.

    Args:
        demand: what the host must fulfil.
        host: its name.
        now: wall time in seconds, for the dates of certificates.
    """

    def __init__(self, demand: TlsDemand, host: str, now: float) -> None:
        self._demand = demand
        self._host = host
        self._now = now
        self.failure = ""
        """The result type of RFC 8460 §4.3; empty: no failure."""
        self.reason = ""
        self.version = ""

    def accepts(self, tls: ssl.SSLObject) -> str:
        """Check DANE where it is demanded."""
        self.version = tls.version() or ""
        if self._demand.level != "dane":
            return ""
        self.reason = _dane_refusal(self._demand, self._host, tls, self._now)
        self.failure = "validation-failure" if self.reason else ""
        return self.reason

    def failed(self, error: OSError) -> None:
        """Note why the handshake failed."""
        self.failure = failure_type(error)
        self.reason = str(error)[:200]


def failure_type(error: OSError) -> str:
    """Name a failed handshake in the words of RFC 8460 §4.3.2."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return "certificate-expired"
        if error.verify_code in _HOSTNAME:
            return "certificate-host-mismatch"
        return "certificate-not-trusted"
    return "validation-failure"


def _dane_refusal(demand: TlsDemand, host: str, tls: ssl.SSLObject, now: float) -> str:
    certificate = tls.getpeercert(binary_form=True)
    if certificate is None:
        return "the server shows no certificate"
    if matches_end_entity(demand.tlsa, certificate):
        return ""
    if not any(record.usage == DANE_TA for record in demand.tlsa):
        return "the certificate fits none of the TLSA records"
    chain = _chain(tls)
    place = matching_authority(demand.tlsa, chain)
    if place is None:
        return "no certificate of the chain fits the TLSA records"
    return _path_refusal(chain, place, host, now)


class _Certificate(Protocol):
    def public_bytes(self, form: int, /) -> bytes: ...


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """All certificates that the server sent (DER). Python has a public name for it from 3.13 on."""
    inner = cast("Any", tls)._sslobj
    sent: list[_Certificate] = inner.get_unverified_chain() or []
    return [one.public_bytes(_DER) for one in sent]


def _path_refusal(chain: list[bytes], place: int, host: str, now: float) -> str:
    """Check name, dates and signatures up to the authority that DANE names. RFC 7672 §3.1.2."""
    try:
        loaded = [x509.load_der_x509_certificate(one) for one in chain]
        if place == 0:
            return "a TLSA record of usage 2 names the server's own certificate"
        at = dt.datetime.fromtimestamp(now, dt.UTC)
        verifier = (
            PolicyBuilder()
            .store(Store([loaded[place]]))
            .time(at)
            .build_server_verifier(x509.DNSName(host))
        )
        verifier.verify(loaded[0], loaded[1:place])
    except (VerificationError, ValueError) as error:
        return f"the chain up to the authority of the TLSA record doesn't hold: {error}"[:300]
    return ""
