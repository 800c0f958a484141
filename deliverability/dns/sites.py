"""Names of sites: one name for the hosts that an MX set shares, so that limits hold for all domains behind them.

The form is KumoMTA's, whose rule files name sites so: hosts in order of preference, then of the alphabet, laid over
each other from their last label on; where they differ all labels stand in brackets, and `?` marks a label that some
hosts don't have:

    gmail-smtp-in.l.google.com, alt1.gmail-smtp-in.l.google.com, …  →  (alt1|alt2|alt3|alt4)?.gmail-smtp-in.l.google.com
"""

from __future__ import annotations

__all__ = ("site_name",)

from collections.abc import Iterable
from itertools import zip_longest

from deliverability.dns.asking import MxRecord


def site_name(exchanges: Iterable[MxRecord]) -> str:
    """Give the name of the site; the same for the same records, whatever their order."""
    hosts = dict.fromkeys(exchange.host.lower().removesuffix(".") for exchange in sorted(exchanges))
    rows = [host.split(".")[::-1] for host in hosts]
    return ".".join(reversed([_column(labels) for labels in zip_longest(*rows)]))


def _column(labels: tuple[str | None, ...]) -> str:
    present = [label for label in dict.fromkeys(labels) if label is not None]
    text = present[0] if len(present) == 1 else f"({'|'.join(present)})"
    return f"{text}?" if None in labels else text
