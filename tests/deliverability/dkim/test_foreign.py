"""Signatures of messages that others made: every canonicalisation, any form of headers."""

from __future__ import annotations

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliverability.compose.raw import prepare_raw
from deliverability.dkim.foreign import Canonicalisation, sign_foreign
from deliverability.dkim.keys import SigningKey, dns_name, dns_record, generate_pem, load_key
from engine.errors import InputError
from tests.deliverability.compose.letters import NOW

FORMS: tuple[Canonicalisation, ...] = (
    "relaxed/relaxed",
    "relaxed/simple",
    "simple/relaxed",
    "simple/simple",
)


@pytest.fixture(scope="module")
def keys() -> list[SigningKey]:
    return [
        load_key(generate_pem("rsa-sha256"), "sender.example", "r1"),
        load_key(generate_pem("ed25519-sha256"), "sender.example", "e1"),
    ]


def assert_verifies(raw: bytes, keys: list[SigningKey]) -> None:
    records = {f"{dns_name(key)}.".encode(): dns_record(key).encode() for key in keys}
    for index in range(len(keys)):
        assert dkim.DKIM(raw).verify(index, dnsfunc=lambda name, timeout=5: records[name])


_value = st.text(st.sampled_from("ab \t=;é"), max_size=30).map(lambda t: " x" + t)
_folded = st.lists(_value, min_size=1, max_size=3).map(
    lambda v: "\r\n".join([*v[:1], *(f"\t{x}" for x in v[1:])])
)
_fields = st.lists(
    st.tuples(
        st.sampled_from(("Subject", "TO", "X-Own", "Received", "List-Unsubscribe", "cc")), _folded
    ),
    max_size=6,
)
_body = st.lists(st.sampled_from(("a", " ", "\t", "\r\n", ".", "é", "  \r\n")), max_size=20).map(
    "".join
)


@settings(max_examples=80, deadline=None)
@given(_fields, _body, st.sampled_from(FORMS))
def test_any_message_verifies(
    keys: list[SigningKey], fields: list[tuple[str, str]], body: str, form: Canonicalisation
) -> None:
    """Folds, repeated names, odd white space, no body: prepared, signed, verified by dkimpy."""
    section = "".join(f"{name}:{value}\r\n" for name, value in [("From", " a@b.example"), *fields])
    message = prepare_raw(f"{section}\r\n{body}".encode(), NOW, "id@b.example")
    signatures = sign_foreign(message.headers, message.body, keys, NOW, canonicalisation=form)
    assert_verifies(signatures + message.headers + b"\r\n" + message.body, keys)


def test_no_from_no_signature(keys: list[SigningKey]) -> None:
    """RFC 6376 §5.4: From MUST be signed."""
    with pytest.raises(InputError, match=r"headers\.From"):
        sign_foreign(b"Subject: x\r\n", b"", keys, NOW)
