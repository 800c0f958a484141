"""Automation in use: replies that match a rule often enough change what holds on a path for a while. Pure.

What concerns the path alone (settings, a suspension) is done here; what concerns a tenant, a campaign or messages that
wait is told (`take`) to whoever can do it. Everything is told, so that it can be put on record.
"""

from __future__ import annotations

__all__ = ("Acted", "Acting")

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from deliverability.pacing.exchange import Heard, path_name
from deliverability.pacing.path_limits import is_setting
from deliverability.shaping.automation import (
    AutomationState,
    Fired,
    active_firings,
    decide,
)
from deliverability.shaping.rules import ActionKind

if TYPE_CHECKING:
    from deliverability.pacing.pacer import PathState

ACTED_MAX = 10_000


class Acted(msgspec.Struct, frozen=True):
    """One action of a rule that fired: what, on which path, until when (ms), and by which replies."""

    at_ms: int
    source: str
    site: str
    domain: str
    provider: str
    action: str
    kind: str
    until_ms: int
    rule: str
    pattern: str
    matches: int
    tenant: str = ""
    campaign: str = ""


class Acting:
    """What automation holds on all paths."""

    def __init__(self, firings: Sequence[Fired], now_ms: int) -> None:
        living = {(one.scope, str(one.place)): one for one in firings if one.until_ms > now_ms}
        self._state = AutomationState({}, living)
        self._news: list[Acted] = []
        self.changed = False
        """Whether something must be written down."""

    def heard(self, state: PathState, heard: Heard, now_ms: int) -> None:
        """Let rules hear a reply that wasn't an acceptance."""
        rules = state.limits.automation
        if not rules:
            return
        reply = f"{heard.code} {heard.text}"
        scope = path_name(state.path)
        self._state, fired = decide(self._state, rules, scope=scope, reply=reply, now_ms=now_ms)
        for one in fired:
            self.changed = True
            self._news += [
                _acted(one, number, state, heard, now_ms) for number in range(len(one.actions))
            ]
        del self._news[:-ACTED_MAX]
        if fired:
            self.settle(state, now_ms)

    def settle(self, state: PathState, now_ms: int) -> int:
        """Let what holds on a path now have its effect. Returns until when the path is suspended; 0: it isn't."""
        scope = path_name(state.path)
        held = active_firings(self._state, scope, now_ms) if self._state.firings else ()
        state.limits.change(
            (action.option, action.value, one.place)
            for one in held
            for action in one.actions
            if is_setting(action.kind)
        )
        return max((one.until_ms for one in held if _suspends(one)), default=0)

    def holding(self, state: PathState, now_ms: int) -> tuple[Fired, ...]:
        """List what holds on a path."""
        return active_firings(self._state, path_name(state.path), now_ms)

    def firings(self, now_ms: int) -> list[Fired]:
        """List all that holds."""
        return [one for one in self._state.firings.values() if one.until_ms > now_ms]

    def take(self) -> Sequence[Acted]:
        """Take what was done since the last call."""
        news, self._news = self._news, []
        return news


def _suspends(one: Fired) -> bool:
    """A bounce of what waits stops the path too: it would fill again."""
    return any(action.kind in (ActionKind.SUSPEND, ActionKind.BOUNCE) for action in one.actions)


def _acted(one: Fired, number: int, state: PathState, heard: Heard, now_ms: int) -> Acted:
    action = one.actions[number]
    return Acted(
        at_ms=now_ms,
        source=state.path.source,
        site=state.path.site,
        domain=state.path.domain,
        provider=state.limits.provider,
        action=str(action),
        kind=action.kind.value,
        until_ms=one.until_ms,
        rule=str(one.place),
        pattern=one.pattern,
        matches=one.matches,
        tenant=heard.tenant,
        campaign=heard.campaign,
    )
