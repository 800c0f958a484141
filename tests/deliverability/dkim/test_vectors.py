"""Messages that others signed: our canonicalisation gives the octets that their signatures cover.

The vectors lie in ../shared and are not ours to ship. A verifier of forty lines stands here, since the product has none
of its own: it canonicalises with our functions and checks body hash and signature with `cryptography`.
"""

from __future__ import annotations

import json
import re
import tarfile
from base64 import b64decode
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from deliverability.dkim.canonical import relaxed_body, relaxed_header, simple_body, split_headers

VECTORS = Path(__file__).parents[4] / "shared" / "corpora" / "auth-vectors" / "dkim"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not VECTORS.is_dir(), reason="needs ../shared beside the checkout"),
]


@cache
def _files() -> dict[str, bytes]:
    with tarfile.open(VECTORS / "messages.tar.gz") as archive:
        found = ((m.name, archive.extractfile(m)) for m in archive if m.isfile())
        return {name: handle.read() for name, handle in found if handle}


def _crlf(raw: bytes) -> bytes:
    return re.sub(rb"\r?\n", b"\r\n", raw)


def _zone() -> dict[str, str]:
    lines = (VECTORS / "dns" / "mail-dkim.FAKE_DNS.dat").read_text().splitlines()
    pairs = (line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _body_hash(body: bytes, form: str, tags: dict[str, str]) -> bytes:
    canonical = relaxed_body(body) if form == "relaxed" else simple_body(body)
    if "l" in tags:
        canonical = canonical[: int(tags["l"])]
    return sha256(canonical).digest()


def _covered(
    fields: list[tuple[bytes, bytes]], own: tuple[bytes, bytes], form: str, names: str
) -> bytes:
    left = list(fields)
    chosen: list[tuple[bytes, bytes]] = []
    for name in names.split(":"):
        for at in range(len(left) - 1, -1, -1):
            if left[at][0].strip().lower() == name.strip().lower().encode():
                chosen.append(left.pop(at))
                break
    bare = (own[0], re.sub(rb"(^|;)(\s*b\s*=)[^;]*", rb"\1\2", own[1]))
    if form == "relaxed":
        return b"".join(relaxed_header(*f) + b"\r\n" for f in chosen) + relaxed_header(*bare)
    return b"".join(n + b":" + v + b"\r\n" for n, v in chosen) + b":".join(bare)


def _verified(raw: bytes, zone: dict[str, str]) -> list[bool]:
    """For each signature with SHA-256 whose key is known, whether it verifies."""
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = split_headers(head + b"\r\n")
    results = []
    for own in fields:
        if own[0].strip().lower() != b"dkim-signature":
            continue
        tags = _tags(own[1].decode("utf-8", "replace"))
        record = zone.get(f"{tags.get('s')}._domainkey.{tags.get('d')}")
        if record is None or not tags["a"].endswith("-sha256"):
            continue
        header_form, _, body_form = tags.get("c", "simple").partition("/")
        good = _body_hash(body, body_form or "simple", tags) == b64decode(tags["bh"])
        data = _covered([f for f in fields if f is not own], own, header_form, tags["h"])
        results.append(good and _checks(_tags(record), b64decode(tags["b"]), data))
    return results


def _checks(record: dict[str, str], signature: bytes, data: bytes) -> bool:
    raw = b64decode(record["p"])
    try:
        if record.get("k") == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, sha256(data).digest())
        else:
            key = load_der_public_key(raw)
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def test_mail_dkim() -> None:
    """What its authors expect to pass passes, every message of theirs with SHA-256."""
    zone = _zone()
    rows = [json.loads(line) for line in (VECTORS / "expected.jsonl").read_text().splitlines()]
    good = [
        r["file"]
        for r in rows
        if r["expected"] == "pass" and r["source"].startswith("Mail::DKIM") and r["scope"] == "dkim"
    ]
    results = {name: _verified(_crlf(_files()[name]), zone) for name in good}
    checked = {name: found for name, found in results.items() if found}
    assert len(checked) >= 3
    assert [name for name, found in checked.items() if not any(found)] == []


def test_stalwart() -> None:
    """DNS lines, an empty line, a signed message."""
    names = [name for name in _files() if name.startswith("stalwart/")]
    for name in names:
        dns, _, raw = _crlf(_files()[name]).partition(b"\r\n\r\n")
        zone = dict(line.decode().split(None, 1) for line in dns.split(b"\r\n"))
        assert all(found := _verified(raw, {k.rstrip("."): v for k, v in zone.items()}))
        assert found
    assert names


def test_the_example_of_rfc_8463() -> None:
    """Appendix A: both signatures, Ed25519 and RSA, of one message."""
    zone = {
        "brisbane._domainkey.football.example.com": (
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        ),
        "test._domainkey.football.example.com": _files()["dkimpy/test.txt"].decode(),
    }
    raw = _crlf(_files()["mimekit/rfc8463-example.msg"])
    assert _verified(raw, zone) == [True, True]
