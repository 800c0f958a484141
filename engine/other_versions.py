"""Reads what another version wrote of a Struct that refuses what it doesn't know, such as the configuration.

A file written by a person is held against every key, since an unknown one is a mistake. The same settings, handed from
one process to another in a rolling upgrade, may have keys that a newer version has: whoever doesn't know them does
what it always did.
"""

from __future__ import annotations

__all__ = ("decode_known",)

from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def decode_known(raw: bytes, kind: type[T]) -> T:
    """Decode msgpack of a Struct; keys that it or those within it don't have are left out.

    Raises: msgspec.ValidationError: what is known isn't valid, or something is missing.
    """
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.ValidationError:
        told = msgspec.msgpack.decode(raw)
        return msgspec.convert(_known(told, msgspec.inspect.type_info(kind)), kind)


def _known(value: Any, kind: Any) -> Any:
    """Leave out what a type doesn't know, all the way down."""
    match kind:
        case msgspec.inspect.Metadata():
            return _known(value, kind.type)
        case msgspec.inspect.StructType() if isinstance(value, dict):
            types = {field.encode_name: field.type for field in kind.fields}
            tag = kind.tag_field
            return {
                key: _known(one, types[key]) if key in types else one
                for key, one in value.items()
                if key in types or key == tag
            }
        case msgspec.inspect.DictType() if isinstance(value, dict):
            return {key: _known(one, kind.value_type) for key, one in value.items()}
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() if isinstance(value, list):
            return [_known(one, kind.item_type) for one in value]
        case msgspec.inspect.UnionType():
            members = [one for one in kind.types if isinstance(one, msgspec.inspect.StructType)]
            return _known(value, members[0]) if len(members) == 1 else value
        case _:
            return value
