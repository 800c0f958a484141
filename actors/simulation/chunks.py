"""Share contacts out over processes: chunks of one size whatever the number of processes, added up in their order.

So the same seed gives the same bytes on any machine.
"""

from __future__ import annotations

__all__ = ("CHUNK", "Make", "Work", "in_chunks")

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final

CHUNK: Final = 2_000
"""Contacts of one chunk."""

Work = Callable[[int, int], bytes]
"""Lives the contacts from one number to before another, and gives their counts as MessagePack."""

Make = Callable[[bytes], Work]
"""Makes the work of a process from what describes it; a function of a module, since processes are spawned."""


def in_chunks(make: Make, what: bytes, contacts: int, processes: int) -> Iterator[bytes]:
    """Work through all contacts; results come in the order of chunks."""
    tasks = [(first, min(first + CHUNK, contacts)) for first in range(0, contacts, CHUNK)]
    if processes == 1 or len(tasks) == 1:
        work = make(what)
        yield from (work(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (make, what)) as pool:
        yield from pool.map(_task, tasks)


_work: list[Work] = []


def _begin(make: Make, what: bytes) -> None:
    """Make the work of a process, once. Lives leave no cycles behind, so the collector only costs."""
    _work[:] = [make(what)]
    gc.collect()
    gc.freeze()
    gc.disable()


def _task(task: tuple[int, int]) -> bytes:
    return _work[0](*task)
