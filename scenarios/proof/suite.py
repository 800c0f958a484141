"""Prove a scenario: run its cases, see what they cover, and whether they notice damage."""

from __future__ import annotations

__all__ = ("Proof", "prove")

from collections.abc import Mapping

import msgspec

from engine.errors import InputError
from scenarios.compiling import CompiledScenario, compile_scenario
from scenarios.model import Scenario
from scenarios.proof.case import Case, Suite
from scenarios.proof.coverage import Coverage, CoverageReport, traced
from scenarios.proof.mutation import mutants
from scenarios.proof.rehearsal import rehearse
from scenarios.proof.verdict import Verdict, judge


class Proof(msgspec.Struct, frozen=True):
    """What the cases of a scenario came to. `mutants` None: none were made."""

    scenario: str
    version: str
    verdicts: tuple[Verdict, ...]
    coverage: CoverageReport
    mutants: int | None = None
    survivors: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The cases that aren't as expected."""
        return tuple(one for one in self.verdicts if not one.passed)


def prove(
    scenario: Scenario, suite: Suite, beside: tuple[Scenario, ...] = (), *, mutate: bool = False
) -> Proof:
    """Run a suite; with `mutate` also against every mutant, if the cases pass at all.

    Raises: InputError: a case doesn't end.
    """
    compiled = compile_scenario(scenario)
    others = {one.name: compile_scenario(one) for one in beside}
    watched, program = traced(compiled)
    coverage = Coverage(compiled)
    verdicts = []
    for case in suite.cases:
        rehearsed = rehearse(case, {**others, scenario.name: watched})
        coverage.add(program.trace, rehearsed.records)
        verdicts.append(judge(case, rehearsed))
    proof = Proof(scenario.name, scenario.version, tuple(verdicts), coverage.report())
    if not mutate or proof.failed:
        return proof
    made, survivors = _mutate(scenario, suite.cases, others)
    return msgspec.structs.replace(proof, mutants=made, survivors=survivors)


def _mutate(
    scenario: Scenario, cases: tuple[Case, ...], others: Mapping[str, CompiledScenario]
) -> tuple[int, tuple[str, ...]]:
    """Run every mutant against the cases until one fails; the case that failed last is tried first."""
    order = list(cases)
    made = 0
    survivors = []
    for mutant in mutants(scenario):
        made += 1
        catalog = {**others, scenario.name: compile_scenario(mutant.scenario)}
        killer = next((case for case in order if not _passes(case, catalog)), None)
        if killer is None:
            survivors.append(mutant.damage)
        else:
            order.remove(killer)
            order.insert(0, killer)
    return made, tuple(survivors)


def _passes(case: Case, catalog: Mapping[str, CompiledScenario]) -> bool:
    try:
        return judge(case, rehearse(case, catalog)).passed
    except InputError:
        return False  # the mutant doesn't end
