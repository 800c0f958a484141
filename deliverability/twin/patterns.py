"""Patterns with `*` for mailboxes and domains, matched in linear time."""

from __future__ import annotations

__all__ = ("compile_patterns",)

import re
from collections.abc import Callable

PATTERN_STARS_MAX = 3
"""Stars a pattern may have: a bound on how long a hostile name can keep the matcher busy."""


def compile_patterns(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Compile patterns to a test of lower-case names.

    `*` matches anything, an empty stretch included. Against an address, a pattern without `@` is a
    local part in any domain.

    Raises:
        ValueError: a pattern with more than `PATTERN_STARS_MAX` stars.
    """
    exact: set[str] = set()
    alternatives: list[str] = []
    for pattern in patterns:
        if pattern.count("*") > PATTERN_STARS_MAX:
            raise ValueError(f"{pattern!r} has more than {PATTERN_STARS_MAX} stars")
        if "*" in pattern:
            alternatives.append(".*".join(re.escape(part) for part in pattern.lower().split("*")))
        else:
            exact.add(pattern.lower())
    starred = re.compile("|".join(f"(?:{one})" for one in alternatives), re.DOTALL)

    def matches(name: str) -> bool:
        local_part, at, _ = name.rpartition("@")
        for candidate in (name, local_part) if at else (name,):
            if candidate in exact or (alternatives and starred.fullmatch(candidate)):
                return True
        return False

    return matches
