"""Case `suppression`: what the list costs a node and a message, with ten million entries (a million with --quick).

`suppression_lookup`: CPU time of one question of the guard, for addresses of which one in ten is on the list; the
ceiling is the hash of the address alone. `suppression_entry`: bytes of the shared file for an entry.
`suppression_memory`: what a second process that maps the file and asks 100,000 questions holds by itself, in MB
(private pages). `suppression_change`: changes a second that are durable and visible to all processes of the node.
"""

from __future__ import annotations

__all__ = ("run",)

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from actors.suppression.desk import Request, open_desk
from actors.suppression.files import hasher_of, write_packed
from actors.suppression.follow import guard_of
from bench.frame import Measured, Sample, costs, plain, rounds
from deliverability.suppression.entry import Entry
from deliverability.suppression.machine import Suppress
from deliverability.suppression.packed import Found, pack

CHUNK = 1 << 16


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    entries, turns = (1_000_000, 3) if quick else (10_000_000, 5)
    with tempfile.TemporaryDirectory(prefix="veredus-bench-") as name:
        folder = Path(name)
        _make(folder, entries, seed)
        size = (folder / "suppression" / "1.packed").stat().st_size
        found = rounds(turns, _lookups(folder, entries, seed), _changes(folder))
        memory = [_private_mb(folder)]
    return Measured(
        [
            costs("suppression_lookup", "µs", found["lookup"], found["hash"]),
            plain("suppression_entry", "bytes", [size / entries]),
            plain("suppression_memory", "MB", memory),
            plain("suppression_change", "changes/s", found["changes"]),
        ],
        {"entries": entries},
    )


def _make(folder: Path, entries: int, seed: int) -> None:
    """Write a sorted file of digests that are spread evenly, as those of a keyed hash are."""
    scopes: dict[str, int] = {}
    tail = pack(bytes(16), Found("operator", "manual"), scopes)[9:]
    step = (1 << 72) // entries
    hasher = hasher_of(folder)
    known = sorted(hasher.of(f"known{n}@d.example")[:9] for n in range(min(entries // 10, 100_000)))

    def records() -> Iterator[bytes]:
        at = 0
        for first in range(0, entries - len(known), CHUNK):
            chunk = []
            for n in range(first, min(first + CHUNK, entries - len(known))):
                digest = (n * step + (n * 2654435761 + seed) % step).to_bytes(9)
                while at < len(known) and known[at] <= digest:
                    chunk.append(known[at] + tail)
                    at += 1
                chunk.append(digest + tail)
            yield b"".join(chunk)
        yield b"".join(one + tail for one in known[at:])

    write_packed(folder / "suppression", 1, list(scopes), entries, records())


def _lookups(folder: Path, entries: int, seed: int) -> Callable[[], Sample]:
    numbers = count(seed * 1_000_000)
    guard = guard_of(folder, lambda: time.monotonic_ns() // 1_000_000, lambda: 0)
    hasher = hasher_of(folder)

    def measure() -> Sample:
        asked = [
            f"known{n % 100_000}@d.example" if n % 10 == 0 else f"p{n}@d{n % 1000}.example"
            for n in (next(numbers) for _ in range(20_000))
        ]
        begin = time.process_time()
        hits = sum(bool(guard.reason("shop", "marketing", "news", one, 0)) for one in asked)
        middle = time.process_time()
        for one in asked:
            hasher.of(one)
        end = time.process_time()
        assert hits >= len(asked) // 10, "those on the list are found"
        return {
            "lookup": (middle - begin) / len(asked) * 1e6,
            "hash": (end - middle) / len(asked) * 1e6,
        }

    del entries
    return measure


def _changes(folder: Path) -> Callable[[], Sample]:
    desk = open_desk(folder / "changing")
    numbers = count()

    def measure() -> Sample:
        requests = []
        for n in (next(numbers) for _ in range(5000)):
            entry = Entry("operator", "manual", "bench", "", 1)
            requests.append(Request(desk.hasher.of(f"c{n}@d.example"), Suppress(entry), b"%d" % n))
        begin = time.perf_counter()
        for first in range(0, len(requests), 1000):
            desk.change(1000 + first, requests[first : first + 1000])
        return {"changes": len(requests) / (time.perf_counter() - begin)}

    return measure


_CHILD = """
import sys, time
from pathlib import Path
from actors.suppression.follow import guard_of

def private():
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(l.split()[1]) for l in text.splitlines() if l.startswith("Private"))

before = private()
guard = guard_of(Path(sys.argv[1]), lambda: time.monotonic_ns() // 1_000_000, lambda: 0)
for n in range(100_000):
    guard.reason("shop", "marketing", "news", f"p{n}@d{n % 1000}.example", 0)
print((private() - before) / 1024)
"""


def _private_mb(folder: Path) -> float:
    """Ask in a process of its own while this one has the file mapped too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _CHILD, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)
