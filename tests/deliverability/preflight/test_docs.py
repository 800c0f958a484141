"""The documentation has every check as it is."""

from __future__ import annotations

from pathlib import Path

from deliverability.dns.zone import parse_zone
from deliverability.preflight.demands import CHECKS

DOCS = Path(__file__).resolve().parents[3] / "docs/preflight.md"


def test_every_check_is_documented_as_it_is() -> None:
    """Name, row, title, weight and who demands it."""
    text = DOCS.read_text("utf-8")
    for check in CHECKS.values():
        by = ", ".join(dict.fromkeys(f"{one.provider} {one.level}" for one in check.demands))
        row = f"| `{check.name}` | {check.row or ''} | {check.title} | {check.weight} | {by} |"
        assert row in text


def test_the_zone_of_the_documentation_can_be_read() -> None:
    """As it stands there."""
    text = DOCS.read_text("utf-8")
    parse_zone(text.partition("```toml\n")[2].partition("```")[0])
