"""Whose request it is."""

from __future__ import annotations

from actors.gateway.keys import Keys, Principal, Unknown, hash_key
from engine.config import parse

TEXT = f"""
http.operator_key_hashes = ["{hash_key("op")}"]
[[tenant]]
name = "a"
api_key_hashes = ["{hash_key("one")}", "{hash_key("two")}"]
[[tenant]]
name = "b"
api_key_hashes = ["{hash_key("three")}"]
"""
LOCAL = {b"host": b"localhost:8025"}


def bearer(key: bytes) -> dict[bytes, bytes]:
    return {b"host": b"public.example", b"authorization": b"Bearer " + key}


def test_a_key_is_its_tenant() -> None:
    """Every key of a tenant stands for it; the operator's sees the instance."""
    keys = Keys(parse(TEXT))
    assert keys.by_network(bearer(b"one")) == keys.by_network(bearer(b"two")) == Principal("a")
    assert keys.by_network(bearer(b"three")) == Principal("b")
    assert keys.by_network(bearer(b"op")) == Principal("a", operator=True)


def test_a_wrong_key_is_nobody_even_on_loopback() -> None:
    """A key that isn't known is refused, never taken for no key."""
    keys = Keys(parse(TEXT))
    for header in (b"Bearer four", b"Bearer ", b"Basic b25l", b"one", b""):
        assert isinstance(keys.by_network(LOCAL | {b"authorization": header}), Unknown)


def test_on_loopback_no_key_is_needed_by_a_local_name() -> None:
    """Without a key, this machine's names are the operator; a foreign Host (DNS rebinding) is nobody."""
    keys = Keys(parse(TEXT))
    for host in (b"localhost", b"localhost:1", b"127.0.0.1:8025", b"[::1]:8025", b"127.9.9.9"):
        assert keys.by_network({b"host": host}) == Principal("a", operator=True)
    for host in (b"", b"evil.example", b"localhost.evil.example:80", b"10.0.0.1", b"\xff"):
        assert isinstance(keys.by_network({b"host": host}), Unknown)


def test_elsewhere_or_on_demand_a_key_is_needed() -> None:
    """Bound beyond loopback, or with require_key, nobody comes in without."""
    for more in ('http.host = "0.0.0.0"', 'http.require_key = "always"'):
        keys = Keys(parse(more + TEXT))
        assert isinstance(keys.by_network(LOCAL), Unknown)
        assert keys.by_network(bearer(b"one")) == Principal("a")


def test_the_local_socket_speaks_for_any_tenant() -> None:
    """Over the socket the header names the tenant; one that doesn't exist is refused."""
    keys = Keys(parse('http.require_key = "always"' + TEXT))
    assert keys.by_socket({}) == Principal("a", operator=True)
    assert keys.by_socket({b"veredus-tenant": b"b"}) == Principal("b", operator=True)
    assert isinstance(keys.by_socket({b"veredus-tenant": b"c"}), Unknown)
