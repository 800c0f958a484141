"""A journey on its way through the program, from where it begins or wakes to where it waits next, or ends.

An *act* is what one instruction does, as a function made once when the scenario is compiled (`scenarios.acts`). It gets
the walk and gives the position to go on at, or `OVER`: then the journey stands (`walk.journey`), or has ended (None).
"""

from __future__ import annotations

__all__ = ("OVER", "Act", "Walk")

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a scenario is compiled to acts, and a draft knows compiled scenarios
    from scenarios.compiling import CompiledScenario
    from scenarios.draft import Draft
    from scenarios.state import Journey

OVER: Final = -1


class Walk:
    """One run of a journey. `meant`: when it was to begin, ms; earlier than now after an outage.

    An act that changes the journey puts the new one here; the draft has the one that began the walk until it is over.
    """

    __slots__ = ("compiled", "draft", "ended", "journey", "meant")

    def __init__(
        self, draft: Draft, compiled: CompiledScenario, journey: Journey, meant: int
    ) -> None:
        self.draft = draft
        self.compiled = compiled
        self.journey: Journey = journey
        self.meant = meant
        self.ended = False

    def end(self, reason: str) -> int:
        """End the journey from within; mail that it has sent isn't touched."""
        journey = self.journey
        self.draft.record(
            "journey_ended", journey=journey.id, scenario=journey.scenario, reason=reason
        )
        self.draft.tell_campaign(journey.scenario, "ended", reason)
        self.ended = True
        return OVER


Act = Callable[[Walk], int]
