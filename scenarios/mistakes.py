"""Mistakes of a scenario file: where, what was expected, how to mend it. All are reported, not only the first."""

from __future__ import annotations

__all__ = ("Mistake", "did_you_mean")

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec

from engine.errors import InputError, Place


class Mistake(msgspec.Struct, frozen=True, order=True):
    """One mistake; line and column count from 1, `path` is such as `steps[2].send.topic`."""

    file: str
    line: int
    column: int
    path: str
    message: str
    mend: str = ""

    def __str__(self) -> str:
        """One line: place, message, mend."""
        return str(self.error())

    def error(self) -> InputError:
        """Make the error that says the same."""
        place = Place(self.file, self.line, self.column, self.path)
        return InputError(self.message, place, self.mend)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word; empty when none is near."""
    near = get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""
