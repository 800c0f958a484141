"""Tokens: what is made is read back, and nothing else is believed."""

from __future__ import annotations

import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.tokens import (
    CLICK,
    DAY_MS,
    OPEN,
    KeyRing,
    Refusal,
    Refused,
    Token,
    last_day,
    mac,
    make,
    read,
    tenant_tag,
)

RING = KeyRing(3, {2: b"old key, thirty-two bytes long..", 3: b"new key, thirty-two bytes long.."})
ID = bytes(range(16))
NOW = 1_700_000_000_000

_tokens = st.builds(
    Token,
    purpose=st.integers(0, 255),
    tenant=st.integers(0, 2**32 - 1),
    message_id=st.binary(min_size=16, max_size=16),
    last_day=st.integers(NOW // DAY_MS, 65535),
    data=st.binary(max_size=300),
)


def token(data: bytes = b"") -> Token:
    return Token(OPEN, tenant_tag("acme"), ID, last_day(NOW, 30), data, RING.current)


@given(_tokens)
def test_what_was_made_is_read_back(made: Token) -> None:
    """Every token reads back as it was made."""
    told = msgspec.structs.replace(made, key=RING.current)
    assert told == read(make(made, RING), made.purpose, RING, NOW)


@given(_tokens, st.data())
def test_one_changed_character_is_refused(made: Token, data: st.DataObject) -> None:
    """Changing any one character makes it unbelievable."""
    text = make(made, RING)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09-_=.é").filter(lambda c: c != text[at]))
    assert isinstance(read(text[:at] + other + text[at + 1 :], made.purpose, RING, NOW), Refused)


@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    """Text from outside is refused, never an exception."""
    assert isinstance(read(text, CLICK, RING, NOW), Refused)


@given(st.binary(max_size=100), st.binary(max_size=20), st.binary(max_size=200))
def test_the_mac_is_hmac(key: bytes, context: bytes, text: bytes) -> None:
    """As the standard library computes it, keys longer than a block too."""
    assert hmac.digest(key, context + text, "sha256")[:12] == mac(key, context, text)


def test_a_token_without_data_has_48_characters() -> None:
    """Short enough for any link."""
    assert len(make(token(), RING)) == 48


def test_good_through_its_last_day() -> None:
    """The day after the last one it is expired."""
    text = make(token(), RING)
    end = (token().last_day + 1) * DAY_MS
    assert token() == read(text, OPEN, RING, end - 1)
    assert Refused(Refusal.EXPIRED) == read(text, OPEN, RING, end)


def test_no_other_purpose() -> None:
    """An open pixel's token opens no link."""
    assert Refused(Refusal.BAD_SIGNATURE) == read(make(token(), RING), CLICK, RING, NOW)


def test_old_keys_verify_until_taken_out() -> None:
    """Rotation: a token of the former key is good as long as the ring holds that key."""
    text = make(token(), KeyRing(2, RING.keys))
    assert msgspec.structs.replace(token(), key=2) == read(text, OPEN, RING, NOW)
    assert Refused(Refusal.UNKNOWN_KEY) == read(text, OPEN, KeyRing(3, {3: RING.keys[3]}), NOW)


def test_another_key_of_the_same_id_is_refused() -> None:
    """The id says which key, not that it is the right one."""
    other = KeyRing(3, {3: b"x" * 32})
    assert Refused(Refusal.BAD_SIGNATURE) == read(make(token(), RING), OPEN, other, NOW)


@pytest.mark.parametrize(
    ("text", "why"), [("", "empty"), ("A" * 8193, "too long"), ("AAAA", "short")]
)
def test_malformed(text: str, why: str) -> None:
    """What can't be a token is named so, without work."""
    assert Refused(Refusal.MALFORMED) == read(text, OPEN, RING, NOW), why


@pytest.mark.parametrize(
    ("current", "keys"), [(1, {2: b"k" * 32}), (40, {40: b"k" * 32}), (1, {1: b"short"})]
)
def test_a_bad_ring_is_refused(current: int, keys: dict[int, bytes]) -> None:
    """The current key is in the ring, ids are 0 to 31, keys long enough."""
    with pytest.raises(ValueError, match="key"):
        KeyRing(current, keys)


def test_keys_are_not_shown() -> None:
    """Neither in repr nor in str."""
    assert "thirty" not in repr(RING) + str(RING)
