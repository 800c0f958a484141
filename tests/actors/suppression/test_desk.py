"""The desk and its files: durable, shared, whole after a crash; an egress in another process obeys it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from actors.suppression.desk import Desk, Request, open_desk
from actors.suppression.files import ChangesFile, current_version, hasher_of
from actors.suppression.follow import Follower
from deliverability.suppression.entry import Entry
from deliverability.suppression.machine import Lift, Suppress
from engine.errors import StoreError

NOW = 1_700_000_000_000
BOUND_S = 2.0


def suppress(desk: Desk, *addresses: str, now: int = NOW, expires: int = 0) -> list[str]:
    requests = [
        Request(
            desk.digest(address),
            Suppress(Entry("tenant/default", "manual", "test", "", now, expires)),
            f"{address}{now}{expires}".encode(),
        )
        for address in addresses
    ]
    return desk.change(now, requests)


def known(folder: Path, *addresses: str) -> list[bool]:
    follower = Follower(folder / "suppression", lambda: 0)
    follower.look()
    assert follower.view.as_of == 0
    hasher = hasher_of(folder)
    found = [bool(follower.view.entries(hasher.of(address))) for address in addresses]
    follower.close()
    return found


def test_what_is_acknowledged_is_seen_by_others_and_survives(tmp_path: Path) -> None:
    """A follower sees it at once; after another opening store and files say the same."""
    desk = open_desk(tmp_path)
    assert suppress(desk, "a@x.example", "@y.example") == ["accepted", "accepted"]
    assert suppress(desk, "a@x.example") == ["duplicate"]
    assert known(tmp_path, "a@x.example", "@y.example", "b@x.example") == [True, True, False]
    desk.change(NOW + 1, [Request(desk.digest("a@x.example"), Lift(), b"lift")])
    assert known(tmp_path, "a@x.example") == [False]
    desk.close()
    again = open_desk(tmp_path)
    assert known(tmp_path, "a@x.example", "@y.example") == [False, True]
    assert len(again.page(b"", 10).rows) == 1
    again.close()


def test_a_follower_keeps_up_over_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of changes make new sorted files; who follows misses none of them."""
    monkeypatch.setattr("actors.suppression.desk.CHANGES_MIN", 150)
    desk = open_desk(tmp_path, "memory")
    follower = Follower(tmp_path / "suppression", lambda: 0)
    chance = Random(3)
    gone: set[str] = set()
    for number in range(40):
        names = [f"p{number}-{n}@x.example" for n in range(25)]
        suppress(desk, *names, now=NOW + number)
        lifted = chance.sample(names, 5)
        requests = [Request(desk.digest(name), Lift(), name.encode()) for name in lifted]
        desk.change(NOW + number, requests)
        gone.update(lifted)
        if number % 3 == 0:
            follower.look()
            assert desk.version == follower.view.version
            hasher = hasher_of(tmp_path)
            held = {name for name in names if follower.view.entries(hasher.of(name))}
            assert set(names) - gone == held
    assert desk.status()[1] > 500, "the sorted file has most of them"
    assert len(list((tmp_path / "suppression").glob("*.packed"))) <= 2


def test_an_entry_that_expires_is_gone_everywhere(tmp_path: Path) -> None:
    """It stops to hold by itself, and the desk takes it off the list when its time is over."""
    desk = open_desk(tmp_path, "memory")
    suppress(desk, "a@x.example", expires=NOW + 1000)
    assert known(tmp_path, "a@x.example") == [True]
    desk.look(NOW + 1001)
    assert known(tmp_path, "a@x.example") == [False]
    assert desk.page(b"", 10).rows == []


@pytest.mark.parametrize("harm", ["cut", "none", "lost", "bad"])
def test_files_are_mended_from_the_store(tmp_path: Path, harm: str) -> None:
    """Changes that were cut off, lost or spoiled after a crash are written again before anything is acknowledged."""
    desk = open_desk(tmp_path)
    suppress(desk, "a@x.example")
    suppress(desk, "b@x.example", now=NOW + 1)
    desk.close()
    folder = tmp_path / "suppression"
    version = current_version(folder)
    changes = folder / f"{version}.changes"
    if harm == "cut":
        os.truncate(changes, changes.stat().st_size - 3)
    elif harm == "none":
        os.truncate(changes, 0)
    elif harm == "lost":
        shutil.rmtree(folder)
    else:
        (folder / f"{version}.packed").write_bytes(b"nonsense")
    again = open_desk(tmp_path)
    assert known(tmp_path, "a@x.example", "b@x.example") == [True, True]
    again.close()


def test_half_a_frame_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full nothing half-written stays that would hide later changes; then all of it follows."""
    desk = open_desk(tmp_path, "memory")
    suppress(desk, "a@x.example")
    whole = os.write

    def short(descriptor: int, raw: bytes) -> int:
        return whole(descriptor, raw[:5])

    monkeypatch.setattr("actors.suppression.files.os.write", short)
    with pytest.raises(StoreError, match="disk is full"):
        suppress(desk, "b@x.example")
    monkeypatch.setattr("actors.suppression.files.os.write", whole)
    assert known(tmp_path, "a@x.example", "b@x.example") == [True, False]
    suppress(desk, "c@x.example")
    assert known(tmp_path, "a@x.example", "b@x.example", "c@x.example") == [True, True, True]


def test_a_changes_file_forgets_what_was_cut_off(tmp_path: Path) -> None:
    """Rubbish at the end is cut away, so that what is appended next can be read."""
    file = ChangesFile(tmp_path, 1)
    file.append(2, [])
    with (tmp_path / "1.changes").open("ab") as rubbish:
        rubbish.write(b"\0\0\0\x09")
    assert [one[1::2] for one in ChangesFile(tmp_path, 1).recover()] == [(2, [])]
    assert 8 < (tmp_path / "1.changes").stat().st_size < 16


EGRESS = """
import json, sys, time
from pathlib import Path
from actors.suppression.follow import guard_of
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
clock = lambda: time.monotonic_ns() // 1_000_000
guard = guard_of(folder, clock, lambda: time.time_ns() // 1_000_000)
out = open(folder / "begun", "w", buffering=1)
print("ready", flush=True)
n, ends = 0, time.monotonic() + seconds
while time.monotonic() < ends:
    n += 1
    address = f"p{n % 50}@x.example"
    if guard.fresh() and not guard.reason("default", "marketing", "", address, 0):
        out.write(json.dumps([time.monotonic(), address]) + "\\n")
    if n % 20 == 0:
        time.sleep(0.005)
"""


def test_an_egress_in_another_process_obeys_and_stops_when_it_can_not_look(tmp_path: Path) -> None:
    """Real files, real clock: nothing begins 2 s after the acknowledgement, nor 2 s after the list can't be read."""
    desk = open_desk(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", EGRESS, str(tmp_path), "6"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as egress:
        assert egress.stdout is not None
        assert b"ready" in egress.stdout.readline()
        acknowledged: dict[str, float] = {}
        for number in range(30):
            address = f"p{number}@x.example"
            suppress(desk, address, now=NOW + number)
            acknowledged[address] = time.monotonic()
            time.sleep(0.03)
        (tmp_path / "suppression" / "current").rename(tmp_path / "hidden")
        hidden = time.monotonic()
        assert egress.wait(30) == 0
    desk.close()
    begun = [json.loads(line) for line in (tmp_path / "begun").read_text().splitlines()]
    late = [one for one in begun if one[0] > acknowledged.get(one[1], one[0]) + BOUND_S]
    assert late == []
    assert [one for one in begun if one[0] > hidden + BOUND_S] == []
    assert {f"p{n}@x.example" for n in range(30, 50)} <= {address for _, address in begun}
