"""Reputation: block lists, too many unknown recipients, and growth that is too sudden."""

from __future__ import annotations

__all__ = ("Blocklist", "BlocklistModel", "Growth", "GrowthModel", "Reputation", "ReputationModel")

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal

from msgspec import Meta

from deliverability.twin.expiring import ExpiringTable
from deliverability.twin.verdict import Attempt, Rule

_DAY_MS = 86_400_000
_SOURCES_MAX = 20_000


class Blocklist(Rule, frozen=True, kw_only=True):
    """Sources that a DNS block list names, all the time or in a stretch of it. RFC 5782."""

    sources: Annotated[
        tuple[str, ...],
        Meta(max_length=1000, description="addresses or networks such as 192.0.2.0/24"),
    ]
    zone: Annotated[
        str, Meta(pattern=r"^[a-z0-9.-]{1,100}$", description="name of the list, for the reply")
    ] = "bl.example"
    from_ms: Annotated[int, Meta(ge=0, description="listed since, ms since 1970")] = 0
    until_ms: Annotated[int, Meta(ge=0, description="listed until, ms since 1970; 0: for ever")] = 0


class BlocklistModel:
    """Looks a source up."""

    cause = "blocklisted"

    def __init__(self, rule: Blocklist) -> None:
        self.rule = rule
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(source, strict=False) for source in rule.sources
        ]

    def lists(self, now: int, source: str) -> bool:
        """Tell whether the source is listed now; what is no address is never listed."""
        rule = self.rule
        if now < rule.from_ms or (rule.until_ms and now >= rule.until_ms):
            return False
        try:
            address = ip_address(source)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Reputation(Rule, frozen=True, kw_only=True):
    """A source that writes to too many unknown recipients is put off, or refused, for a while."""

    unknown_share_max: Annotated[
        float, Meta(gt=0.0, le=1.0, description="of the recipients of one hour")
    ] = 0.1
    recipients_min: Annotated[
        int, Meta(ge=1, le=1_000_000, description="fewer in the hour tell nothing")
    ] = 50
    block_s: Annotated[int, Meta(ge=1, le=2_592_000, description="how long it lasts")] = 7200
    permanent: Annotated[bool, Meta(description="answer 5yz instead of 4yz")] = False


class ReputationModel:
    """Keeps (hour, recipients, unknown ones, blocked until) for each source."""

    cause = "reputation"

    def __init__(self, rule: Reputation) -> None:
        self.rule = rule
        self._sources: ExpiringTable[tuple[int, int, int, int]] = ExpiringTable(_SOURCES_MAX)

    def blocked(self, now: int, source: str) -> bool:
        """Tell whether the source has lost its good name."""
        state = self._sources.get(now, source)
        return state is not None and now < state[3]

    def recipient(self, now: int, source: str, *, unknown: bool) -> None:
        """Count a recipient that the source asked for."""
        hour = now // 3_600_000
        last, asked, missed, until = self._sources.get(now, source) or (hour, 0, 0, 0)
        if last != hour:
            asked = missed = 0
        asked += 1
        missed += unknown
        rule = self.rule
        if asked >= rule.recipients_min and missed > rule.unknown_share_max * asked:
            until, asked, missed = now + rule.block_s * 1000, 0, 0
        expires = max(until, (hour + 1) * 3_600_000)
        self._sources.put(now, source, (hour, asked, missed, until), expires)


class Growth(Rule, frozen=True, kw_only=True):
    """A source's volume may grow by a factor from its best day to the next, not faster: warm-up."""

    first_day: Annotated[int, Meta(ge=1, le=1_000_000_000, description="mails for the unknown")]
    factor: Annotated[
        float, Meta(ge=1.0, le=100.0, description="of the best of the days before")
    ] = 2.0
    memory_days: Annotated[
        int, Meta(ge=1, le=365, description="a source unseen for so long is unknown again")
    ] = 30
    per: Annotated[
        Literal["source", "sender_domain"], Meta(description="whose volume is counted")
    ] = "source"


class GrowthModel:
    """Keeps (day, count of that day, best of the days before) for each source."""

    cause = "growth"

    def __init__(self, rule: Growth) -> None:
        self.rule = rule
        self._sources: ExpiringTable[tuple[int, int, int]] = ExpiringTable(_SOURCES_MAX)

    def allowed(self, attempt: Attempt) -> int:
        """Count mails that the source may still send today; 0 or less is none."""
        _, today, best = self._state(attempt)
        return max(self.rule.first_day, int(best * self.rule.factor)) - today

    def take(self, attempt: Attempt) -> None:
        """Count one mail that was taken."""
        day, today, best = self._state(attempt)
        expires = (day + self.rule.memory_days + 1) * _DAY_MS
        self._sources.put(attempt.now, self._key(attempt), (day, today + 1, best), expires)

    def _state(self, attempt: Attempt) -> tuple[int, int, int]:
        day = attempt.now // _DAY_MS
        state = self._sources.get(attempt.now, self._key(attempt))
        if state is None:
            return day, 0, 0
        last, count, best = state
        return state if last == day else (day, 0, max(best, count))

    def _key(self, attempt: Attempt) -> str:
        connection = attempt.connection
        if self.rule.per == "source":
            return connection.source
        return connection.reverse_path.rpartition("@")[2].lower()
