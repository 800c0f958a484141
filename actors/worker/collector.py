"""The garbage collector of a worker's process.

States, events and messages are trees: reference counts free them. With the interpreter's own settings the collector
walked the whole cache of entities every few hundred allocations, which took a quarter of the CPU time of an event
(`bench/` case `events`: 142 µs with them, 101 with 500,000, 98 without any collector).

It looks at what was made lately and is still there, 0.1 to 0.15 µs each, and everything waits for it: of 500,000 that
were 77 ms when journeys of 30,000 contacts came due together (`wake`). Of 50,000 it is a tenth as long, ten times as
often. What survives costs little later: of most dictionaries and tuples it finds that they can be in no cycle.
"""

from __future__ import annotations

__all__ = ("tune_collector",)

import gc

THRESHOLDS = (50_000, 20, 100)


def tune_collector() -> None:
    """Collect seldom, and never again what was made until now: modules, compiled scenarios. For processes of ours."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
