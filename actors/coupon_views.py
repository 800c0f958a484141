"""Pools of coupon codes as the edge sees them."""

from __future__ import annotations

__all__ = ("CodeView", "PoolView", "Pools")

import msgspec


class PoolView(msgspec.Struct, frozen=True):
    """A pool of coupon codes. `known`: codes of imports that were there already; `refused`: asked for in vain."""

    pool: str
    added: int
    given: int
    left: int
    low: int
    known: int
    refused: int
    closed: bool
    expires_ms: int = 0  # from then on nothing is given; 0: for ever

    def trouble(self, now_ms: int) -> str:
        """Tell why it gives nothing now; "": it does."""
        if self.closed:
            return "is closed"
        if self.expires_ms and now_ms >= self.expires_ms:
            return "has expired"
        return "" if self.left else "has no code left"


class Pools(msgspec.Struct, frozen=True):
    """The pools of a tenant."""

    pools: list[PoolView]


class CodeView(msgspec.Struct, frozen=True):
    """A code of a pool; `holder` "" and no time: given to nobody yet."""

    holder: str = ""
    at_ms: int | None = None
    scenario: str = ""
    step: str = ""
