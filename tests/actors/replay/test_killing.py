"""Kills of a replay: whom they meet; a run that met fewer than it was asked for doesn't pass for one that did."""

from __future__ import annotations

import mmap
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from actors.cli.replaying import demand_kills
from actors.replay.killing import ATTEMPTING_MIN, StateKiller
from actors.twin.choosing import twin_named
from actors.worker.pulse import pulse_path
from engine.errors import RefusedError


def test_a_worker_dies_with_fifty_messages_under_way(tmp_path: Path) -> None:
    """Under way is what the egress has in hand, and what became of others but isn't durable yet."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    victim = subprocess.Popen(command, stdin=subprocess.PIPE)
    path = pulse_path(tmp_path, 0)
    path.parent.mkdir()
    path.write_bytes(bytes(20))
    killer = StateKiller(tmp_path, 1, 1)
    killer.start()
    try:
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 20) as pulse:
            pulse[:] = struct.pack("<IIIII", victim.pid, ATTEMPTING_MIN - 21, 3, 20, 0)
            with pytest.raises(subprocess.TimeoutExpired):
                victim.wait(0.1)
            pulse[:] = struct.pack("<IIIII", victim.pid, ATTEMPTING_MIN - 20, 3, 20, 0)
            assert victim.wait(10) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.communicate()
        killer.stop()
    assert killer.killed == 1


def test_fewer_kills_than_asked_for_are_an_error() -> None:
    demand_kills(6, 6)
    with pytest.raises(RefusedError, match="2 of 6 kills happened") as caught:
        demand_kills(2, 6)
    assert "--twin-pace" in caught.value.mend


def test_a_twin_takes_its_time_where_nothing_is_said_of_its_pace() -> None:
    quick = twin_named("mixed")
    paced = twin_named("mixed", pace_ms=40)
    changed = [
        b.pace for a, b in zip(quick.provider, paced.provider, strict=True) if a.pace is None
    ]
    assert changed
    assert all(pace is not None and pace.at_least_ms == 40 for pace in changed)
    kept = [
        b.pace for a, b in zip(quick.provider, paced.provider, strict=True) if a.pace is not None
    ]
    assert kept == [one.pace for one in quick.provider if one.pace is not None]
