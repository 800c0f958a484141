"""Keys: read with clear errors, published as the RFCs have it, and never shown."""

from __future__ import annotations

import pickle
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deliverability.dkim.keys import (
    SigningKey,
    dns_name,
    dns_record,
    dns_strings,
    generate_pem,
    load_key,
)
from engine.errors import InputError


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return load_key(generate_pem("rsa-sha256"), "Sender.example", "s2026")


def test_dns_record(key: SigningKey) -> None:
    """RFC 6376 §3.6.1 and §3.6.2.1; strings of at most 255 octets that join to the text."""
    assert dns_name(key) == "s2026._domainkey.sender.example"
    text = dns_record(key)
    assert text.startswith("v=DKIM1; k=rsa; p=")
    public = ser.load_der_public_key(b64decode(text.rpartition("p=")[2]))
    assert isinstance(public, rsa.RSAPublicKey)
    assert 2048 == public.key_size == key.bits
    strings = dns_strings(key)
    assert text == "".join(strings)
    assert len(strings) == 2
    assert max(map(len, strings)) <= 255


def test_ed25519_record() -> None:
    """RFC 8463 §4: 32 bare bytes."""
    key = load_key(generate_pem("ed25519-sha256"), "sender.example", "e1")
    text = dns_record(key)
    assert text.startswith("v=DKIM1; k=ed25519; p=")
    assert len(b64decode(text.rpartition("p=")[2])) == 32
    assert (text,) == dns_strings(key)


def _pem(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    form: ser.PrivateFormat,
    secret: bytes = b"",
) -> bytes:
    lock = ser.BestAvailableEncryption(secret) if secret else ser.NoEncryption()
    return private.private_bytes(ser.Encoding.PEM, form, lock)


def test_pkcs1_is_read(key: SigningKey) -> None:
    """The form that `openssl genrsa` wrote for years."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    read = load_key(_pem(private, ser.PrivateFormat.TraditionalOpenSSL), "a.example", "s")
    assert read.bits == 1024


def test_mistakes_are_told() -> None:
    """Where, what it is instead, and how to mend it; nothing of the key."""
    curve = ec.generate_private_key(ec.SECP256R1())
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    public = small.public_key().public_bytes(
        ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo
    )
    cases = (
        (b"", "not a private key in PEM form"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "not a private key in PEM form",
        ),
        (public, "this is a public key"),
        (_pem(curve, ser.PrivateFormat.PKCS8), "neither RSA nor Ed25519"),
        (_pem(small, ser.PrivateFormat.PKCS8, b"pass"), "the key is encrypted with a passphrase"),
    )
    for pem, why in cases:
        with pytest.raises(InputError, match=rf"^keys/a\.pem: {why}"):
            load_key(pem, "a.example", "s", "keys/a.pem")


def test_bad_names() -> None:
    """Domain and selector are host names."""
    pem = generate_pem("ed25519-sha256")
    with pytest.raises(InputError, match=r"^dkim\.domain: "):
        load_key(pem, "a b; x=1", "s")
    with pytest.raises(InputError, match=r"^dkim\.selector: "):
        load_key(pem, "a.example", "s;\r\n")
    with pytest.raises(InputError, match="choose 2048"):
        generate_pem("rsa-sha256", 512)


def test_keys_stay(key: SigningKey) -> None:
    """Not pickled, not shown."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    assert repr(key) == "SigningKey(s2026._domainkey.sender.example, rsa-sha256, 2048)"
