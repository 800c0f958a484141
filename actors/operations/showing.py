"""Stored values as JSON that a human reads: fields by name, bytes as text where they are text, else in hexadecimal."""

from __future__ import annotations

__all__ = ("kind_name", "name_shown", "shown")

from typing import Any

import msgspec

from engine.keyspace import CONTACT, IDEMPOTENCY, MESSAGE, kind_of, name_of

_KINDS = {CONTACT: "contact", MESSAGE: "message", IDEMPOTENCY: "idempotency_key"}


def kind_name(key: bytes) -> str:
    """Tell the kind of an entity by its key."""
    kind = kind_of(key)
    return _KINDS.get(kind, f"{kind:#04x}")


def name_shown(key: bytes) -> str:
    """Tell the name of an entity within its kind: a contact's id, a message's id in hexadecimal."""
    name = name_of(key)
    return name.hex() if kind_of(key) == MESSAGE else name.decode("utf-8", "replace")


def shown(value: Any) -> Any:
    """Turn a decoded value into what JSON can say."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tagged = {"type": config.tag} if isinstance(config.tag, str) else {}
        fields = {name: shown(getattr(value, name)) for name in value.__struct_fields__}
        return tagged | fields
    if isinstance(value, dict):
        return {_text(name): shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(one) for one in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    return value


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()
