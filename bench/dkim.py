"""Case `dkim`: signing composed mails of 27 KB, against the bare private-key operation."""

from __future__ import annotations

__all__ = ("run",)

import time
from collections.abc import Callable
from itertools import count

from bench.ceilings.signatures import Algorithm, bare_signer
from bench.frame import Measured, Sample, costs, plain, rates, rounds
from bench.render import letters, skeleton
from deliverability.dkim.keys import generate_pem, load_key
from deliverability.dkim.signer import sign

KILOBYTES = 27
ALGORITHMS: dict[str, Algorithm] = {"rsa2048": "rsa-sha256", "ed25519": "ed25519-sha256"}


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    turns, mails = (3, 300) if quick else (9, 3000)
    measures = []
    for name, algorithm in ALGORITHMS.items():
        measures += [_ours(name, algorithm, mails, seed), _ceiling(name, algorithm, mails)]
    found = rounds(turns, *measures)
    results = []
    for name in ALGORITHMS:
        ours, bare = found[f"dkim_{name}_cpu"], found[f"ceiling_{name}_cpu"]
        results += [
            rates(f"dkim_{name}", "1/s", found[f"dkim_{name}"], found[f"ceiling_{name}"]),
            costs(f"dkim_{name}_cpu", "µs", ours, bare),
            plain(f"dkim_{name}_overhead", "µs", [a - b for a, b in zip(ours, bare, strict=True)]),
        ]
    return Measured(results, {"rounds": turns, "mails_a_round": mails, "kilobytes": KILOBYTES})


def _ours(name: str, algorithm: Algorithm, mails: int, seed: int) -> Callable[[], Sample]:
    keys = [load_key(generate_pem(algorithm), "shop.example", "bench")]
    compiled = skeleton(KILOBYTES)
    composed = [compiled.compose(letter) for letter in letters(count(seed), 50)]

    def measure() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        for n in range(mails):
            sign(composed[n % 50], keys, 1_767_571_200_000 + n)
        return _sample(f"dkim_{name}", mails, wall, cpu)

    return measure


def _ceiling(name: str, algorithm: Algorithm, mails: int) -> Callable[[], Sample]:
    once = bare_signer(algorithm)

    def measure() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(mails):
            once()
        return _sample(f"ceiling_{name}", mails, wall, cpu)

    return measure


def _sample(name: str, mails: int, wall: float, cpu: float) -> Sample:
    return {
        name: mails / (time.perf_counter() - wall),
        f"{name}_cpu": (time.process_time() - cpu) / mails * 1e6,
    }
