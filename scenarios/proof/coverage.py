"""Which steps and branches of a scenario a set of cases has taken.

The acts of the compiled scenario are replaced by ones that note which instruction the interpreter takes after which;
branches that decide (waiters, conditions, variants) are in the machine's own records. Goals and exits count as
branches: each must end a journey once.
"""

from __future__ import annotations

__all__ = ("Coverage", "CoverageReport", "traced")

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from engine.machine import Record
from scenarios.compiling import CompiledScenario
from scenarios.program import (
    Branching,
    Calling,
    Ending,
    Finding,
    Listening,
    Looping,
    Splitting,
    Taking,
)
from scenarios.walk import Act


class Traced:
    """Acts that note the positions at which they are taken, in order, in its `trace`.

    It stands in for the tuple of a compiled scenario, of which the interpreter only takes items.
    """

    __slots__ = ("_acts", "trace")

    def __init__(self, acts: Sequence[Act]) -> None:
        self._acts = acts
        self.trace: list[int] = []

    def __getitem__(self, at: int) -> Act:
        """Give an act, and note its position."""
        self.trace.append(at)
        return self._acts[at]


class CoverageReport(msgspec.Struct, frozen=True):
    """What was taken of what there is; `missed` names the rest."""

    steps: int
    steps_taken: int
    branches: int
    branches_taken: int
    missed: tuple[str, ...]

    @property
    def percent(self) -> float:
        """Steps and branches together, in percent."""
        total = self.steps + self.branches
        return 100.0 * (self.steps_taken + self.branches_taken) / total if total else 100.0


def traced(compiled: CompiledScenario) -> tuple[CompiledScenario, Traced]:
    """Give the same scenario with acts that note that they are taken."""
    acts = Traced(compiled.acts)
    return msgspec.structs.replace(compiled, acts=acts), acts


class Coverage:
    """Collects what rehearsals take of one scenario."""

    def __init__(self, compiled: CompiledScenario) -> None:
        self._compiled = compiled
        self._positions: set[int] = set()
        self._branches: set[str] = set()

    def add(self, trace: list[int], records: Iterable[Record]) -> None:
        """Take in a rehearsal. The trace is emptied."""
        program = self._compiled.program
        self._positions.update(trace)
        for before, after in pairwise(trace):
            step = program[before]
            if isinstance(step, Looping):
                self._branches.add(f"{step.id}: {'again' if after == step.body else 'leave'}")
        trace.clear()
        ours = set()
        for record in records:
            detail = record.detail
            match record.fact:
                case "journey_opened" if detail["scenario"] == self._compiled.name:
                    ours.add(detail["journey"])
                case "branch_taken" if detail["journey"] in ours:
                    self._branches.add(self._named(detail))
                case "variant_drawn" if detail["journey"] in ours:
                    self._branches.add(f"{detail['step']}: {detail['variant']}")
                case "journey_ended" if detail["journey"] in ours:
                    self._branches.add(str(detail["reason"]))
                case _:
                    pass

    def _named(self, detail: Mapping[str, Any]) -> str:
        return f"{detail['step']}: {detail['branch']}"

    def report(self) -> CoverageReport:
        """Tell what was taken and what was not."""
        steps = self._steps()
        branches = tuple(self._known())
        missed = [f"step {name}" for at, name in steps.items() if at not in self._positions]
        missed += [f"branch {shown}" for name, shown in branches if name not in self._branches]
        return CoverageReport(
            steps=len(steps),
            steps_taken=sum(at in self._positions for at in steps),
            branches=len(branches),
            branches_taken=sum(name in self._branches for name, _ in branches),
            missed=tuple(missed),
        )

    def _steps(self) -> dict[int, str]:
        """Give what can be taken, by position: all but the end after the last step, which nobody wrote."""
        named = {at: name for name, at in self._compiled.places.items()}
        for at, step in enumerate(self._compiled.program):
            if isinstance(step, Ending) and at:
                named[at] = f"end `{step.reason}`"
        return dict(sorted(named.items(), reverse=True))  # laid out from the last to the first

    def _known(self) -> Iterable[tuple[str, str]]:
        """Give every branch: as the records name it, and as it is shown."""
        for step in reversed(self._compiled.program):
            match step:
                case Listening():
                    for event, listeners in step.listeners.items():
                        for one in listeners:
                            yield f"{step.id}: {one.branch}", f"{step.id}: {event}"
                    if step.timeout_ms:
                        yield f"{step.id}: timeout", f"{step.id}: timeout"
                case Finding():
                    yield f"{step.id}: found", f"{step.id}: found"
                    yield f"{step.id}: else", f"{step.id}: else"
                case Calling() | Taking():
                    yield f"{step.id}: taken", f"{step.id}: taken"
                    yield f"{step.id}: else", f"{step.id}: else"
                case Branching():
                    for _, _, name in step.ways:
                        yield f"{step.id}: {name}", f"{step.id}: {name}"
                    yield f"{step.id}: else", f"{step.id}: else"
                case Splitting():
                    for name in step.names:
                        yield f"{step.id}: {name}", f"{step.id}: {name}"
                case Looping():
                    yield f"{step.id}: again", f"{step.id}: again"
                    yield f"{step.id}: leave", f"{step.id}: leave"
                case _:
                    pass
        for watches in self._compiled.watches.values():
            for watch in watches:
                name = f"{'goal' if watch.goal else 'exit'}:{watch.name}"
                yield name, name
