"""Faults: temporary refusals, closed connections and lost replies that come at a rate."""

from __future__ import annotations

__all__ = ("DotWithoutReply", "Fault", "Faults", "FaultsModel")

from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.chance import draw
from deliverability.twin.verdict import Attempt, Phase, Rule

Fault = Literal["", "temporary", "closing", "hang_up"]

_Rate = Annotated[float, Meta(ge=0.0, le=1.0)]


class Faults(Rule, frozen=True, kw_only=True):
    """Rates at which attempts fail. An attempt meets at most one of them, in one phase."""

    temporary_rate: Annotated[_Rate, Meta(description="a 4yz reply")] = 0.0
    closing_rate: Annotated[_Rate, Meta(description="421, and the connection is closed")] = 0.0
    hang_up_rate: Annotated[
        _Rate, Meta(description="the connection is closed without a word; nothing was taken")
    ] = 0.0
    phases: Annotated[
        tuple[Literal["mail", "rcpt", "data", "dot"], ...],
        Meta(min_length=1, max_length=4, description="where they happen, each as often"),
    ] = ("rcpt", "data", "dot")


class FaultsModel:
    """Draws the fault of an attempt: the same for all phases of that attempt, anew for its next."""

    def __init__(self, rule: Faults, seed: int, provider: str) -> None:
        self.rule = rule
        self._seed = seed
        self._provider = provider
        self._temporary = rule.temporary_rate
        self._closing = self._temporary + rule.closing_rate
        self._hang_up = self._closing + rule.hang_up_rate

    def fault(self, phase: Phase, attempt: Attempt) -> Fault:
        """Tell what goes wrong for this attempt in this phase, if anything."""
        phases = self.rule.phases
        if phase not in phases or not self._hang_up:
            return ""
        number = draw(self._seed, "fault", self._provider, attempt.key, attempt.tries, attempt.now)
        if number >= self._hang_up:
            return ""
        where = draw(self._seed, "fault_phase", attempt.key, attempt.tries, attempt.now)
        if phase != phases[int(where * len(phases))]:
            return ""
        if number < self._temporary:
            return "temporary"
        return "closing" if number < self._closing else "hang_up"


class DotWithoutReply(Rule, frozen=True, kw_only=True):
    """Mails that are taken though their client never hears of it: who resends makes a duplicate."""

    rate: Annotated[_Rate, Meta(description="of the mails that are taken")]
    then: Annotated[
        Literal["hang_up", "silence"],
        Meta(description="close the connection, or leave it open and say nothing"),
    ] = "hang_up"
