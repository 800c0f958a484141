"""What governor and holders say to each other, and the times that both keep to."""

from __future__ import annotations

__all__ = (
    "ASK_EVERY_MS",
    "DRIFT_MS_PER_S",
    "LONGEST_SESSION_MS",
    "SAFE_MS",
    "SAFE_PERCENT",
    "SLOTS",
    "TERM_MS",
    "Answer",
    "Ask",
    "Budget",
    "Life",
    "Need",
    "Share",
    "safe_share",
    "with_drift",
)

import msgspec

TERM_MS = 5000
"""How long a lease runs."""

ASK_EVERY_MS = 250
"""How often a holder asks: what one doesn't need is with who does after three of these."""

SAFE_MS = 600_000
"""How long after its last lease a holder uses its safe share; by then others have had its partitions for long."""

LONGEST_SESSION_MS = 1_800_000
"""How long a connection may live on after its lease: the sum of RFC 5321 §4.5.3.2's time-outs for a transaction."""

DRIFT_MS_PER_S = 5
"""How much two monotonic clocks may differ in a second."""

SAFE_PERCENT = 3
"""How much of a budget is set aside for holders that hear nothing from the governor."""

SLOTS = 16
"""Among how many holders the safe part is divided; holders beyond it live on leases alone."""


class Budget(msgspec.Struct, frozen=True):
    """What may be used in all. Rates in messages a minute; None: not limited."""

    connections: int
    per_minute: int | None = None
    burst: int = 1


class Need(msgspec.Struct, frozen=True, array_like=True):
    """What a holder could use of a budget. `open`: connections that it has, those that are closing included.

    `may`: how many it may have now, by whatever lease or safe share it goes. `warm`: how many it would like to keep
    open, for what may come, if nobody else needs them.
    """

    connections: int
    per_minute: int
    open: int = 0
    may: int = 0
    warm: int = 0


class Life(msgspec.Struct, frozen=True, array_like=True):
    """A life of a holder, as the governor keeps it durably before its first answer."""

    holder: str
    incarnation: int
    slot: int | None


class Share(msgspec.Struct, frozen=True, array_like=True):
    """What one holder may use of a budget. `per_minute` None: as much as it likes."""

    connections: int = 0
    per_minute: int | None = 0
    burst: int = 0


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A holder's question. `using`: (epoch, number) of the answer that it goes by; `number` grows with each.

    `seen`: the newest governor that it heard from; `leaving`: it uses nothing any more, and never will.
    """

    holder: str
    incarnation: int
    number: int
    using: tuple[int, int]
    needs: dict[str, Need]
    seen: int = 0
    leaving: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The governor's answer to a question: all shares of this holder, until a term after it asked.

    `safe`: what to fall back to when the term is over. `waits`: this governor is new, and knows too little to give
    anything: what a former one gave holds to its end.
    """

    epoch: int
    number: int
    incarnation: int
    shares: dict[str, Share]
    safe: dict[str, Share]
    term_ms: int = TERM_MS
    waits: bool = False


def with_drift(ms: int) -> int:
    """Give a time by which surely `ms` have passed on another clock."""
    return ms + ms * DRIFT_MS_PER_S // 1000 + 1


def safe_share(budget: Budget) -> Share:
    """Give the safe share of one slot."""
    rate = budget.per_minute
    per_minute = rate * SAFE_PERCENT // (100 * SLOTS) if rate is not None else None
    connections = budget.connections * SAFE_PERCENT // (100 * SLOTS)
    burst = 1 if per_minute and budget.burst > SLOTS else 0
    if rate is not None and not burst:
        per_minute = 0
    return Share(connections, per_minute, burst)
