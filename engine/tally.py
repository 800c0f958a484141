"""The conservation law as counters: each counted entity is in exactly one bucket, at every instant.

    accepted = delivered + bounced + expired + suppressed + cancelled + skipped + erased
               + quarantined + in_doubt + queued

Counters move in the same batch as the states they count, by (tenant, stream). The law holds by construction as long as
nobody moves a counter without an entity; the audit counts everything anew and compares.
"""

from __future__ import annotations

__all__ = ("ACCEPTED", "BUCKETS", "QUARANTINED", "Counts", "Tally", "holds", "merged")

from collections.abc import Iterable

import msgspec

ACCEPTED = "accepted"
QUARANTINED = "quarantined"

BUCKETS = (
    "queued",
    "delivered",
    "bounced",
    "expired",
    "suppressed",
    "cancelled",
    "skipped",
    "erased",
    "quarantined",
    "in_doubt",
)

Counts = dict[str, int]


class Tally:
    """Counters of one partition: tenant and stream to bucket to number; beside it plain event counters.

    `skipped` counts by reason as `skipped:reason`. `dropped` tells what of each bucket was dropped after its retention,
    so that a recount of the living entities can be compared.
    """

    __slots__ = ("changed", "counts", "dropped", "facts")

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = {}  # "tenant\0stream"
        self.dropped: dict[str, Counts] = {}
        self.facts: Counts = {}
        self.changed = False

    def move(self, owner: str, old: str | None, new: str | None) -> None:
        r"""Move one entity of `owner` ("tenant\0stream") from bucket to bucket; None: it came, or was dropped."""
        self.changed = True
        counts = self.counts.get(owner)
        if counts is None:
            counts = self.counts[owner] = {}
        if old is None:
            counts[ACCEPTED] = counts.get(ACCEPTED, 0) + 1
        elif new is None:
            dropped = self.dropped.setdefault(owner, {})
            dropped[old] = dropped.get(old, 0) + 1
            return
        else:
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        if new is not None:
            counts[new] = counts.get(new, 0) + 1

    def count(self, fact: str, number: int = 1) -> None:
        """Count a fact that is no part of the law: duplicates, returns, refused inputs."""
        self.changed = True
        self.facts[fact] = self.facts.get(fact, 0) + number

    def encode(self) -> bytes:
        """Encode for the partition's row; equal counters give equal bytes."""
        return _ENCODER.encode((self.counts, self.dropped, self.facts))

    @classmethod
    def decode(cls, raw: bytes | None) -> Tally:
        """Read the partition's row; None is a partition that was never written."""
        tally = cls()
        if raw is not None:
            tally.counts, tally.dropped, tally.facts = _DECODER.decode(raw)
        return tally


_ENCODER = msgspec.msgpack.Encoder(order="sorted")
_DECODER = msgspec.msgpack.Decoder(tuple[dict[str, Counts], dict[str, Counts], Counts])


def merged(many: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
    """Add up the counters of several partitions."""
    total: dict[str, Counts] = {}
    for one in many:
        for owner, counts in one.items():
            into = total.setdefault(owner, {})
            for bucket, number in counts.items():
                into[bucket] = into.get(bucket, 0) + number
    return total


def holds(counts: Counts) -> bool:
    """Check the law for one tenant and stream."""
    return counts.get(ACCEPTED, 0) == sum(n for bucket, n in counts.items() if bucket != ACCEPTED)
