"""Blobs in segments: what was put is got back, damage and foreign references are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import DamageError, InputError, StoreError
from engine.store.blob_segments import BlobSegments


def test_blobs_come_back(tmp_path: Path) -> None:
    """Also to another process's reader, over several segments, empty ones and equal ones too."""
    writer = BlobSegments(tmp_path, 7, segment_bytes_max=100)
    blobs = [b"", b"a" * 60, b"b" * 60, b"a" * 60, bytes(range(256))]
    references = [one for blob in blobs for one in writer.put([blob])]
    references += writer.put(blobs)
    reader = BlobSegments(tmp_path)
    assert [reader.get(one) for one in references] == blobs + blobs
    assert len(list(tmp_path.glob("*.blobs"))) > 2
    assert writer.put([]) == []
    writer.close()
    reader.close()


def test_two_writers_never_share_a_segment(tmp_path: Path) -> None:
    """A new life begins a segment of its own."""
    first, second = BlobSegments(tmp_path, 7), BlobSegments(tmp_path, 7)
    names = {store.put([b"x"])[0].rpartition("-0-")[0] for store in (first, second)}
    assert len(names) == 2
    first.close()
    second.close()


def test_what_is_not_there_or_not_whole_is_told(tmp_path: Path) -> None:
    """A reference of nobody's, of a lost segment, and one whose octets have changed."""
    store = BlobSegments(tmp_path, 7)
    (reference,) = store.put([b"hello"])
    for text in ("", "../../etc/passwd", reference + "x", "0" * 16):
        with pytest.raises(InputError):
            store.get(text)
    (path,) = tmp_path.glob("*.blobs")
    path.write_bytes(b"hellp")
    with pytest.raises(DamageError):
        store.get(reference)
    path.write_bytes(b"he")
    with pytest.raises(DamageError):
        store.get(reference)
    store.close()
    path.unlink()
    with pytest.raises(StoreError):
        BlobSegments(tmp_path).get(reference)


def test_a_failed_write_leaves_nothing_behind_it(tmp_path: Path) -> None:
    """The next blobs go to another segment."""
    store = BlobSegments(tmp_path / "gone", 7)
    (tmp_path / "gone").write_text("a file")
    with pytest.raises(StoreError):
        store.put([b"x"])
    (tmp_path / "gone").unlink()
    (reference,) = store.put([b"x"])
    assert store.get(reference) == b"x"
    store.close()
