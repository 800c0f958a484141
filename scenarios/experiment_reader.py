"""Reading how an experiment is decided, with a check that the plan can be kept."""

from __future__ import annotations

__all__ = ("ExperimentReader",)

from typing import Any

from scenarios.document import Node
from scenarios.language import PARTS
from scenarios.model import Deciding
from scenarios.scalars import ScalarReader, join
from scenarios.shares import contacts_needed


class ExperimentReader(ScalarReader):
    """Reads `decide` and `guard`."""

    def deciding(self, items: dict[str, Node], path: str, metric: str, tested: int) -> Deciding:
        """Read both; `tested`: how many variants are compared."""
        node, at = items["decide"], join(path, "decide")
        form, guards = PARTS["deciding"], PARTS["guarding"]
        parts = self.form(node, form, at) or {}
        rails: dict[str, Node] = {}
        rails_at = join(path, "guard")
        if "guard" in items:
            rails = self.form(items["guard"], guards, rails_at) or {}
        method: Any = self.scalar(form, parts, "method", at) or "fixed"
        made = Deciding(
            method,
            self.percent(parts, "baseline", at),
            self.percent(parts, "effect", at),
            self.percent(parts, "power", at, 80.0),
            self.percent(parts, "confidence", at, 95.0),
            self.integer(form, parts, "least", at, 100),
            self.percent(rails, "complaints", rails_at),
            self.percent(rails, "unsubscribes", rails_at),
            self.integer(guards, rails, "after", rails_at, 200),
        )
        if not metric:
            self.mistake(node, at, "nothing is measured", "add `metric:` to the experiment")
        if tested < 2:
            mend = "add one; the holdout isn't one of them"
            self.mistake(node, at, "a decision needs two variants", mend)
        if made.method == "fixed" and not self.mistakes:
            self._plan(node, at, made)
        return made

    def _plan(self, node: Node, path: str, made: Deciding) -> None:
        """Check that a fixed test can be planned."""
        if not made.baseline or not made.effect:
            mend = "add `baseline: 5` and `effect: 1`, in percent, or `method: thompson`"
            self.mistake(node, path, "a fixed test needs the share expected and an effect", mend)
            return
        try:
            contacts_needed(made.baseline / 100, made.effect / 100, 0.05, made.power / 100)
        except ValueError as error:
            self.mistake(node, path, str(error), "their sum must lie below 100 %")
