"""The sorted file: what was put in is found, by look-up, after merging, and nothing else."""

from __future__ import annotations

import random
import time
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliverability.suppression.packed import (
    PREFIX_BYTES,
    RECORD_BYTES,
    Found,
    Packed,
    PackedWriter,
    empty,
    merge,
    pack,
)
from engine.errors import DamageError

FOREVER = Found("operator", "manual")
SCOPES = ("operator", "tenant/a", "stream/a/marketing", "topic/a/news")


def digest(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def made(changes: dict[bytes, tuple[Found, ...]], old: Packed | None = None) -> Packed:
    scopes, count, pieces = merge(old or Packed(empty()), changes, 0)
    written: list[bytes] = []
    writer = PackedWriter(lambda raw: written.append(bytes(raw)), 7, scopes, count)
    for piece in pieces:
        writer.records(piece)
    writer.close()
    return Packed(b"".join(written))


held = st.lists(
    st.builds(
        Found,
        st.sampled_from(SCOPES),
        st.sampled_from(("hard-bounce", "complaint", "imported")),
        st.integers(0, 10**9).map(lambda minutes: minutes * 60_000),
    ),
    max_size=4,
    unique_by=lambda entry: entry.scope,
).map(tuple)
changed = st.dictionaries(st.integers(0, 60).map(lambda n: digest(n)[:PREFIX_BYTES]), held)


@given(st.lists(changed, max_size=4))
def test_merging_gives_what_a_dictionary_gives(
    rounds: list[dict[bytes, tuple[Found, ...]]],
) -> None:
    """After any changes the file has just the entries that the last change of each address left."""
    model: dict[bytes, tuple[Found, ...]] = {}
    packed = Packed(empty())
    for changes in rounds:
        packed = made(changes, packed)
        model.update(changes)
    for number in range(62):
        prefix = digest(number)[:PREFIX_BYTES]
        assert set(model.get(prefix, ())) == set(packed.find(digest(number)))
    assert sum(len(entries) for entries in model.values()) == packed.count


def test_an_entry_costs_sixteen_bytes_and_is_found_quickly() -> None:
    """A hundred thousand entries: 16 bytes each beside a small head, each found, strangers not."""
    forever: tuple[Found, ...] = (FOREVER,)
    changes = {digest(n)[:PREFIX_BYTES]: forever for n in range(100_000)}
    packed = made(changes)
    scopes: dict[str, int] = {}
    size = 100_000 * len(pack(digest(1), FOREVER, scopes))
    assert size == RECORD_BYTES * 100_000
    chance = random.Random(1)
    asked = [digest(chance.randrange(200_000)) for _ in range(2000)]
    started = time.process_time()
    found = [bool(packed.find(one)) for one in asked]
    each_us = (time.process_time() - started) / len(asked) * 1e6
    assert [one[:PREFIX_BYTES] in changes for one in asked] == found
    assert each_us < 200, "a look-up halves a few times, it doesn't scan"


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:-1], lambda raw: raw[:20], lambda raw: b"x" + raw[1:]]
)
def test_a_file_that_is_not_whole_is_refused(spoil: object) -> None:
    """Half a list must never pass for the list."""
    raw = bytearray(empty())
    raw += b"\0" * RECORD_BYTES
    with pytest.raises(DamageError):
        Packed(bytes(raw))
    with pytest.raises(DamageError):
        Packed(spoil(empty()))  # type: ignore[operator] # a callable, given by the parameters
