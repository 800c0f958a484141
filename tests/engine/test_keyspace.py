"""Keys: anyone who holds one finds its owner, tenant and name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ids import journey_id, message_id
from engine.keyspace import (
    CONTACT,
    IDEMPOTENCY,
    MESSAGE,
    Keyspace,
    contact_key,
    control_key,
    kind_of,
    message_key,
    name_of,
    tenant_of,
)

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(NAMES, NAMES, st.integers(0, 15))
def test_a_message_lives_beside_its_contact(tenant: str, contact: str, power: int) -> None:
    """It borrows the contact's four bytes through journey and message id."""
    key = contact_key(tenant, contact)
    journey = journey_id(key, "scenario", "", b"input")
    message = message_key(tenant, message_id(journey, "step", 1))
    keyspace = Keyspace(1 << power)
    assert keyspace.partition(key) == keyspace.partition(message) == keyspace.partition(journey)
    assert 0 <= keyspace.partition(key) < keyspace.partitions


@given(NAMES, NAMES)
def test_a_key_tells_kind_tenant_and_name(tenant: str, name: str) -> None:
    """Nothing has to be looked up."""
    for key, kind in (
        (contact_key(tenant, name), CONTACT),
        (control_key(IDEMPOTENCY, tenant, name), IDEMPOTENCY),
    ):
        assert (kind_of(key), tenant_of(key), name_of(key)) == (kind, tenant, name.encode())
    message = message_key(tenant, bytes(range(16)))
    assert (kind_of(message), tenant_of(message)) == (MESSAGE, tenant)
    assert name_of(message) == bytes(range(16))


@given(NAMES, NAMES, NAMES, NAMES)
def test_different_entities_have_different_keys(a: str, b: str, c: str, d: str) -> None:
    """No tenant can name another's entity."""
    assert ((a, b) == (c, d)) == (contact_key(a, b) == contact_key(c, d))


@pytest.mark.parametrize("number", [0, -1, 3, 100, 1 << 16])
def test_a_number_of_partitions_that_is_no_power_of_two_is_refused(number: int) -> None:
    """Also one that would reach the pseudo-partition of the feed."""
    with pytest.raises(ValueError, match="power of two"):
        Keyspace(number)


def test_partitions_are_stable() -> None:
    """The hash may never change: it says where data lies."""
    assert contact_key("default", "ada").hex() == contact_key("default", "ada").hex()
    assert Keyspace(256).partition(contact_key("default", "ada")) == 203
