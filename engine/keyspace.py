"""Where an entity lives: its key, and from the key its partition.

Every key begins with four bytes of hash, so that anyone who holds a key or an id can find its owner without a
look-up, and a message lives beside its contact because it borrows the contact's four bytes.

    key = hash (4 bytes) + kind (1 byte) + tenant (UTF-8) + NUL + name within the kind
"""

from __future__ import annotations

__all__ = (
    "CONTACT",
    "HASH_BYTES",
    "IDEMPOTENCY",
    "MESSAGE",
    "EntityKey",
    "Keyspace",
    "contact_key",
    "control_key",
    "control_key_beside",
    "kind_of",
    "message_key",
    "name_of",
    "partition_hash",
    "tenant_of",
)

from hashlib import blake2b
from typing import NewType

EntityKey = NewType("EntityKey", bytes)

HASH_BYTES = 4
CONTACT = 0x63  # c
MESSAGE = 0x6D  # m
IDEMPOTENCY = 0x69  # i

_CONTACT = bytes((CONTACT,))
_MESSAGE = bytes((MESSAGE,))


def partition_hash(tenant: str, name: str) -> bytes:
    """Hash a tenant's name (a contact id, an idempotency key) to the four bytes that place it."""
    return blake2b(f"{tenant}\0{name}".encode(), digest_size=HASH_BYTES).digest()


def contact_key(tenant: str, contact: str) -> EntityKey:
    """Make the key of a contact. Neither tenant nor contact may contain NUL (checked at the edge)."""
    name = f"{tenant}\0{contact}".encode()
    return EntityKey(blake2b(name, digest_size=HASH_BYTES).digest() + _CONTACT + name)


def message_key(tenant: str, message_id: bytes) -> EntityKey:
    """Make the key of a message, whose id already begins with its contact's four bytes."""
    return EntityKey(b"".join((message_id[:4], _MESSAGE, tenant.encode(), b"\0", message_id)))


def control_key(kind: int, tenant: str, name: str) -> EntityKey:
    """Make the key of a control entity (idempotency key, coupon pool, ...), placed by its own name."""
    return EntityKey(
        b"".join((partition_hash(tenant, name), bytes((kind,)), f"{tenant}\0{name}".encode()))
    )


def control_key_beside(other: EntityKey, kind: int, tenant: str, name: str) -> EntityKey:
    """Make the key of a control entity that stands in the partition of another entity, which its Tells go to."""
    return EntityKey(b"".join((other[:HASH_BYTES], bytes((kind,)), f"{tenant}\0{name}".encode())))


def kind_of(key: bytes) -> int:
    """Tell the kind byte of a key."""
    return key[HASH_BYTES]


def tenant_of(key: bytes) -> str:
    """Tell whose entity it is."""
    return key[HASH_BYTES + 1 : key.index(b"\0", HASH_BYTES + 1)].decode()


def name_of(key: bytes) -> bytes:
    """Tell the name within kind and tenant: a contact id in UTF-8, or the 16 bytes of a message id."""
    return key[key.index(b"\0", HASH_BYTES + 1) + 1 :]


class Keyspace:
    """The fixed number of partitions of a deployment, a power of two from 1 to 65,536 (less one)."""

    def __init__(self, partitions: int) -> None:
        if partitions < 1 or partitions > 32768 or partitions & (partitions - 1):
            raise ValueError(f"partitions must be a power of two up to 32768, not {partitions}")
        self.partitions = partitions
        self._mask = partitions - 1

    def partition(self, key: bytes) -> int:
        """Tell the partition of a key or of an id (both begin with the same four bytes)."""
        return int.from_bytes(key[:HASH_BYTES]) & self._mask
