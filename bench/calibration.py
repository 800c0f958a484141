"""A fixed amount of work that depends on no line of ours: how fast this machine is, just now.

Two runs can be compared when these figures are alike.
"""

from __future__ import annotations

__all__ = ("calibrate", "python_work")

import time

from bench.ceilings.signatures import bare_signer

PYTHON_ROUNDS = 200_000
SIGNATURES = 200


def calibrate() -> dict[str, float]:
    """Give CPU and wall time in ms of the fixed loop, and CPU µs of one RSA-2048 signature."""
    wall, cpu = time.perf_counter(), time.process_time()
    python_work(PYTHON_ROUNDS)
    loop_cpu, loop_wall = time.process_time() - cpu, time.perf_counter() - wall
    sign = bare_signer("rsa-sha256")
    cpu = time.process_time()
    for _ in range(SIGNATURES):
        sign()
    return {
        "python_cpu_ms": round(loop_cpu * 1e3, 2),
        "python_wall_ms": round(loop_wall * 1e3, 2),
        "rsa2048_cpu_us": round((time.process_time() - cpu) / SIGNATURES * 1e6, 1),
    }


def python_work(rounds: int) -> int:
    """Do what interpreters do all day: dictionaries, bytes, calls. Returns a number that depends on all of it."""
    held: dict[int, bytes] = {}
    total = 0
    for n in range(rounds):
        held[n & 1023] = n.to_bytes(8)
        total += len(held.get(n >> 1 & 1023, b"")) + _step(n)
    return total


def _step(n: int) -> int:
    return n * 31 & 7
