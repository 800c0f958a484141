"""From findings to measures: which streams are held back, at whom, since when, and when they are let go. Pure.

    finding of a day that asks for a pause ──▶ held ──the finding is gone, and it was held long enough──▶ let go
                                                 └──somebody lifted it──▶ overruled until the finding is gone

Only bulk streams are held: a password that doesn't arrive harms more than a rate. What was overruled by hand isn't held
again while the same finding lasts. Findings of longer windows alert: what is held sends nothing, so a week's rate would
stay as it is for a week.
"""

from __future__ import annotations

__all__ = ("HOLD_MS", "Held", "Measure", "Measures", "Standing", "next_measures")

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from deliverability.feedback.findings import Finding

HOLD_MS = 24 * 3_600_000
"""How long something is held at least: the window of the rates that act."""

Standing = Mapping[int, str]
"""Marks in force: number -> tenant."""


class Held(msgspec.Struct, frozen=True):
    """One measure in force, or overruled (`mark` 0)."""

    finding: str
    tenant: str
    stream: str
    provider: str  # "": all of the stream
    says: str
    since: int
    mark: int = 0


class Measures(msgspec.Struct, frozen=True):
    """All measures, by the id of their finding. Kept over a restart."""

    held: dict[str, Held] = {}


class Measure(msgspec.Struct, frozen=True):
    """One thing to do now."""

    do: Literal["hold", "let_go", "forget", "overruled"]
    held: Held


def next_measures(
    measures: Measures,
    findings: Collection[Finding],
    standing: Standing,
    bulk: Collection[tuple[str, str]],
    now: int,
    hold_ms: int = HOLD_MS,
) -> list[Measure]:
    """Tell what is to be done; nothing, when all is as it should be.

    Args:
        measures: what was done before.
        findings: what is found now.
        standing: marks in force.
        bulk: (tenant, stream) of the streams that may be held.
        now: ms.
        hold_ms: how long something is held at least.
    """
    asked = {one.id: one for one in findings if _asks(one, bulk)}
    done: list[Measure] = []
    for name, held in measures.held.items():
        lifted = bool(held.mark) and held.mark not in standing
        if name not in asked and (lifted or not held.mark):
            done.append(Measure("forget", held))
        elif lifted:
            done.append(Measure("overruled", msgspec.structs.replace(held, mark=0)))
        elif name not in asked and now - held.since >= hold_ms:
            done.append(Measure("let_go", held))
    for name, one in asked.items():
        if name not in measures.held:
            held = Held(name, one.tenant, one.stream, one.provider, one.says, now)
            done.append(Measure("hold", held))
    return done


def _asks(one: Finding, bulk: Collection[tuple[str, str]]) -> bool:
    return one.do == "pause" and bool(one.stream) and (one.tenant, one.stream) in bulk
