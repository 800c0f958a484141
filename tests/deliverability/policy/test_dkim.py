"""Key records and signatures: ours verify, changed ones don't, published keys are compared; public vectors agree."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from deliverability.compose.composer import compile_template
from deliverability.compose.template import Letter, Profile, Template
from deliverability.dkim.foreign import Canonicalisation, sign_foreign
from deliverability.dkim.keys import SigningKey, dns_record, generate_pem, load_key
from deliverability.dkim.signer import sign
from deliverability.dns.asking import RecordType, run
from deliverability.dns.zone import Zone
from deliverability.policy.dkim_record import KeyRecord, compare, find_key, parse_key_record
from deliverability.policy.dkim_signature import SignatureVerdict, read_signatures, verify

NOW = 1_790_000_000_000
HEADERS = b"From: a@shop.example\r\nTo: b@c.example\r\nSubject:  Two  spaces\r\n and a fold\r\nTo: twice@c.example"
BODY = b"Hello \t there\r\n\r\n.dot\r\n\r\n\r\n"


@pytest.fixture(scope="module")
def rsa_key() -> SigningKey:
    return load_key(generate_pem("rsa-sha256"), "shop.example", "r1")


@pytest.fixture(scope="module")
def ed_key() -> SigningKey:
    return load_key(generate_pem("ed25519-sha256"), "shop.example", "e1")


def zone_of(*records: tuple[str, str]) -> Zone:
    return Zone({name: {RecordType.TXT: (text.encode(),)} for name, text in records})


def published(*keys: SigningKey) -> Zone:
    return zone_of(*((f"{key.selector}._domainkey.{key.domain}", dns_record(key)) for key in keys))


def check(raw: bytes, zone: Zone, now: int = NOW) -> list[SignatureVerdict]:
    headers, _, body = raw.partition(b"\r\n\r\n")
    return [
        run(verify(signature, headers, body, now), zone.answer)
        for signature in read_signatures(headers)
    ]


@pytest.mark.parametrize(
    "form", ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]
)
def test_our_signatures_verify_in_all_forms(
    rsa_key: SigningKey, ed_key: SigningKey, form: Canonicalisation
) -> None:
    """Both algorithms, four canonicalisations, fields that stand twice."""
    signed = sign_foreign(HEADERS, BODY, (rsa_key, ed_key), NOW, canonicalisation=form)
    raw = signed + HEADERS + b"\r\n\r\n" + BODY
    verdicts = check(raw, published(rsa_key, ed_key))
    assert [one.why_not for one in verdicts] == ["", ""]
    assert [one.signature.algorithm for one in verdicts] == ["rsa-sha256", "ed25519-sha256"]


def test_what_the_composer_makes_verifies(rsa_key: SigningKey, ed_key: SigningKey) -> None:
    """The fast signer and this verifier agree."""
    template = Template("t", "Grüße {{ x }}", "<p>Hi {{ x }}</p>", "a@shop.example")
    letter = Letter("ab" * 16, "default", "b@c.example", NOW, {"x": "y" * 100})
    composed = compile_template(template, Profile()).compose(letter)
    raw = sign(composed, (rsa_key, ed_key), NOW) + composed.headers + b"\r\n" + composed.body
    assert [one.why_not for one in check(raw, published(rsa_key, ed_key))] == ["", ""]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"Hello", b"Hullo", "body has changed"),
        (b"Two", b"Three", "doesn't fit"),
        (b"From: a@", b"From: b@", "doesn't fit"),
        (b"To: b@", b"Reply-To: x@y.example\r\nTo: b@", "doesn't fit"),  # oversigned
        (b"s=r1", b"s=r2", "no such name"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "doesn't count"),
        (b"v=1", b"v=2", "v=1"),
    ],
)
def test_changes_are_seen(rsa_key: SigningKey, old: bytes, new: bytes, why: str) -> None:
    """Each says what is wrong."""
    raw = sign_foreign(HEADERS, BODY, (rsa_key,), NOW) + HEADERS + b"\r\n\r\n" + BODY
    assert old in raw
    (verdict,) = check(raw.replace(old, new, 1), published(rsa_key))
    assert why in verdict.why_not


def test_white_space_may_change_where_relaxed(rsa_key: SigningKey) -> None:
    """RFC 6376 §3.4.2, §3.4.4."""
    raw = sign_foreign(HEADERS, BODY, (rsa_key,), NOW) + HEADERS + b"\r\n\r\n" + BODY
    changed = raw.replace(b"Subject:  Two  spaces", b"subject: Two spaces").replace(
        b" \t there", b" there  "
    )
    assert check(changed, published(rsa_key))[0].passes


def test_an_expired_signature_does_not_count(rsa_key: SigningKey) -> None:
    """x=."""
    raw = sign_foreign(HEADERS, BODY, (rsa_key,), NOW, 60) + HEADERS + b"\r\n\r\n" + BODY
    assert check(raw, published(rsa_key), NOW + 59_000)[0].passes
    assert "expired" in check(raw, published(rsa_key), NOW + 61_000)[0].why_not


def test_published_keys_are_compared(rsa_key: SigningKey, ed_key: SigningKey) -> None:
    """Match, another key, another type, revoked, not there, two records, other hash or service."""
    name = "r1._domainkey.shop.example"
    good = dns_record(rsa_key)
    other = dns_record(load_key(generate_pem("rsa-sha256"), "shop.example", "r1"))
    for text, why in (
        (good, ""),
        (good.replace("v=DKIM1; k=rsa; ", ""), ""),
        (good + "; h=sha256:sha1; s=email; t=y; n=note", ""),
        (other, "another key"),
        (dns_record(ed_key), "holds an ed25519 key"),
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM1; k=rsa", "no p="),
        ("v=DKIM1; p=!!", "base64"),
        ("k=rsa; v=DKIM1; p=", "stand first"),
        (good + "; h=sha1", "hashes"),
        (good + "; s=tlsrpt", "not for email"),
    ):
        found = run(find_key("r1", "shop.example"), zone_of((name, text)).answer)
        assert why in compare(found, rsa_key), text
        assert bool(why) is bool(compare(found, rsa_key)), text
    assert "no such name" in compare(run(find_key("r9", "shop.example"), Zone({}).answer), rsa_key)
    two = Zone({name: {RecordType.TXT: (good.encode(), good.encode())}})
    assert "2 TXT" in compare(run(find_key("r1", "shop.example"), two.answer), rsa_key)


def test_records_tell_their_strength(rsa_key: SigningKey) -> None:
    """Bits, flags, and keys that can't be loaded."""
    record = parse_key_record((dns_record(rsa_key) + "; t=y:s").encode())
    assert isinstance(record, KeyRecord)
    assert (record.bits, record.testing, record.strict) == (2048, True, True)
    broken = parse_key_record(b"v=DKIM1; p=AAAA")
    assert isinstance(broken, KeyRecord)
    assert (broken.bits, bool(broken.why_unusable)) == (0, True)


def test_the_public_vectors(shared: Path) -> None:
    """Mail::DKIM's mails: what passes there passes here, unless RFC 8301 forbids it; what fails there never passes."""
    folder = shared / "corpora/auth-vectors/dkim"
    records = {}
    for line in (folder / "dns/mail-dkim.FAKE_DNS.dat").read_text("latin-1").splitlines():
        name, _, text = line.partition(" ")
        if name and text.strip() and not name.startswith("#"):
            records[name.lower()] = {RecordType.TXT: (text.strip().encode("latin-1"),)}
    zone = Zone(records)
    right = 0
    with tarfile.open(folder / "messages.tar.gz") as archive:
        for line in (folder / "expected.jsonl").read_text("utf-8").splitlines():
            case = json.loads(line)
            if case["scope"] != "dkim" or "Mail::DKIM" not in case["source"]:
                continue
            member = archive.extractfile(case["file"])
            assert member is not None
            raw = re.sub(rb"(?<!\r)\n", b"\r\n", member.read())
            passes = any(one.passes for one in check(raw, zone, 1_200_000_000_000))
            wanted = case["expected"] == "pass" and not case.get("rfc8301_weak")
            if passes != wanted:
                assert case["expected"] == "pass", case["file"]  # never laxer than they
            else:
                right += 1
    assert right >= 20
