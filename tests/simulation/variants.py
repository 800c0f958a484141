"""Planted bugs."""

from __future__ import annotations

from tests.simulation.cluster import Plan

VARIANTS: dict[str, Plan] = {}
