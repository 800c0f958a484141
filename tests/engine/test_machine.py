"""Contexts: chance that is reproducible, and independent of other draws."""

from __future__ import annotations

import msgspec
import pytest

from engine.keyspace import EntityKey
from engine.machine import At, Context, Held, Place, Ready, Retired, Stuck
from tests.engine.puppet import NoCatalog


def _context(key: bytes, input_id: bytes) -> Context:
    context = Context(NoCatalog(), 5)
    context.key, context.input_id = EntityKey(key), input_id
    return context


def test_the_same_entity_and_input_draw_the_same() -> None:
    """A replay decides as the first time did."""
    one, other = _context(b"k", b"i"), _context(b"k", b"i")
    assert one.rng("split").random() == other.rng("split").random()


def test_draws_differ_by_entity_input_and_use() -> None:
    """A draw that is added for one use doesn't shift another."""
    draws = {
        _context(key, input_id).rng(use).random()
        for key in (b"k", b"l")
        for input_id in (b"i", b"j")
        for use in ("split", "jitter")
    }
    assert len(draws) == 8


@pytest.mark.parametrize("place", [At(7), Ready(b"q", 3), Held(b"w0"), Retired(9), Stuck()])
def test_places_survive_their_encoding(place: Place) -> None:
    """Their tags tell them apart."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(place), type=Place) == place
