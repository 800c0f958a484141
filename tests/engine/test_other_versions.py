"""Settings from a newer version are read by an older one; mistakes in what it knows are still seen."""

from __future__ import annotations

import msgspec
import pytest

from engine.config import Config, Limits, Tenant
from engine.other_versions import decode_known
from engine.redis_config import Redis


def test_keys_of_a_newer_version_are_left_out_wherever_they_stand() -> None:
    """On top, in a section, in a section of a section, in a list and in a table of them; the rest arrives as it is."""
    made = Config(
        tenant=(Tenant(name="shop", from_domains=("shop.example",)),),
        limits={"default": Limits(connections_max=7)},
    )
    told = msgspec.to_builtins(made)
    told["novelty"] = 1
    told["store"]["novelty"] = {"deep": 1}
    told["store"]["redis"]["novelty"] = "x"
    told["tenant"][0]["novelty"] = True
    told["limits"]["default"]["novelty"] = 3
    assert decode_known(msgspec.msgpack.encode(told), Config) == made


def test_what_is_known_must_be_valid() -> None:
    """A newer version's wrong value isn't taken for one that isn't known."""
    raw = msgspec.msgpack.encode({"timeout_ms": 1, "novelty": 1})
    with pytest.raises(msgspec.ValidationError, match="timeout_ms"):
        decode_known(raw, Redis)


def test_an_own_struct_comes_back() -> None:
    """The way of every day."""
    assert decode_known(msgspec.msgpack.encode(Redis(name="mine")), Redis) == Redis(name="mine")
