"""Changing a DKIM key for another without a message that fails: publish, check, switch, and only then let go.

    (none) ──begin──▶ published ──DNS shows the new key──▶ switched ──the old key's mail is gone──▶ retired

A selector is switched to only after DNS has shown the very key that will sign. The old record stays until mail
signed with it has been delivered and read over: messages live for days in queues. Pure; who calls keeps the state.
"""

from __future__ import annotations

__all__ = ("Phase", "Rotation", "Step", "advance", "begin", "next_selector")

import re
from collections.abc import Collection
from enum import StrEnum
from typing import assert_never

import msgspec

from engine.errors import InputError, Place

DAY_MS = 86_400_000
KEEP_OLD_MS = 14 * DAY_MS
"""How long the old record is kept: the longest life of a message, and as long for mail that is read later."""


class Phase(StrEnum):
    """How far a rotation is."""

    PUBLISHED = "published"  # the new record has been printed, the old key signs
    SWITCHED = "switched"  # the new key signs, the old record stays
    RETIRED = "retired"  # the old record may go


class Rotation(msgspec.Struct, frozen=True):
    """A rotation of one domain's key; times in ms, 0 where it hasn't happened."""

    domain: str
    old_selector: str
    new_selector: str
    new_key_file: str
    phase: Phase
    began: int
    switched: int = 0
    retired: int = 0


class Step(msgspec.Struct, frozen=True):
    """A rotation after a step, whether it moved, and what there is to do now."""

    rotation: Rotation
    moved: bool
    todo: str


def next_selector(selector: str, taken: Collection[str]) -> str:
    """Name the next selector: its number one higher, `s1` to `s2`; one without a number gets `-2`."""
    stem, number = re.fullmatch(r"(.*?)([0-9]{0,9})", selector, re.DOTALL).groups()  # type: ignore[union-attr]  # matches any text
    joint, count = (stem, int(number)) if number else (f"{stem}-", 1)
    while True:
        count += 1
        named = f"{joint}{count}"
        if named not in taken:
            return named


def begin(domain: str, old_selector: str, new_selector: str, key_file: str, now: int) -> Rotation:
    """Begin: the new record is to be published, the old key goes on signing.

    Raises:
        InputError: both selectors are the same.
    """
    if old_selector == new_selector:
        place = Place(path="selector")
        raise InputError(f"{new_selector} is in use already", place, "name another selector")
    return Rotation(domain, old_selector, new_selector, key_file, Phase.PUBLISHED, now)


def advance(rotation: Rotation, why_not: str, now: int) -> Step:
    """Go on, if it is time. `why_not` says why DNS doesn't show the new key, "" when it does."""
    match rotation.phase:
        case Phase.PUBLISHED:
            if why_not:
                todo = f"publish the record of {rotation.new_selector}, then ask again ({why_not})"
                return Step(rotation, False, todo)
            moved = msgspec.structs.replace(rotation, phase=Phase.SWITCHED, switched=now)
            return Step(moved, True, _keep(moved, now))
        case Phase.SWITCHED:
            if now < rotation.switched + KEEP_OLD_MS:
                return Step(rotation, False, _keep(rotation, now))
            moved = msgspec.structs.replace(rotation, phase=Phase.RETIRED, retired=now)
            return Step(moved, True, _remove(moved))
        case Phase.RETIRED:
            return Step(rotation, False, _remove(rotation))
        case _:
            assert_never(rotation.phase)


def _keep(rotation: Rotation, now: int) -> str:
    days = -(-(rotation.switched + KEEP_OLD_MS - now) // DAY_MS)
    return f"keep the record of {rotation.old_selector} for {days} more days, then ask again"


def _remove(rotation: Rotation) -> str:
    return f"the record of {rotation.old_selector} may be revoked (p= empty) or removed"
