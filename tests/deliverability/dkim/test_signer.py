"""Signatures of composed messages: verified by dkimpy, covering what they must, made in two steps or one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dkim
import pytest

from deliverability.compose.template import Composed, Profile
from deliverability.dkim.keys import SigningKey, dns_name, dns_record, generate_pem, load_key
from deliverability.dkim.signer import OVERSIGNED, finish, prepare, sign
from tests.deliverability.compose.letters import NOW, compose, template

YEAR = 365 * 86400


@pytest.fixture(scope="module")
def keys() -> list[SigningKey]:
    return [
        load_key(generate_pem("rsa-sha256"), "sender.example", "r1"),
        load_key(generate_pem("ed25519-sha256"), "sender.example", "e1"),
        load_key(generate_pem("rsa-sha256"), "platform.example", "p1"),
    ]


@pytest.fixture(scope="module")
def composed() -> Composed:
    return compose(
        template("<p>Hello  {{ n }}</p>\n.", subject="Zoë " * 30),
        Profile(),
        variables={"n": "Zoë"},
        stream="marketing",
        unsubscribe_url="https://sender.example/u/1",
    )


def verify(raw: bytes, keys: Sequence[SigningKey], index: int = 0) -> bool:
    records = {f"{dns_name(key)}.".encode(): dns_record(key).encode() for key in keys}
    return bool(dkim.DKIM(raw).verify(index, dnsfunc=lambda name, timeout=5: records[name]))


def whole(composed: Composed, signatures: bytes) -> bytes:
    return signatures + composed.headers + b"\r\n" + composed.body


def test_all_signatures_verify(composed: Composed, keys: list[SigningKey]) -> None:
    """Both algorithms and both domains on one message."""
    raw = whole(composed, sign(composed, keys, NOW))
    assert [verify(raw, keys, index) for index in range(3)] == [True] * 3


def test_two_steps_are_one(composed: Composed, keys: list[SigningKey]) -> None:
    """A batch signed elsewhere, from digests of 32 bytes, gives the same field."""
    prepared = [prepare(composed, key, NOW) for key in keys]
    assert [len(p.digest) for p in prepared] == [32] * 3
    fields = [finish(p, key.sign_digest(p.digest)) for p, key in zip(prepared, keys, strict=True)]
    assert sign(composed, keys, NOW) == b"".join(fields)


def test_what_is_covered(composed: Composed, keys: list[SigningKey]) -> None:
    """Every field that was composed; those that matter once more than they occur. RFC 6376 §5.4, RFC 8058 §4."""
    field = sign(composed, keys[:1], NOW).decode().replace("\r\n ", "")
    names = re.search(r";h=([^;]+);", field)
    assert names
    assert [*composed.fields.split(":"), *OVERSIGNED] == names[1].split(":")
    assert {"list-unsubscribe", "list-unsubscribe-post", "feedback-id"} <= set(names[1].split(":"))


@pytest.mark.parametrize(
    "added",
    [
        *(b"From: evil@x.example\r\n", b"Subject: other\r\n", b"Reply-To: evil@x.example\r\n"),
        *(
            b"Cc: x@x.example\r\n",
            b"Content-Type: text/html\r\n",
            b"List-Unsubscribe: <https://x.example>\r\n",
        ),
    ],
)
def test_nothing_can_be_added(composed: Composed, keys: list[SigningKey], added: bytes) -> None:
    """A second field of an oversigned name, above or below, breaks the signature."""
    signatures = sign(composed, keys[:1], NOW)
    assert not verify(signatures + added + composed.headers + b"\r\n" + composed.body, keys)
    assert not verify(signatures + composed.headers + added + b"\r\n" + composed.body, keys)


def test_time_and_expiry(composed: Composed, keys: list[SigningKey]) -> None:
    """In seconds, x= only when asked."""
    now = 4_000_000_000_000  # far ahead, for dkimpy looks at its own clock
    field = sign(composed, keys[:1], now, 7 * 86400).decode()
    assert " t=4000000000; x=4000604800;\r\n" in field
    assert "x=" not in sign(composed, keys[:1], NOW).decode().partition("bh=")[0]
    assert verify(whole(composed, sign(composed, keys[:1], NOW, 50 * YEAR)), keys)


def test_form_of_the_field(composed: Composed, keys: list[SigningKey]) -> None:
    """Folded at 76, CRLF, folds of one space: what comes before b= is its own canonical form."""
    for key in keys:
        lines = sign(composed, [key], NOW).split(b"\r\n")
        assert lines.pop() == b""
        assert all(len(line) <= 78 for line in lines)
        assert lines[0].startswith(b"DKIM-Signature: v=1; a=")
        assert all(re.match(rb" [^ ]", line) for line in lines[1:])


def test_rsa_4096() -> None:
    """The longest key that verifiers must take."""
    key = load_key(generate_pem("rsa-sha256", 4096), "sender.example", "big")
    made = compose(template("x"))
    assert verify(whole(made, sign(made, [key], NOW)), [key])
