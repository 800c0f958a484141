"""Counts of a run for the edges of a scenario's graph, out of the report of a simulation."""

from __future__ import annotations

__all__ = ("counts_of",)

import msgspec

from engine.errors import InputError, Place
from scenarios.graph import ENTRY, Graph


class _Reached(msgspec.Struct, frozen=True):
    count: int


class _Step(msgspec.Struct, frozen=True):
    step: str
    reached: _Reached
    branches: dict[str, int] = {}


class _Report(msgspec.Struct, frozen=True):
    funnel: list[_Step]
    journeys: int


def counts_of(graph: Graph, text: str, file: str) -> dict[tuple[str, str], int]:
    """Give counts by step and branch. Raises: InputError: the report isn't one of `scenario simulate --json`."""
    try:
        report = msgspec.json.decode(text, type=_Report)
    except msgspec.MsgspecError as error:
        mend = "make it with `veredus scenario simulate FILE --json`"
        raise InputError(f"no report of a simulation: {error}", Place(file), mend) from None
    steps = {one.step: one for one in report.funnel}
    counts: dict[tuple[str, str], int] = {}
    for edge in graph.edges:
        step = steps.get(edge.source)
        if edge.source == ENTRY:
            counts[edge.source, edge.branch] = report.journeys
        elif step is None or edge.branch in {"each", "done"}:
            continue  # a simulation doesn't count the turns of a loop
        elif edge.branch:
            # reports name a branch as people know it: by its event, or its condition
            named = (edge.branch, edge.label)
            counts[edge.source, edge.branch] = next(
                (step.branches[name] for name in named if name in step.branches), 0
            )
        else:
            counts[edge.source, edge.branch] = step.reached.count
    return counts
