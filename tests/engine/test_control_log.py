"""The control log: what is logged stays as it was logged, or it shows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control_log import (
    GENESIS,
    Break,
    Change,
    ControlRecord,
    append,
    decode,
    digest_of,
    encode,
    verify,
)
from engine.errors import DamageError

TEXT = st.text(max_size=6)
CHANGES = st.builds(
    Change,
    actor=TEXT,
    action=TEXT,
    subject=TEXT,
    tenant=TEXT,
    reason=TEXT,
    before=st.binary(max_size=4),
    after=st.binary(max_size=4),
)
HISTORIES = st.lists(st.tuples(st.integers(0, 1 << 45), CHANGES), min_size=1, max_size=6)


def chain(history: list[tuple[int, Change]]) -> list[ControlRecord]:
    records: list[ControlRecord] = []
    for now, change in history:
        records.append(append(records[-1] if records else None, now, change))
    return records


@given(history=HISTORIES)
def test_what_is_appended_verifies(history: list[tuple[int, Change]]) -> None:
    """An untouched chain holds, as a whole, from any record on, and up to its head."""
    records = chain(history)
    assert verify(records) is None
    assert verify(records, head=records[-1].hash) is None
    for cut in range(1, len(records)):
        assert verify(records[cut:], after=records[cut - 1]) is None


@given(history=HISTORIES)
def test_sequence_and_time_never_go_back(history: list[tuple[int, Change]]) -> None:
    """Records count from 1 without gaps, and a clock that went back is not believed."""
    records = chain(history)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert [record.at for record in records] == sorted(record.at for record in records)


@given(history=HISTORIES, data=st.data())
def test_a_changed_field_shows(history: list[tuple[int, Change]], data: st.DataObject) -> None:
    """Whichever field of whichever record is altered, the chain breaks there."""
    records = chain(history)
    index = data.draw(st.integers(0, len(records) - 1))
    change = records[index].change
    field = data.draw(st.sampled_from(sorted(change.__struct_fields__)))
    old = getattr(change, field)
    altered = msgspec.structs.replace(
        change, **{field: old + (b"x" if isinstance(old, bytes) else "x")}
    )
    records[index] = msgspec.structs.replace(records[index], change=altered)
    assert verify(records) == Break(index + 1, "its content isn't what was logged")


@given(
    history=st.lists(st.tuples(st.integers(0, 9), CHANGES), min_size=2, max_size=5), data=st.data()
)
def test_a_removed_or_moved_record_shows(
    history: list[tuple[int, Change]], data: st.DataObject
) -> None:
    """Leaving one out, or swapping two, breaks the chain; cutting the end off is shown by the head."""
    records = chain(history)
    head = records[-1].hash
    index = data.draw(st.integers(0, len(records) - 1))
    shorter = records[:index] + records[index + 1 :]
    assert verify(shorter, head=head) is not None
    other = data.draw(st.integers(0, len(records) - 1).filter(lambda drawn: drawn != index))
    records[index], records[other] = records[other], records[index]
    assert verify(records, head=head) is not None


def test_moving_text_between_fields_shows() -> None:
    """Fields are hashed apart: `ab`,`c` isn't `a`,`bc`."""
    one = append(None, 5, Change(actor="ab", action="c", subject="s"))
    other = append(None, 5, Change(actor="a", action="bc", subject="s"))
    assert one.hash != other.hash


def test_an_empty_log_holds_and_its_head_is_the_genesis() -> None:
    """Nothing logged is a valid history, unless something was expected."""
    assert verify([]) is None
    assert verify([], head=GENESIS) is None
    assert verify([], head=digest_of(b"x")) == Break(0, "the newest record isn't the one expected")


def test_hashes_are_those_of_the_first_version() -> None:
    """The chain's form is fixed: a log of today must verify for ever."""
    change = Change(actor="alice", action="publish", subject="scenario default/winback")
    assert append(None, 1_700_000_000_000, change).hash.hex() == (
        "92ef29110b64c9677e7b1de29e0abf84e769e19e324fb34dc9574bffb4de5189"
    )


@given(history=HISTORIES)
def test_records_survive_the_store(history: list[tuple[int, Change]]) -> None:
    """Encoded and decoded, a record is the same; damage is named."""
    record = chain(history)[-1]
    assert decode(encode(record)) == record
    with pytest.raises(DamageError):
        decode(encode(record)[:-1])
