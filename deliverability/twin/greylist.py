"""Greylisting: the unknown is asked to come back later; who came back is known. RFC 6647.

    unknown ──first seen: refused──▶ waiting ──back between delay and retry window: passes──▶ known
                                        │ back too early: refused, the clock isn't set back
                                        └ back too late: unknown again

What is known passes, and is remembered anew.
"""

from __future__ import annotations

__all__ = ("Greylist", "GreylistModel")

from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.verdict import Attempt, Rule

_KNOWN = -1


class Greylist(Rule, frozen=True, kw_only=True):
    """How the unknown is put off."""

    delay_s: Annotated[
        int, Meta(ge=1, le=86_400, description="who comes back earlier is refused again")
    ] = 300
    retry_window_s: Annotated[
        int, Meta(ge=1, le=2_592_000, description="who comes back later is unknown again")
    ] = 172_800
    remember_s: Annotated[
        int,
        Meta(ge=1, le=31_536_000, description="how long the known stays known, since last seen"),
    ] = 3_024_000
    by: Annotated[
        Literal["triplet", "sender_domain", "source"],
        Meta(
            description="what is known: source, reverse-path and forward-path; source and sender's"
            " domain; the source alone"
        ),
    ] = "triplet"
    entries_max: Annotated[
        int, Meta(ge=1, le=10_000_000, description="remembered at one time; the oldest gives way")
    ] = 200_000


class GreylistModel:
    """Remembers who was seen when."""

    cause = "greylisted"

    def __init__(self, rule: Greylist) -> None:
        self.rule = rule
        self._seen: ExpiringTable[int] = ExpiringTable(
            rule.entries_max
        )  # when first seen, or _KNOWN

    def __len__(self) -> int:
        """Count of entries in memory."""
        return len(self._seen)

    def wait_ms(self, attempt: Attempt) -> int:
        """Tell how long this one still has to wait; 0 lets it pass. Each look counts as seen."""
        now, rule, key = attempt.now, self.rule, self._key(attempt)
        first = self._seen.get(now, key)
        if first is None:
            self._seen.put(now, key, now, now + rule.retry_window_s * 1000 + 1)
            return rule.delay_s * 1000
        if first != _KNOWN and now < first + rule.delay_s * 1000:
            return first + rule.delay_s * 1000 - now
        self._seen.put(now, key, _KNOWN, now + rule.remember_s * 1000)
        return 0

    def _key(self, attempt: Attempt) -> bytes | str:
        source = attempt.connection.source
        match self.rule.by:
            case "triplet":
                return source.encode() + attempt.key
            case "sender_domain":
                return f"{source} {attempt.connection.reverse_path.rpartition('@')[2].lower()}"
            case "source":
                return source
