"""What preflight says to the scenarios that an instance begins with: told once, and nothing is refused.

An instance must come back whatever DNS says, so `up` publishes first and looks then.
"""

from __future__ import annotations

__all__ = ("tell_preflight",)

from collections.abc import Callable, Iterable

from actors.planning.versions import VersionDesk
from actors.preflighting import SHOWN_MAX, Preflight, lines_of
from deliverability.preflight.findings import Report
from engine.errors import VeredusError


async def tell_preflight(
    preflight: Preflight, desk: VersionDesk, tenants: Iterable[str], say: Callable[[str], None]
) -> None:
    """Examine the templates of all current scenarios and say what blocks; at most a few lines."""
    if preflight.at_publish == "off":
        return
    reports: list[Report] = []
    for tenant in tenants:
        for item in desk.head().items:
            if (item.section, item.tenant) != ("scenario", tenant):
                continue
            try:
                scenario = desk.scenario(tenant, item.name)
                found, uncomposed = await preflight.reports_of_scenario(tenant, scenario)
                reports += found
                for mistake in uncomposed:
                    say(f"preflight of scenario {item.name}: {mistake}")
            except VeredusError as error:
                say(f"preflight of scenario {item.name}: {error}")
    blocks = [line for line in lines_of(reports) if line.verdict == "block"]
    for line in blocks[:SHOWN_MAX]:
        mend = f"; mend: {line.mend}" if line.mend else ""
        say(f"providers refuse {line.template}: {line.check} ({line.subject}): {line.found}{mend}")
    if len(blocks) > SHOWN_MAX:
        say(
            f"and {len(blocks) - SHOWN_MAX} more: `veredus scenario publish` or `preflight` shows all"
        )
