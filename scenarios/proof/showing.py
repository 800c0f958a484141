"""Show proofs: as text for a terminal, and as plain values for JSON."""

from __future__ import annotations

__all__ = ("as_values", "shown")

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from scenarios.duration import DAY_MS, format_duration
from scenarios.proof.case import Case
from scenarios.proof.suite import Proof
from scenarios.proof.verdict import Difference, Verdict
from scenarios.zones import UTC, local_time, zone_of

_MISSED_SHOWN = 20


def shown(proof: Proof, file: str) -> str:
    """Write a proof as lines of text."""
    return "\n".join(_lines(proof, file))


def _lines(proof: Proof, file: str) -> Iterator[str]:
    yield f"{proof.scenario} {proof.version} · {file}"
    for verdict in proof.verdicts:
        if verdict.passed:
            yield f"  pass  {verdict.case.name}"
        else:
            yield f"  FAIL  {verdict.case.name} ({file}:{verdict.case.line})"
            yield from _differing(verdict)
    covered = proof.coverage
    yield (
        f"  coverage {covered.percent:.1f} %: {covered.steps_taken} of {covered.steps} steps, "
        f"{covered.branches_taken} of {covered.branches} branches"
    )
    for name in covered.missed[:_MISSED_SHOWN]:
        yield f"    missed: {name}"
    if proof.mutants is not None:
        noticed = proof.mutants - len(proof.survivors)
        yield f"  mutants  {noticed} of {proof.mutants} noticed"
        for damage in proof.survivors:
            yield f"    survived: {damage}"


def _differing(verdict: Verdict) -> Iterator[str]:
    yield "          - expected, + got"
    for line in verdict.timeline:
        yield f"        {line.sign} {_when(line, verdict.case)}  {line.text}"
    for remark in verdict.remarks:
        yield f"        ! {remark}"


def _when(line: Difference, case: Case) -> str:
    if line.at is None:
        return f"{'at any time':<33}"
    since = line.at - case.given.at
    after = f"{'-' if since < 0 else '+'}{_elapsed(abs(since))}"
    return f"{after:<12} {local_time(line.at, _zone(case)):%a %Y-%m-%d %H:%M}"


def _elapsed(elapsed_ms: int) -> str:
    """Write an elapsed time in days at most: weeks are hard to add up."""
    days, rest_ms = divmod(elapsed_ms, DAY_MS)
    shown_days = f"{days}d" if days else ""
    return shown_days + (format_duration(rest_ms) if rest_ms or not days else "")


def _zone(case: Case) -> ZoneInfo:
    settings = case.given.settings
    own = case.given.attributes.get(settings.zone_attribute)
    return zone_of(str(own)) or zone_of(settings.zone) or UTC


def as_values(proof: Proof, file: str) -> dict[str, Any]:
    """Give a proof as values for JSON; times in ms since the epoch."""
    return {
        "file": file,
        "scenario": proof.scenario,
        "version": proof.version,
        "cases": [_case_values(verdict) for verdict in proof.verdicts],
        "coverage": {
            "percent": round(proof.coverage.percent, 2),
            **msgspec.structs.asdict(proof.coverage),
        },
        "mutants": proof.mutants,
        "survivors": proof.survivors,
    }


def _case_values(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.case.name,
        "line": verdict.case.line,
        "passed": verdict.passed,
        "timeline": verdict.timeline,
        "remarks": verdict.remarks,
    }
