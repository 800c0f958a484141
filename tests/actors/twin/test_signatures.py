"""Verdicts on signatures."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.twin.signatures import SIGNATURES_MAX, keys_in, verify

MAIL = b"From: <a@s.example>\r\nSubject: hi\r\n\r\nHello\r\n"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def record(key: rsa.RSAPrivateKey) -> bytes:
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


@pytest.fixture(scope="module")
def sign(key: rsa.RSAPrivateKey) -> Callable[[bytes, bytes], bytes]:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )

    def signed(mail: bytes, selector: bytes) -> bytes:
        return bytes(dkim.sign(mail, selector, b"s.example", private)) + mail

    return signed


def test_verdicts(sign: Callable[[bytes, bytes], bytes], record: bytes) -> None:
    """Good, altered, unsigned and unknown are told apart, with domain, selector and reason."""
    keys = {"k._domainkey.s.example": record}.get
    good = sign(MAIL, b"k")
    verdict, (one,) = verify(good, keys)
    assert (verdict, one.domain, one.selector, one.algorithm) == (
        "pass",
        "s.example",
        "k",
        "rsa-sha256",
    )
    assert verify(good + b"more\r\n", keys)[0] == "fail"
    assert verify(MAIL, keys) == ("none", ())
    verdict, (one,) = verify(sign(MAIL, b"other"), keys)
    assert verdict == "unknown"
    assert "other._domainkey.s.example" in one.reason


def test_several_signatures(sign: Callable[[bytes, bytes], bytes], record: bytes) -> None:
    """One that can't be verified doesn't spoil a good one; a bad one does."""
    keys = {"k._domainkey.s.example": record, "bad._domainkey.s.example": b"v=DKIM1; p=AAAA"}.get
    assert verify(sign(sign(MAIL, b"k"), b"nokey"), keys)[0] == "pass"
    assert verify(sign(sign(MAIL, b"k"), b"bad"), keys)[0] == "fail"


@pytest.mark.parametrize(
    "field",
    [b"", b"v=1", b"v=1; a=rsa-sha256; d=s.example; s=k; h=from; bh=x; b=y", b";;;=;", b"\xff\xfe"],
)
def test_hostile_signatures(field: bytes, record: bytes) -> None:
    """A malformed signature fails with a reason, however many there are."""
    mail = b"DKIM-Signature: %s\r\n" % field * 30 + MAIL
    verdict, found = verify(mail, lambda _: record)
    assert verdict == "fail"
    assert len(found) == SIGNATURES_MAX
    assert all(one.reason for one in found)


def test_keys_of_a_data_directory(tmp_path: Path) -> None:
    """Records are found in `keys` inside and beside the data directory, also when added later."""
    data = tmp_path / ".veredus"
    look_up = keys_in(data)
    assert look_up("a._domainkey.s.example") is None
    for folder, selector in ((data / "keys", "a"), (tmp_path / "keys", "b")):
        folder.mkdir(parents=True)
        line = f'{selector}._domainkey.S.example. IN TXT "v=DKIM1; p={selector}"\n'
        (folder / f"{selector}.dns.txt").write_text(f"; a comment\n{line}")
    (data / "keys" / "noise.txt").write_bytes(b"\x00\xff TXT\n" * 100)
    assert look_up("a._domainkey.s.example") == b"v=DKIM1; p=a"
    assert look_up("b._domainkey.s.example") == b"v=DKIM1; p=b"
    assert look_up("../../etc/passwd") is None
