"""Rows and envelopes: what is written is read again, and what isn't an envelope is called damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DamageError
from engine.machine import At, Held, Place, Ready, Retired, Stuck
from engine.rows import (
    AGENDA,
    HELD,
    READY,
    RETIRED,
    PlainCodec,
    open_envelope,
    place_row,
    queue_prefix,
    seal_envelope,
)
from engine.seen import KEPT_MAX, NOTHING, UNKNOWN

TIMES = st.integers(0, (1 << 64) - 1)
NAMES = st.binary(max_size=255)
PLACES: st.SearchStrategy[Place | None] = st.one_of(
    st.none(),
    TIMES.map(At),
    st.builds(Ready, NAMES, TIMES),
    NAMES.map(Held),
    TIMES.map(Retired),
    st.just(Stuck()),
)


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    PLACES,
    st.integers(0, KEPT_MAX),
    st.binary(max_size=100),
)
def test_an_envelope_gives_back_what_was_sealed(
    schema: int, codec: int, place: Place | None, seen: int, stored: bytes
) -> None:
    """Schema, codec, place, seen ids and state survive, whatever bytes the state has."""
    ids = NOTHING + b"".join(bytes((n,)) * 20 for n in range(seen))
    raw = seal_envelope(schema, codec, place, ids, stored)
    assert open_envelope(b"key", raw) == (schema, codec, place, ids, stored)


def test_an_envelope_of_the_former_version_has_no_seen_ids() -> None:
    """They lie in rows."""
    raw = seal_envelope(1, 0, At(77), NOTHING, b"state")
    former = b"\1" + raw[1:12] + raw[17:]
    assert open_envelope(b"key", former) == (1, 0, At(77), UNKNOWN, b"state")


@given(TIMES, TIMES, st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_agenda_rows_sort_as_their_times_do(one: int, other: int, a: bytes, b: bytes) -> None:
    """Bytes sort as (time, key)."""
    first, second = place_row(At(one), a), place_row(At(other), b)
    assert first is not None
    assert second is not None
    assert (first < second) == ((one, a) < (other, b))


@given(st.binary(max_size=255), st.binary(max_size=255), TIMES, TIMES)
def test_ready_queues_dont_mix(one: bytes, other: bytes, early: int, late: int) -> None:
    """All rows of one queue lie together: no name is the beginning of another's prefix."""
    if one == other:
        return
    row = place_row(Ready(one, early), b"key")
    assert row is not None
    assert not row.startswith(READY + queue_prefix(other))


def test_each_place_has_its_index() -> None:
    """One byte tells which; nowhere and stuck have no row."""
    assert (place_row(At(1), b"k") or b"")[:1] == AGENDA
    assert (place_row(Ready(b"q", 1), b"k") or b"")[:1] == READY
    assert (place_row(Held(b"h"), b"k") or b"")[:1] == HELD
    assert (place_row(Retired(1), b"k") or b"")[:1] == RETIRED
    assert place_row(Stuck(), b"k") is None
    assert place_row(None, b"k") is None


@pytest.mark.parametrize("raw", [b"", b"\1", b"\1\0\0", b"\3\0\0\0state", b"\1\0\0\x09state"])
def test_what_is_no_envelope_is_damage(raw: bytes) -> None:
    """Too short, too new, or of an unknown place: the record is named."""
    with pytest.raises(DamageError, match="record 6b6579"):
        open_envelope(b"key", raw)


@given(st.binary(max_size=60))
def test_hostile_records_are_read_or_called_damage(raw: bytes) -> None:
    """Nothing else is raised."""
    try:
        open_envelope(b"key", raw)
    except DamageError:
        return


def test_the_plain_codec_stores_states_as_they_are() -> None:
    """Its number stands in each envelope."""
    codec = PlainCodec()
    assert codec.number == 0
    assert codec.open(b"k", codec.seal(b"k", b"state")) == b"state"
