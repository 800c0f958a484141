"""The signed reverse-path: it fits a local part, survives any case, and nothing forged is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability.compose.addresses import parse_mailbox
from deliverability.reverse_path import Verified, make, read
from deliverability.tokens import DAY_MS, OPEN, KeyRing, Refusal, Refused, Token
from deliverability.tokens import make as make_token

RING = KeyRing(
    31, {0: b"old key, thirty-two bytes long..", 31: b"new key, thirty-two bytes long.."}
)
ID = bytes(range(100, 116))
NOW = 1_700_000_000_000

_ids = st.binary(min_size=16, max_size=16)
_tenants = st.integers(0, 2**32 - 1)


@given(_tenants, _ids, st.integers(0, 400))
def test_what_was_made_is_read_back_in_any_case(tenant: int, message_id: bytes, ttl: int) -> None:
    """Made, sent through systems that change its case, read."""
    local = make(tenant, message_id, RING, NOW, ttl)
    expected = Verified(tenant, message_id, NOW // DAY_MS + ttl + 1)
    for text in (local, local.upper(), local.title()):
        assert expected == read(text, RING, NOW)


@given(_tenants, _ids)
def test_fits_a_local_part(tenant: int, message_id: bytes) -> None:
    """RFC 5321 §4.5.3.1.1: at most 64 octets; letters, digits and a hyphen only."""
    local = make(tenant, message_id, RING, NOW)
    assert len(local) == 58
    assert local.replace("-", "").isalnum()
    assert local == parse_mailbox(f"{local}@bounce.example").local


@given(_tenants, _ids, st.integers(0, 57), st.sampled_from("abcxyz0123456789-+=@. é\u212a"))
def test_one_changed_character_is_refused(
    tenant: int, message_id: bytes, at: int, other: str
) -> None:
    """Changing any one character makes it unbelievable."""
    local = make(tenant, message_id, RING, NOW)
    if local[at] != other:
        assert isinstance(read(local[:at] + other + local[at + 1 :], RING, NOW), Refused)


@given(st.text(max_size=80))
def test_any_text_is_answered(text: str) -> None:
    """Text from outside is refused, never an exception."""
    assert isinstance(read(text, RING, NOW), Refused)


def test_good_through_its_last_day() -> None:
    """30 full days by default; then expired."""
    local = make(7, ID, RING, NOW)
    assert isinstance(read(local, RING, NOW + 30 * DAY_MS), Verified)
    assert Refused(Refusal.EXPIRED) == read(local, RING, NOW + 32 * DAY_MS)


def test_old_keys_verify_until_taken_out() -> None:
    """Rotation."""
    local = make(7, ID, KeyRing(0, RING.keys), NOW)
    assert isinstance(read(local, RING, NOW), Verified)
    assert Refused(Refusal.UNKNOWN_KEY) == read(local, KeyRing(31, {31: RING.keys[31]}), NOW)
    assert Refused(Refusal.BAD_SIGNATURE) == read(local, KeyRing(0, {0: b"x" * 32}), NOW)


def test_a_token_is_no_reverse_path() -> None:
    """The two are signed under different contexts, and differ in form."""
    token = make_token(Token(OPEN, 7, ID, 60000), RING)
    assert Refused(Refusal.MALFORMED) == read(token, RING, NOW)
