"""Pools that steps take codes from, against those that there are: one that is missing is found before a journey."""

from __future__ import annotations

__all__ = ("pool_mistakes", "pools_of")

from collections.abc import Mapping

from actors.coupon_views import PoolView
from scenarios.document import parse_document
from scenarios.mistakes import Mistake, did_you_mean
from scenarios.model import Coupon, walk
from scenarios.reading import Reading, read


def _reading(text: str, file: str) -> Reading | None:
    root, _ = parse_document(text, file)
    reading = read(root, file) if root is not None else None
    return reading if reading is not None and not reading.mistakes else None


def pools_of(text: str) -> tuple[str, ...]:
    """Give the pools that a scenario takes codes from; of a text that has mistakes none."""
    reading = _reading(text, "")
    steps = reading.scenario.steps if reading is not None and reading.scenario is not None else ()
    return tuple(sorted({step.pool for step in walk(steps) if isinstance(step, Coupon)}))


def pool_mistakes(
    text: str, file: str, pools: Mapping[str, PoolView], used: tuple[str, ...], now_ms: int
) -> list[Mistake]:
    """Find `coupon` steps whose pool isn't there, or gives nothing.

    Args:
        text: the scenario's.
        file: for places.
        pools: those that there are, by name.
        used: pools of the version that is current: one of those that has run dry must not keep an edit from going live.
        now_ms: the time.
    """
    reading = _reading(text, file)
    if reading is None or reading.scenario is None:
        return []
    found = []
    for step in walk(reading.scenario.steps):
        if not isinstance(step, Coupon):
            continue
        pool = pools.get(step.pool)
        said = "isn't there" if pool is None else pool.trouble(now_ms)
        if not said or (pool is not None and step.pool in used):
            continue
        line, column, path = reading.places.get(id(step), (1, 1, ""))
        near = did_you_mean(step.pool, pools) if pool is None else ""
        mend = near or f"`veredus coupons import {step.pool} FILE`"
        found.append(Mistake(file, line, column, path, f"the pool `{step.pool}` {said}", mend))
    return found
