"""A self-signed certificate for a twin's STARTTLS, made anew for each server and never stored."""

from __future__ import annotations

__all__ = ("self_signed_pem", "server_context")

import datetime as dt
import os
import ssl
import tempfile
from pathlib import Path

_VALID_DAYS = 30


def server_context(hostname: str, now_s: float) -> ssl.SSLContext:
    """Make a TLS context with a fresh P-256 key and a certificate that nobody vouches for.

    `now_s` is the wall clock, seconds since 1970: TLS knows no log time.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads certificates from files alone; this one is gone before anyone is served.
    handle, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(self_signed_pem(hostname, dt.datetime.fromtimestamp(now_s, dt.UTC)))
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context


def self_signed_pem(hostname: str, now: dt.datetime) -> bytes:
    """Make a key and a certificate of its own for a host, in one PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
