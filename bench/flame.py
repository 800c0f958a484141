"""Where the CPU time of processes goes: samples by py-spy, as figures by stage and as a flame graph for speedscope.

py-spy reads another process's stacks without running anything in it. It needs the right to trace it (root, or
`kernel.yama.ptrace_scope = 0`); where it is missing or may not, a case says so and goes without.
"""

from __future__ import annotations

__all__ = ("STAGES", "Sampler", "Stacks", "speedscope", "stages")

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

RATE_HZ = 200
WAITS = "main_loop (ray/_private/worker.py"
"""Where the first thread of an actor's process waits, which py-spy takes for work."""
END_S = 20.0

STAGES = (
    ("signature", ("deliverability/dkim/keys.py",)),
    ("dkim_field", ("deliverability/dkim/",)),
    ("tokens", ("deliverability/tokens.py", "deliverability/reverse_path.py")),
    ("compose", ("deliverability/compose/",)),
    ("ledger", ("deliverability/transport/ledger.py",)),
    ("smtp", ("deliverability/smtp/", "deliverability/transport/smtp_client.py")),
    ("delivery", ("deliverability/transport/", "actors/worker/rendering.py")),
    ("egress", ("deliverability/egress.py", "deliverability/lines.py", "deliverability/pacing/")),
    ("contact", ("scenarios/",)),
    ("message", ("deliverability/message/", "deliverability/retry.py")),
    ("store", ("engine/store/",)),
    ("kernel", ("engine/",)),
    ("worker", ("actors/",)),
    ("ray", ("ray/",)),
)
"""Stages by the files of their code. A sample belongs to the innermost frame that is of any; else to `loop`."""

Stacks = Counter[tuple[str, ...]]
"""How many samples had a stack, outermost frame first."""


class Sampler:
    """Samples processes until it is ended. Make it, run the load, then `stacks`.

    Args:
        pids: of Python processes.
        folder: for its files.
    """

    def __init__(self, pids: Iterable[int], folder: Path) -> None:
        self._files: list[Path] = []
        self._running: list[subprocess.Popen[bytes]] = []
        self.trouble = ""
        program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
            "py-spy"
        )
        if program is None:
            self.trouble = "py-spy isn't installed (pip install py-spy)"
            return
        for pid in pids:
            file = folder / f"{pid}.stacks"
            options = ("-r", str(RATE_HZ), "-f", "raw", "-o", str(file), "-p", str(pid))
            self._files.append(file)
            self._running.append(
                subprocess.Popen(
                    [program, "record", *options],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

    def stacks(self) -> Stacks:
        """End, and give what was sampled; nothing, with `trouble` saying why, when py-spy could not."""
        found: Stacks = Counter()
        for process in self._running:
            process.send_signal(2)  # as by hand: it writes its file then
        for process in self._running:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for file in self._files:
            if file.exists():
                found += _read(file.read_text("utf-8", "replace"))
        if not found and not self.trouble:
            self.trouble = "py-spy gave no samples: it may not trace these processes"
        return found


def stages(stacks: Stacks) -> dict[str, float]:
    """Give the share of each stage in the samples."""
    counts: Counter[str] = Counter()
    for stack, number in stacks.items():
        counts[_stage(stack)] += number
    total = sum(counts.values())
    return {name: number / total for name, number in counts.most_common()}


def speedscope(stacks: Stacks, name: str) -> bytes:
    """Write samples in the format of speedscope.app (one profile, weights in samples)."""
    frames: dict[str, int] = {}
    samples, weights = [], []
    for stack, number in sorted(stacks.items()):
        samples.append([frames.setdefault(frame, len(frames)) for frame in stack])
        weights.append(number)
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    return msgspec.json.encode(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "shared": {"frames": [{"name": frame} for frame in frames]},
            "profiles": [profile],
        }
    )


def _read(text: str) -> Stacks:
    """Read the collapsed form: frames with semicolons between, a space, a number."""
    found: Stacks = Counter()
    for line in text.splitlines():
        stack, _, number = line.rpartition(" ")
        if number.isdigit() and WAITS not in stack:
            found[tuple(stack.split(";"))] += int(number)
    return found


def _stage(stack: tuple[str, ...]) -> str:
    for frame in reversed(stack):
        file = frame.partition("(")[2]
        for name, starts in STAGES:
            if any(start in file for start in starts):
                return name
    return "loop"
