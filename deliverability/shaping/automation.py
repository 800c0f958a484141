"""Automation: replies that match a pattern often enough change what holds for a while.

`decide` is a function of state and reply: it counts matches in a sliding window for each rule and scope (a site and a
source, named by the caller), and a rule that reaches its threshold fires: its actions hold until `until_ms`. A rule
that fires again while it holds prolongs its actions. Hits before a firing are used up by it.
"""

from __future__ import annotations

__all__ = ("AutomationState", "Fired", "active_firings", "decide", "matching_pattern")

import msgspec

from deliverability.shaping.patterns import TEXT_CHARS_MAX, Pattern, compile_pattern
from deliverability.shaping.rules import AutomationAction, AutomationRule
from engine.errors import Place

SCOPES_MAX = 100_000
HITS_MAX = 10_000


class Fired(msgspec.Struct, frozen=True):
    """A rule that fired: what it does, for how long, and how many replies it took."""

    scope: str
    place: Place
    pattern: str
    actions: tuple[AutomationAction, ...]
    since_ms: int
    until_ms: int
    matches: int


class AutomationState(msgspec.Struct, frozen=True):
    """Hits that may still lead to a firing, and the firings that hold, by (scope, place of the rule)."""

    hits: dict[tuple[str, str], tuple[int, ...]] = msgspec.field(default_factory=dict)
    firings: dict[tuple[str, str], Fired] = msgspec.field(default_factory=dict)


def matching_pattern(rule: AutomationRule, text: str) -> Pattern | None:
    """Return the first pattern of the rule that the reply matches."""
    cut = text[:TEXT_CHARS_MAX]
    compiled = map(compile_pattern, rule.patterns)
    return next((pattern for pattern in compiled if pattern.found_in(cut)), None)


def decide(
    state: AutomationState,
    rules: tuple[AutomationRule, ...],
    *,
    scope: str,
    reply: str,
    now_ms: int,
    internal: bool = False,
) -> tuple[AutomationState, tuple[Fired, ...]]:
    """Count a reply and return the new state and the rules that fired now.

    Args:
        state: as returned before; not changed.
        rules: those that apply to the scope, see `effective.explain`.
        scope: what is counted together and acted upon together.
        reply: code, enhanced code and text, as one line.
        now_ms: when the reply came.
        internal: the reply was made by us, not by the peer; only rules with `match_internal` see it.
    """
    heard = [rule for rule in rules if rule.match_internal or not internal]
    matched = [
        (rule, pattern) for rule in heard if (pattern := matching_pattern(rule, reply)) is not None
    ]
    if not matched:
        return state, ()
    hits, firings, fired = dict(state.hits), dict(state.firings), []
    for rule, pattern in matched:
        key = (scope, str(rule.place))
        recent = _recent(hits.get(key, ()), now_ms - rule.trigger.period_ms, now_ms)
        if len(recent) < rule.trigger.count and len(recent) < HITS_MAX:
            hits[key] = recent
            continue
        hits.pop(key, None)
        firing = _fire(rule, pattern, scope, now_ms, len(recent), firings.get(key))
        firings[key] = firing
        fired.append(firing)
    if len(hits) > SCOPES_MAX:
        hits = dict(sorted(hits.items(), key=lambda item: item[1][-1])[SCOPES_MAX // 10 :])
    firings = {key: each for key, each in firings.items() if each.until_ms > now_ms}
    return AutomationState(hits, firings), tuple(fired)


def active_firings(state: AutomationState, scope: str, now_ms: int) -> tuple[Fired, ...]:
    """Return what holds for a scope now, oldest first."""
    held = [
        each for each in state.firings.values() if each.scope == scope and each.until_ms > now_ms
    ]
    return tuple(sorted(held, key=lambda each: each.since_ms))


def _recent(times: tuple[int, ...], after_ms: int, now_ms: int) -> tuple[int, ...]:
    return (*(each for each in times if each > after_ms), now_ms)


def _fire(
    rule: AutomationRule,
    pattern: Pattern,
    scope: str,
    now_ms: int,
    matches: int,
    before: Fired | None,
) -> Fired:
    holds = before is not None and before.until_ms > now_ms
    return Fired(
        scope=scope,
        place=rule.place,
        pattern=pattern.source,
        actions=rule.actions,
        since_ms=before.since_ms if before is not None and holds else now_ms,
        until_ms=now_ms + rule.duration_ms,
        matches=matches,
    )
