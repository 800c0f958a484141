"""What a link to unsubscribe knows without its message: kept secret, told to nobody else, and never too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deliverability import tokens
from deliverability.leaving import SEALED_MAX, Leaving, seal, unseal

OLD, NEW = tokens.KeyRing(3, {3: b"o" * 32}), tokens.KeyRing(4, {3: b"o" * 32, 4: b"n" * 32})
ID = bytes(range(16))
NOW = 1_800_000_000_000
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=150)


def _token(data: bytes, ring: tokens.KeyRing) -> str:
    day = tokens.last_day(NOW, 400)
    return tokens.make(tokens.Token(tokens.UNSUBSCRIBE, 7, ID, day, data), ring)


@given(names, names, names)
def test_what_is_sealed_comes_back(contact: str, stream: str, topic: str) -> None:
    """Also after the keys were rotated; what is too long is left out, and then nothing comes back."""
    leaving = Leaving(contact, stream, topic)
    text = _token(seal(leaving, OLD, ID), OLD)
    token = tokens.read(text, tokens.UNSUBSCRIBE, NEW, NOW)
    assert isinstance(token, tokens.Token)
    fits = contact and len(f"{contact}{stream}{topic}".encode()) + 2 <= SEALED_MAX
    assert unseal(token, NEW) == (leaving if fits else None)
    assert len(text) <= 540


def test_no_name_stands_in_a_link() -> None:
    """A contact's name may be an address: neither its bytes nor the same bytes for two messages are seen."""
    leaving = Leaving("ada@example.org", "marketing")
    one, other = seal(leaving, OLD, ID), seal(leaving, OLD, ID[::-1])
    assert one != other
    assert b"ada" not in one + other
    assert one == seal(leaving, OLD, ID)


@given(st.binary(max_size=400))
def test_any_data_is_read_or_is_nothing(data: bytes) -> None:
    """Only what we signed gets here; still nothing in it raises."""
    found = unseal(tokens.Token(tokens.UNSUBSCRIBE, 7, ID, 0, data, 3), OLD)
    assert found is None or found.contact
