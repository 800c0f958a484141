"""DKIM keys: made, read from PEM, and published as DNS records.

RFC 6376 §3.6.1, RFC 8463, RFC 8301 §3.2.
"""

from __future__ import annotations

__all__ = (
    "Algorithm",
    "SigningKey",
    "dns_name",
    "dns_record",
    "dns_strings",
    "generate_pem",
    "load_key",
)

from base64 import b64encode
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from deliverability.compose.addresses import parse_domain
from engine.errors import InputError, Place

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

_PKCS1 = padding.PKCS1v15()
_DIGEST = utils.Prehashed(hashes.SHA256())
_MIN_RSA_BITS = 1024  # RFC 8301 §3.2: signers MUST use at least 1024, SHOULD use at least 2048
_MAX_RSA_BITS = 4096  # verifiers need not go further
_STRING = 255  # RFC 1035 §3.3.14: octets of a character-string


class SigningKey:
    """A private key with the domain (d=) and selector (s=) under which its public half is published.

    Never shown, never pickled. `sign_digest` may be called from several threads.
    """

    __slots__ = ("_private", "algorithm", "bits", "domain", "selector")

    def __init__(
        self, domain: str, selector: str, private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    ) -> None:
        self.domain = parse_domain(domain, "dkim.domain")
        self.selector = parse_domain(selector, "dkim.selector")
        self._private = private
        self.algorithm: Algorithm
        if isinstance(private, rsa.RSAPrivateKey):
            self.algorithm, self.bits = "rsa-sha256", private.key_size
        else:
            self.algorithm, self.bits = "ed25519-sha256", 256

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign the SHA-256 of what RFC 6376 §3.7 says.

        Hot: this is the cost that all else is measured beside.
        """
        if isinstance(self._private, rsa.RSAPrivateKey):
            return self._private.sign(digest, _PKCS1, _DIGEST)
        return self._private.sign(digest)  # RFC 8463 §3: PureEdDSA over the hash

    def public_bytes(self) -> bytes:
        """Give what p= holds.

        SubjectPublicKeyInfo for RSA, the 32 bare bytes for Ed25519 (RFC 8463 §4).
        """
        public = self._private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return public.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def __repr__(self) -> str:
        """Name the key, never show it."""
        return (
            f"SigningKey({self.selector}._domainkey.{self.domain}, {self.algorithm}, {self.bits})"
        )

    def __reduce__(self) -> str:
        """Refuse to be pickled: a private key stays in the process that read it."""
        raise TypeError("a signing key is not pickled; give the process its PEM")


def load_key(pem: bytes, domain: str, selector: str, where: str = "") -> SigningKey:
    """Read a private key, RSA (1024 to 4096 bits) or Ed25519, unencrypted PEM (PKCS#8 or PKCS#1).

    `where` (a file, an environment variable) is named in errors; no part of the key is.

    Raises:
        InputError: what it is instead, and how to make a good one.
    """
    place = Place(file=where, path="" if where else "dkim.key")
    mend = "make one with `veredus dkim keygen`"
    if b"PUBLIC KEY" in pem and b"PRIVATE KEY" not in pem:
        raise InputError("this is a public key, the private one is needed", place)
    try:
        private = load_pem_private_key(pem, None)
    except TypeError:
        raise InputError(
            "the key is encrypted with a passphrase", place, "decrypt it: openssl pkey -in … -out …"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("not a private key in PEM form", place, mend) from None
    if isinstance(private, rsa.RSAPrivateKey):
        if not _MIN_RSA_BITS <= private.key_size <= _MAX_RSA_BITS:
            raise InputError(
                f"RSA with {private.key_size} bits; 1024 to 4096 are expected", place, mend
            )
        return SigningKey(domain, selector, private)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return SigningKey(domain, selector, private)
    raise InputError("neither RSA nor Ed25519, the two that DKIM knows", place, mend)


def generate_pem(algorithm: Algorithm, bits: int = 2048) -> bytes:
    """Make a private key and give it as PKCS#8 PEM; `bits` counts for RSA only.

    Takes its chance from the system.

    Raises:
        InputError: not 2048, 3072 or 4096 bits.
    """
    if algorithm == "ed25519-sha256":
        return _pem(ed25519.Ed25519PrivateKey.generate())
    if bits not in (2048, 3072, 4096):
        raise InputError(f"{bits} bits", Place(path="bits"), "choose 2048, 3072 or 4096")
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def dns_name(key: SigningKey) -> str:
    """Tell the name of the TXT record. RFC 6376 §3.6.2.1."""
    return f"{key.selector}._domainkey.{key.domain}"


def dns_record(key: SigningKey) -> str:
    """Give the text of the record, in one piece. RFC 6376 §3.6.1."""
    kind = "rsa" if key.algorithm == "rsa-sha256" else "ed25519"
    return f"v=DKIM1; k={kind}; p={b64encode(key.public_bytes()).decode()}"


def dns_strings(key: SigningKey) -> tuple[str, ...]:
    """Give the text cut into strings of at most 255 octets.

    A resolver joins them without a space.
    """
    text = dns_record(key)
    return tuple(text[at : at + _STRING] for at in range(0, len(text), _STRING))


def _pem(private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
