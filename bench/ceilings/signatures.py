"""Signatures a second of all cores: processes that do nothing but sign. Signed mail can't be made faster.

`python -m bench.ceilings.signatures ALGORITHM SECONDS` is one such process: it prints how many it made, and the wall
and CPU time in seconds that they took.
"""

from __future__ import annotations

__all__ = ("Signatures", "bare_signer", "measure_signatures")

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

DIGEST = bytes(range(32))
WARM = 50


class Signatures(NamedTuple):
    """What all cores together make: signatures a second, and CPU µs of one."""

    per_second: float
    cpu_us: float


def bare_signer(algorithm: Algorithm) -> Callable[[], bytes]:
    """Give a function that makes one signature of a digest, with a key of its own."""
    if algorithm == "ed25519-sha256":
        curve = ed25519.Ed25519PrivateKey.generate()
        return lambda: curve.sign(DIGEST)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    scheme, known = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    return lambda: key.sign(DIGEST, scheme, known)


def measure_signatures(algorithm: Algorithm, seconds: float, processes: int) -> Signatures:
    """Let processes sign at the same time and add up what they made."""
    command = [sys.executable, "-m", __spec__.name, algorithm, str(seconds)]
    root = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(processes)
    ]
    made, rate, cpu = 0, 0.0, 0.0
    for process in running:
        number, wall_s, cpu_s = process.communicate()[0].split()
        made += int(number)
        rate += int(number) / float(wall_s)
        cpu += float(cpu_s)
    return Signatures(rate, cpu / made * 1e6)


def _main() -> None:
    algorithm: Algorithm = "ed25519-sha256" if "ed25519" in sys.argv[1] else "rsa-sha256"
    sign = bare_signer(algorithm)
    for _ in range(WARM):
        sign()
    number = 0
    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + float(sys.argv[2])
    while (now := time.perf_counter()) < end:
        sign()
        number += 1
    sys.stdout.write(f"{number} {now - begin} {time.process_time() - cpu}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main()
