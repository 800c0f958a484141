"""Experiments: the plan as it is written, what counts say of it, and what is then decided. Pure.

    running ──enough contacts, their time over (fixed)──▶ decided
       │    ──one is best with the confidence asked for (thompson)──▶ decided
       └─ a guard rail: the variant is dropped; all dropped ──▶ stopped

A decision is for contacts who come later: who was assigned stays. The holdout keeps its share for good, so that what
the winner is worth can go on being measured. The control is the first variant that isn't the holdout; a fixed test that
shows nothing decides for it.
"""

from __future__ import annotations

__all__ = ("Experiment", "Judgement", "Ruling", "experiments_of", "judged", "needed")

from hashlib import blake2b
from itertools import pairwise
from random import Random
from typing import Final, Literal

import msgspec

from scenarios.model import Deciding, Scenario, Split, walk
from scenarios.shares import Arm, chances_of_best, contacts_needed, p_value, tail

_DRAWS: Final = 4_000
_FLOOR: Final = (
    0.05  # of a variant's weight while it is still in: what nobody gets, nobody learns about
)
_WHOLE: Final = 10_000
_MOVED: Final = 500  # of `_WHOLE`: weights that moved less stay as they are
_BY_CHANCE: Final = 0.05  # how seldom chance alone may reach a guard rail

Counts = dict[str, int]
"""By `variant:what`: assigned, converted, complained, unsubscribed."""


class Ruling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What holds for contacts who come from now on: in the catalog as section `experiment`, by the experiment's key.

    `winner`: all but the holdout's share get it. Else `weights` of those still in, if there are any.
    """

    winner: str = ""
    weights: dict[str, int] = {}


class Experiment(msgspec.Struct, frozen=True):
    """An experiment of a scenario: names and weights of its variants in order, and what is decided how.

    Its `key` changes with variants and metric: then it is another experiment.
    """

    key: str
    scenario: str
    step: str
    variants: dict[str, int]
    metric: str
    within_ms: int
    holdout: str = ""
    deciding: Deciding | None = None

    @property
    def tested(self) -> list[str]:
        """The variants but for the holdout; the first is the control."""
        return [name for name in self.variants if name != self.holdout]


class Judgement(msgspec.Struct, frozen=True):
    """What is decided now. `why` is for the record; a ruling None changes nothing."""

    state: Literal["running", "decided", "stopped"]
    why: str = ""
    ruling: Ruling | None = None
    dropped: tuple[str, ...] = ()
    full_at: int = 0  # fixed: when every variant had its contacts, ms


def key_of(scenario: str, step: Split) -> str:
    """Name an experiment: scenario, step, and a hash of what makes it this one."""
    what = "\0".join((step.metric, *(variant.name for variant in step.variants)))
    return f"{scenario}/{step.id}@{blake2b(what.encode(), digest_size=4).hexdigest()}"


def experiments_of(scenario: Scenario) -> list[Experiment]:
    """List the experiments of a scenario."""
    return [
        Experiment(
            key_of(scenario.name, step),
            scenario.name,
            step.id,
            {variant.name: variant.weight for variant in step.variants},
            step.metric,
            step.within_ms,
            step.holdout,
            step.deciding,
        )
        for step in walk(scenario.steps)
        if isinstance(step, Split) and step.experiment
    ]


def needed(experiment: Experiment) -> int:
    """Tell how many contacts each variant of a fixed test needs; 0: it has no plan.

    Every other variant is compared with the control, and the error is shared among the comparisons (Bonferroni).
    """
    plan = experiment.deciding
    if plan is None or plan.method != "fixed":
        return 0
    alpha = (1 - plan.confidence / 100) / max(len(experiment.tested) - 1, 1)
    return contacts_needed(plan.baseline / 100, plan.effect / 100, alpha, plan.power / 100)


def arm_of(counts: Counts, variant: str, what: str = "converted") -> Arm:
    """Read one variant's counts."""
    return Arm(counts.get(f"{variant}:assigned", 0), counts.get(f"{variant}:{what}", 0))


def judged(
    experiment: Experiment,
    counts: Counts,
    dropped: tuple[str, ...],
    before: Ruling,
    full_at: int,
    now: int,
) -> Judgement:
    """Judge a running experiment.

    Args:
        experiment: as it is published.
        counts: of all its contacts so far.
        dropped: the variants that a guard rail has put out before.
        before: what held until now.
        full_at: when every variant had its contacts (ms); 0: not yet.
        now: ms.
    """
    out = (*dropped, *_against(experiment, counts, dropped))
    still = [name for name in experiment.tested if name not in out]
    if not still:
        last = experiment.holdout or experiment.tested[0]
        return Judgement("stopped", f"guard rails: {', '.join(out)}", Ruling(last), out)
    if experiment.deciding is not None and len(still) == 1 and out:
        why = f"{still[0]} alone is left; guard rails: {', '.join(out)}"
        return Judgement("decided", why, Ruling(still[0]), out)
    if experiment.deciding is None:
        found = Judgement("running", dropped=out)
    elif experiment.deciding.method == "fixed":
        found = _fixed(experiment, counts, still, full_at, now)
    else:
        found = _thompson(experiment, counts, still, before)
    if found.ruling is None and out != dropped:
        ruling = Ruling(weights={name: experiment.variants[name] for name in still})
        why = f"guard rails: {', '.join(out[len(dropped) :])}"
        found = msgspec.structs.replace(found, ruling=ruling, why=why)
    return msgspec.structs.replace(found, dropped=out)


def _against(experiment: Experiment, counts: Counts, dropped: tuple[str, ...]) -> list[str]:
    """List the variants that a guard rail is against now: their share is above it, chance aside."""
    plan = experiment.deciding
    found: list[str] = []
    for name in experiment.tested if plan is not None else ():
        assert plan is not None
        if name in dropped or arm_of(counts, name).contacts < plan.guard_after:
            continue
        for what, limit in (
            ("complained", plan.complaints),
            ("unsubscribed", plan.unsubscribes),
        ):
            arm = arm_of(counts, name, what)
            above = limit and arm.share > limit / 100
            if above and tail(arm, limit / 100) < _BY_CHANCE:
                found.append(name)
                break
    return found


def _fixed(
    experiment: Experiment, counts: Counts, still: list[str], full_at: int, now: int
) -> Judgement:
    """Decide once every variant has its contacts and the last of them had the time to do it."""
    number = needed(experiment)
    if min(arm_of(counts, name).contacts for name in still) < number:
        return Judgement("running")
    full_at = full_at or now
    if now < full_at + experiment.within_ms:
        return Judgement("running", full_at=full_at)
    plan = experiment.deciding
    assert plan is not None
    control = still[0]
    alpha = (1 - plan.confidence / 100) / max(len(experiment.tested) - 1, 1)
    base = arm_of(counts, control)
    better = [
        (arm_of(counts, name).share, name)
        for name in still[1:]
        if arm_of(counts, name).share > base.share
        if p_value(arm_of(counts, name), base) < alpha
    ]
    shares = ", ".join(f"{name} {arm_of(counts, name).share:.2%}" for name in still)
    if not better:
        why = f"nothing is shown to be better than {control} ({shares})"
        return Judgement("decided", why, Ruling(control), full_at=full_at)
    winner = max(better, key=lambda one: (one[0], -still.index(one[1])))[1]
    p = p_value(arm_of(counts, winner), base)
    why = f"{winner} is better than {control} ({shares}; p = {p:.2g}, asked for {alpha:.2g})"
    return Judgement("decided", why, Ruling(winner), full_at=full_at)


def _thompson(
    experiment: Experiment, counts: Counts, still: list[str], before: Ruling
) -> Judgement:
    """Give more to what does better; decide when one is the best as surely as asked for."""
    plan = experiment.deciding
    assert plan is not None
    arms = [arm_of(counts, name) for name in still]
    seed = blake2b(repr((experiment.key, arms)).encode(), digest_size=8).digest()
    chances = chances_of_best(arms, Random(int.from_bytes(seed)), _DRAWS)  # noqa: S311 -- no secret
    told = ", ".join(
        f"{name} {arm.share:.2%}, best {chance:.1%}"
        for name, arm, chance in zip(still, arms, chances, strict=True)
    )
    if min(arm.contacts for arm in arms) < plan.least:
        return Judgement("running")
    best = max(chances)
    if best >= plan.confidence / 100:
        return Judgement("decided", told, Ruling(still[chances.index(best)]))
    weights = _weights(dict(zip(still, chances, strict=True)))
    known = before.weights or {name: experiment.variants[name] for name in still}
    total = sum(known.get(name, 0) for name in still) or 1
    moved = max(abs(weights[name] - _WHOLE * known.get(name, 0) // total) for name in still)
    if moved < _MOVED and set(known) == set(still):
        return Judgement("running")
    return Judgement("running", told, Ruling(weights=weights))


def _weights(chances: dict[str, float]) -> dict[str, int]:
    """Share `_WHOLE` by chances, none below the floor."""
    raised = {name: max(chance, _FLOOR) for name, chance in chances.items()}
    total = sum(raised.values())
    bounds = [0]
    for value in raised.values():
        bounds.append(bounds[-1] + round(_WHOLE * value / total))
    bounds[-1] = _WHOLE
    return {name: high - low for name, (low, high) in zip(raised, pairwise(bounds), strict=True)}
