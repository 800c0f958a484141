"""Blobs that nobody needs are set aside, then removed; nothing that anybody needs, or stores again, is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DamageError, StoreError
from engine.store.blob_files import BlobFiles, Needed, blob_files, find_aside, sweep
from engine.store.blob_segments import BlobSegments

DAY = 86_400_000
NOW = 1_800_000_000_000
NOTHING = Needed(frozenset(), frozenset())


def aged(folder: Path, at_ms: int) -> None:
    """Let all files be as old as that."""
    for file in blob_files(folder):
        os.utime(file, ns=(at_ms * 1_000_000, at_ms * 1_000_000))


def needs(*objects: str, segments: tuple[str, ...] = ()) -> Needed:
    return Needed(frozenset(objects), frozenset(segments))


def test_what_nobody_needs_goes_in_two_steps(tmp_path: Path) -> None:
    """Aside after a while, away after as long again; it can be read until then."""
    blobs = BlobFiles(tmp_path)
    kept, idle = blobs.put(b"needed"), blobs.put(b"idle")
    aged(tmp_path, NOW)
    assert sweep(tmp_path, needs(kept), NOW + DAY - 1, DAY).set_aside == 0
    first = sweep(tmp_path, needs(kept), NOW + DAY, DAY)
    assert (first.kept, first.set_aside, first.removed) == (1, 1, 0)
    assert blobs.get(idle) == b"idle"
    assert sweep(tmp_path, needs(kept), NOW + 2 * DAY - 1, DAY).removed == 0
    last = sweep(tmp_path, needs(kept), NOW + 2 * DAY, DAY)
    assert (last.removed, last.freed_bytes) == (1, 4)
    with pytest.raises(StoreError):
        blobs.get(idle)
    assert blobs.get(kept) == b"needed"
    assert not list((tmp_path / "aside").iterdir())


def test_whoever_needs_it_again_gets_it_back(tmp_path: Path) -> None:
    """A message that a look had missed, or the same attachment anew."""
    blobs = BlobFiles(tmp_path)
    one, two = blobs.put(b"one"), blobs.put(b"two")
    aged(tmp_path, NOW)
    sweep(tmp_path, NOTHING, NOW + DAY, DAY)
    assert blobs.put(b"two") == two
    again = sweep(tmp_path, needs(one), NOW + 3 * DAY, DAY)
    assert (again.restored, again.removed) == (1, 1)  # of `two` the copy that was aside
    assert (blobs.get(one), blobs.get(two)) == (b"one", b"two")
    assert find_aside(tmp_path, one) is None


def test_storing_it_again_makes_it_young(tmp_path: Path) -> None:
    """So a sweep that knows nothing of the new message leaves it alone."""
    blobs = BlobFiles(tmp_path)
    digest = blobs.put(b"logo")
    (file,) = blob_files(tmp_path)
    os.utime(file, ns=(0, 0))
    blobs.put(b"logo")
    again = file.stat().st_mtime_ns // 1_000_000
    assert again > NOW - 3_650 * DAY
    assert sweep(tmp_path, NOTHING, again + DAY - 1, DAY).kept == 1
    assert sweep(tmp_path, NOTHING, again + DAY, DAY).set_aside == 1
    assert blobs.get(digest) == b"logo"


def test_a_segment_stays_while_one_of_its_messages_is_needed(tmp_path: Path) -> None:
    """An idle writer whose segment was set aside begins another; readers find both."""
    segments = BlobSegments(tmp_path / "segments", 7)
    (first,) = segments.put([b"first"])
    name = first.rpartition("-0-")[0]
    aged(tmp_path, NOW)
    assert sweep(tmp_path, needs(segments=(name,)), NOW + 9 * DAY, DAY).set_aside == 0
    assert sweep(tmp_path, NOTHING, NOW + 9 * DAY, DAY).set_aside == 1
    (second,) = segments.put([b"second"])
    assert second.rpartition("-0-")[0] != name
    reader = BlobSegments(tmp_path / "segments")
    assert [reader.get(one) for one in (first, second)] == [b"first", b"second"]
    segments.close()
    reader.close()


def test_damage_aside_is_told(tmp_path: Path) -> None:
    """As it is elsewhere."""
    blobs = BlobFiles(tmp_path)
    digest = blobs.put(b"x")
    aged(tmp_path, NOW)
    sweep(tmp_path, NOTHING, NOW + DAY, DAY)
    found = find_aside(tmp_path, digest)
    assert found is not None
    found.write_bytes(b"y")
    with pytest.raises(DamageError):
        blobs.get(digest)


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "end", "sweep", "missed"]), st.integers(0, 3)),
        max_size=40,
    )
)
def test_what_is_needed_can_always_be_read(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int]]
) -> None:
    """Messages come and go, sweeps look, one look of two misses a message: its content is there all the same."""
    folder = tmp_path_factory.mktemp("blobs")
    blobs, needed, now, missed = BlobFiles(folder), dict[int, str](), NOW, False
    for act, number in acts:
        now += DAY // 2
        if act == "put":
            needed[number] = blobs.put(b"%d" % number)
            for file in blob_files(folder):
                if file.name == needed[number] and file.parent.name == needed[number][:2]:
                    os.utime(file, ns=(now * 1_000_000, now * 1_000_000))
        elif act == "end":
            needed.pop(number, None)
        else:
            seen = dict(needed)
            if act == "missed" and not missed:
                seen.pop(number, None)
            missed = act == "missed" and not missed
            sweep(folder, needs(*seen.values()), now, DAY)
        for held, digest in needed.items():
            assert blobs.get(digest) == b"%d" % held
