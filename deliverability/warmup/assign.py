"""Sharing a day's recipients out: the most engaged to sources being warmed up, the overflow to warm ones.

A new source should first write to those who open and click, since their reading is what earns it trust; whoever has
been silent for long comes last, from a source that can bear it.
"""

from __future__ import annotations

__all__ = ("Assignment", "Recipient", "Room", "assign_recipients")

from collections.abc import Sequence

import msgspec


class Recipient(msgspec.Struct, frozen=True):
    """A recipient of today; a higher engagement is a more eager reader."""

    id: str
    engagement: int


class Room(msgspec.Struct, frozen=True):
    """How many more messages a source may send to a provider today."""

    source: str
    left: int
    is_warm: bool


class Assignment(msgspec.Struct, frozen=True):
    """Who gets mail from which source, in the order of sending, and who has to wait for another day."""

    by_source: dict[str, tuple[str, ...]]
    waiting: tuple[str, ...]


def assign_recipients(recipients: Sequence[Recipient], rooms: Sequence[Room]) -> Assignment:
    """Share recipients out.

    Sources being warmed up are filled first, the one with the least room first, since its few messages should be the
    best received; warm sources take the overflow in proportion to their room. Equal engagement keeps the given order.
    No source gets more than its room; nobody is assigned twice or lost.
    """
    eager = [each.id for each in sorted(recipients, key=lambda each: -each.engagement)]
    by_source: dict[str, tuple[str, ...]] = {}
    cold = sorted((room for room in rooms if not room.is_warm), key=lambda room: room.left)
    for room in cold:
        by_source[room.source] = tuple(eager[: room.left])
        eager = eager[room.left :]
    warm = [room for room in rooms if room.is_warm and room.left > 0]
    total = sum(room.left for room in warm)
    overflow, eager = eager[:total], eager[total:]
    return Assignment(by_source | _in_proportion(overflow, warm, total), tuple(eager))


def _in_proportion(
    overflow: Sequence[str], warm: Sequence[Room], total: int
) -> dict[str, tuple[str, ...]]:
    shares: dict[str, tuple[str, ...]] = {}
    begin = room_before = 0
    for room in warm:
        room_before += room.left
        end = len(overflow) * room_before // total  # exact at the last, never above a room's own
        end = min(end, begin + room.left)
        shares[room.source] = tuple(overflow[begin:end])
        begin = end
    return shares
