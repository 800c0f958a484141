"""Options for what becomes of contacts under way when a scenario changes."""

from __future__ import annotations

__all__ = ("Places", "Policy", "Spread", "read_moving")

from typing import Annotated, Any

import typer

from engine.errors import InputError

Policy = Annotated[
    str,
    typer.Option(
        "--policy",
        help="Contacts under way: `stay` on their version, move at their `next` step, or `now`.",
    ),
]
Places = Annotated[
    list[str] | None,
    typer.Option(
        "--place", metavar="OLD=NEW", help="Where journeys at a removed step go; `OLD=` ends them."
    ),
]
Spread = Annotated[
    str, typer.Option(metavar="DURATION", help="Over which time what a move makes due is spread.")
]


def read_moving(policy: str, places: list[str] | None, spread: str) -> dict[str, Any]:
    """Read what becomes of contacts under way. Raises: InputError: a value that can't be."""
    from scenarios.duration import parse_duration

    if policy not in {"stay", "next", "now"}:
        raise InputError(f"`--policy` can't be `{policy}`", mend="it is stay, next or now")
    spread_ms = 0 if spread == "0" else parse_duration(spread)
    if spread_ms is None:
        raise InputError(f"`{spread}` isn't a duration", mend="write `1h`, for instance")
    found: dict[str, str] = {}
    for pair in places or []:
        old, equals, new = pair.partition("=")
        if not equals:
            raise InputError(
                f"`--place {pair}` has no `=`", mend="write `--place old-step=new-step`"
            )
        found[old] = new
    return {"policy": policy, "places": found, "spread_ms": spread_ms}
