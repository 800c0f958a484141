"""What preflight says to a campaign that starts and to a scenario that is published: told, refused, or overridden."""

from __future__ import annotations

__all__ = ("Looked", "let_through", "look_at")

import msgspec

from actors.planning.keeper import Keeper
from actors.planning.versions import Author
from actors.preflighting import SHOWN_MAX, PreflightLine, blocking, lines_of, override_words
from engine.errors import RefusedError
from scenarios.model import Scenario


class Looked(msgspec.Struct, frozen=True):
    """What an examination came to. `unexamined` says what could not be looked at; `overridden` is for the record."""

    lines: list[PreflightLine] = []
    unexamined: str = ""
    overridden: str = ""

    def author(self, author: Author) -> Author:
        """Whoever publishes, with what they overrode and why."""
        if not self.overridden:
            return author
        reason = f"{author.reason}; {self.overridden}" if author.reason else self.overridden
        return msgspec.structs.replace(author, reason=reason)


async def look_at(
    keeper: Keeper, tenant: str, scenario: Scenario, override: str, *, refuses: bool
) -> Looked:
    """Examine the templates that a scenario sends.

    Args:
        keeper: examines.
        tenant: whose scenario it is.
        scenario: as it would be published.
        override: why it is published though something blocks; "" for no reason.
        refuses: whether what blocks may be refused: not where nothing would change.

    Raises:
        RefusedError: `[preflight]` refuses what blocks, or what can't be examined, and nobody overrides that.
    """
    preflight = keeper.preflight
    if preflight is None or preflight.at_publish == "off":
        return Looked()
    refuses = refuses and preflight.at_publish == "refuse"
    try:
        reports, uncomposed = await preflight.reports_of_scenario(tenant, scenario)
    except RefusedError as error:
        reports, uncomposed = [], [str(error)]
    lines, unexamined = lines_of(reports), "; ".join(uncomposed)
    blocks = [*uncomposed, *blocking(reports)]
    if blocks and refuses:
        if not override:
            raise _refusal(f"preflight blocks scenario {scenario.name}", blocks, "publish it")
        return Looked(lines, unexamined, override_words(reports, override))
    return Looked(lines, unexamined)


async def let_through(
    keeper: Keeper, tenant: str, name: str, override: str, author: Author
) -> Author:
    """Examine a campaign. Raises: RefusedError: something blocks it, and nobody overrides that."""
    if keeper.preflight is None:
        return author
    campaign = keeper.campaigns.get(tenant, name).campaign
    try:
        reports = await keeper.preflight.reports(tenant, campaign)
    except RefusedError:
        if override:
            return msgspec.structs.replace(author, reason=override_words([], override))
        raise
    blocks = blocking(reports)
    if not blocks:
        return author
    if not override:
        raise _refusal(f"preflight blocks campaign {name}", blocks, "start it")
    return msgspec.structs.replace(author, reason=override_words(reports, override))


def _refusal(what: str, blocks: list[str], act: str) -> RefusedError:
    more = len(blocks) - SHOWN_MAX
    said = " | ".join(blocks[:SHOWN_MAX]) + (f" | and {more} more" if more > 0 else "")
    mend = f"mend it (`veredus preflight` shows all), or {act} with an override and its reason"
    return RefusedError(f"{what}: {said}", mend=mend)
