"""Which blobs some message still needs: read off every store, while a worker runs or when nobody does.

Needed is what an unfinished message refers to (one in doubt may be sent again), what an idempotency key has still to
tell, what waits in an outbox, and what an input in quarantine would bring. Of a worker that runs this goes in slices
between its ticks, over a view that doesn't change where its store can give one. Without one each row is read once, in
order: what comes behind the reader is young, and young blobs are kept whoever needs them.
"""

from __future__ import annotations

__all__ = ("BlobMarks", "MarkWork", "Marking", "needed_of")

import asyncio
import re
import time
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
import structlog

from actors.operations.counting import View, slices
from actors.operations.recounting import REST_PER_WORK, view_of
from deliverability.compose.attaching import Assembled
from deliverability.injected import MAIL, is_reference
from deliverability.message.state import QUEUED, MessageState
from engine.entities import Machines
from engine.errors import DamageError, StoreError
from engine.host import Host
from engine.keyspace import IDEMPOTENCY, MESSAGE, kind_of
from engine.machine import Retired
from engine.once import OnceState
from engine.rows import ENTITY, OUTBOX, QUARANTINE, open_envelope
from engine.store.blob_files import BlobFiles, Needed
from engine.store.protocol import partition_prefix

log = structlog.get_logger()

_TEXT = re.compile(rb"(?:blob|mail):[0-9a-f]{32}|raw:[0-9a-f]{16}-[0-9a-z]{1,16}-[0-9-]{3,25}")
_SEGMENT = re.compile(r"raw:([0-9a-f]{16}-[0-9a-z]{1,16})-")
_ASSEMBLED = msgspec.json.Decoder(Assembled)


class BlobMarks(msgspec.Struct, frozen=True, array_like=True):
    """What one worker found: `numbers` are the partitions that it looked through."""

    state: Literal["none", "running", "done", "failed"] = "none"
    numbers: list[int] = []
    references: list[str] = []
    why: str = ""


class MarkWork:
    """The partitions of one store, looked through slice by slice.

    Args:
        view: its rows.
        machines: decode entities.
        numbers: the partitions.
    """

    def __init__(self, view: View, machines: Machines, numbers: Iterable[int]) -> None:
        self.references: set[str] = set()
        self._view = view
        self._machines = machines
        self._work = self._all(numbers)

    def step(self) -> bool:
        """Look at one slice. Returns whether there is more. Raises: StoreError; DamageError: a row can't be read."""
        return next(self._work, None) is not None

    def _all(self, numbers: Iterable[int]) -> Iterator[bool]:
        for number in numbers:
            prefix = partition_prefix(number)
            for rows in slices(self._view, prefix + ENTITY):
                for row, raw in rows:
                    self._entity(row[3:], raw)
                yield True
            for index in (OUTBOX, QUARANTINE):
                for rows in slices(self._view, prefix + index):
                    for _, raw in rows:
                        for found in _TEXT.findall(raw):
                            self._refer(found.decode())
                    yield True

    def _entity(self, key: bytes, raw: bytes) -> None:
        kind = kind_of(key)
        if kind not in (MESSAGE, IDEMPOTENCY):
            return
        # what has ended needs nothing, and is most of what is kept
        if kind == MESSAGE and isinstance(open_envelope(key, raw)[2], Retired):
            return
        state, _ = self._machines.read(key, raw)
        if isinstance(state, MessageState):
            if state.status in (*QUEUED, "in_doubt"):
                self._refer(state.send.template)
        elif isinstance(state, OnceState):
            for item in state.untold:
                self._refer(item.body.template)

    def _refer(self, template: str) -> None:
        if is_reference(template):
            # of whole messages their segment is enough: millions may wait in one
            segment = _SEGMENT.match(template)
            self.references.add(template if segment is None else segment[0])


class Marking:
    """The newest look of one worker, under way or done."""

    def __init__(self) -> None:
        self.marks = BlobMarks()

    async def run(self, host: Host) -> None:
        """Look through everything, once; a store that is opened again meanwhile ends it."""
        numbers = sorted(host.partitions)
        self.marks = BlobMarks("running", numbers)
        view = view_of(host.store)
        work = MarkWork(view or host.store, host.machines, numbers)
        try:
            began = time.monotonic()
            while work.step():
                await asyncio.sleep((time.monotonic() - began) * REST_PER_WORK)
                began = time.monotonic()
        except (StoreError, DamageError) as error:
            self.marks = BlobMarks("failed", numbers, why=str(error)[:300])
            log.warning("blobs_not_looked_through", error=str(error)[:300])
            return
        finally:
            if view is not None:
                view.close()
        self.marks = BlobMarks("done", numbers, sorted(work.references))


def needed_of(references: Iterable[str], blobs: BlobFiles) -> Needed:
    """Tell the blobs that references need: a mail with attachments needs those too.

    Raises: StoreError, DamageError: such a mail can't be read, so nobody knows what it needs.
    """
    objects: set[str] = set()
    segments: set[str] = set()
    for reference in references:
        segment = _SEGMENT.match(reference)
        if segment is not None:
            segments.add(segment[1])
            continue
        digest = reference.partition(":")[2]
        objects.add(digest)
        if reference.startswith(MAIL):
            mail = _ASSEMBLED.decode(blobs.get(digest))
            objects.update(one.digest for one in mail.attachments)
    return Needed(frozenset(objects), frozenset(segments))
