"""Mailboxes: which recipients exist, which are closed, which are full for a while.

A recipient's fate is a trait, not luck: asked twice, the answer is the same. Full mailboxes are
emptied: whether one is full is drawn anew for each period, which begins at a time of the
recipient's own, so that they don't all change at once.
"""

from __future__ import annotations

__all__ = ("MailboxState", "Mailboxes", "MailboxesModel")

from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.chance import draw
from deliverability.twin.patterns import compile_patterns
from deliverability.twin.verdict import Rule

MailboxState = Literal["ok", "unknown", "disabled", "full"]

_Share = Annotated[float, Meta(ge=0.0, le=1.0)]
_Names = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=320)], ...], Meta(max_length=10_000)
]


class Mailboxes(Rule, frozen=True, kw_only=True):
    """Shares of recipients, and names: `*` matches anything, no `@` a local part in any domain."""

    unknown_share: Annotated[_Share, Meta(description="recipients that don't exist")] = 0.0
    disabled_share: Annotated[_Share, Meta(description="recipients that were closed")] = 0.0
    full_share: Annotated[_Share, Meta(description="recipients full at any one time")] = 0.0
    full_period_s: Annotated[
        int, Meta(ge=60, le=31_536_000, description="how long a full mailbox stays so")
    ] = 259_200
    unknown: Annotated[_Names, Meta(description="recipients that don't exist, by name")] = ()
    disabled: Annotated[_Names, Meta(description="recipients that were closed, by name")] = ()
    full: Annotated[_Names, Meta(description="recipients that are always full, by name")] = ()


class MailboxesModel:
    """Tells the state of a recipient's mailbox. It has no memory of its own."""

    def __init__(self, rule: Mailboxes, seed: int, provider: str) -> None:
        self.rule = rule
        self._seed = seed
        self._provider = provider
        self._shares = rule.unknown_share + rule.disabled_share + rule.full_share
        self._named: tuple[tuple[MailboxState, tuple[str, ...]], ...] = (
            ("unknown", rule.unknown),
            ("disabled", rule.disabled),
            ("full", rule.full),
        )

    def state(self, now: int, forward_path: str) -> MailboxState:
        """Tell the state at a time."""
        address = forward_path.lower()
        for state, names in self._named:
            if names and _matcher(names)(address):
                return state
        if not self._shares:
            return "ok"
        trait = draw(self._seed, "mailbox", self._provider, address)
        if trait < self.rule.unknown_share:
            return "unknown"
        if trait < self.rule.unknown_share + self.rule.disabled_share:
            return "disabled"
        return "full" if self._full(now, address) else "ok"

    def _full(self, now: int, address: str) -> bool:
        if not self.rule.full_share:
            return False
        period_ms = self.rule.full_period_s * 1000
        start = int(draw(self._seed, "full_start", self._provider, address) * period_ms)
        period = (now + start) // period_ms
        return draw(self._seed, "full", self._provider, address, period) < self.rule.full_share


_matcher = lru_cache(64)(compile_patterns)
