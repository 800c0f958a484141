"""Keeps a node's copy of the list up to date: in a thread of each worker there, of which one at a time has the pen.

The others try for the lock ten times a second, so that a worker that dies leaves a gap of that length. Whatever fails
here, the copy only gets older, and who sends by it begins nothing (`Guard.fresh`).
"""

from __future__ import annotations

__all__ = ("Line", "Mirroring")

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from actors.suppression.node_shelf import NodeShelf
from deliverability.suppression.broadcast import News, PageAsked
from deliverability.suppression.mirror import Mirror, Question

log = structlog.get_logger()

TRY_S = 0.1  # for the lock, and after a failure
TURN_S = 0.1
AGAIN_MS = 600  # a question that has no answer by then is asked again beside it
OUT_MAX = 4
LOST_MS = 20_000  # an answer that hasn't come by then isn't waited for


class Line(Protocol):
    """Carries questions to the source."""

    def send(self, question: Question) -> object:
        """Ask. Returns what the answer is known by. Raises nothing: a line that is cut gives answers that are None."""

    def wait(self, timeout_s: float) -> list[tuple[object, News | bytes | None]]:
        """Wait for answers and give them; None: there won't be one."""

    def forget(self, token: object) -> None:
        """Hear that an answer isn't waited for any more."""


class Mirroring:
    """A thread that keeps a copy.

    Args:
        folder: of this list on this node.
        list_id: the list.
        line: to the source.
        monotonic_ms: the node's monotonic clock, which all its processes share.
    """

    def __init__(
        self, folder: Path, list_id: str, line: Line, monotonic_ms: Callable[[], int]
    ) -> None:
        self._folder = folder
        self._list_id = list_id
        self._line = line
        self._monotonic_ms = monotonic_ms
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._shelf: NodeShelf | None = None
        self._mirror: Mirror | None = None
        self._out: dict[object, tuple[Question, int]] = {}
        self._damaged = 0
        self._trouble = ""

    def start(self) -> None:
        """Begin. Idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="suppression", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, and let the pen go. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self.turn(TURN_S):
                    self._stop.wait(TRY_S)
            except Exception as error:  # noqa: BLE001 -- whatever it was: the copy ages, and is tried anew
                self.close()
                if self._trouble != str(error):
                    log.warning("suppression_copy_stands_still", error=repr(error)[:300])
                self._trouble = str(error)
                self._stop.wait(TRY_S)
        self.close()

    def turn(self, timeout_s: float) -> bool:
        """Ask and listen once. Returns False where it should pause: another process writes, or the source is away."""
        if self._shelf is None:
            self._shelf = NodeShelf(self._folder)
        if not self._shelf.lock():
            return False
        if self._mirror is None:
            self._mirror = Mirror(self._list_id, self._shelf)
            self._damaged = 0
            log.info("suppression_copy_begins", folder=str(self._folder), has=self._mirror.version)
        self._ask(self._mirror)
        went_well = True
        for token, answer in self._line.wait(timeout_s):
            known = self._out.pop(token, None)
            if known is None:
                continue
            question, asked_at = known
            if isinstance(answer, News):
                self._mirror.news(question, asked_at, answer)
                self._trouble = ""
            elif isinstance(answer, bytes):
                self._mirror.page(question, answer)
            else:
                went_well = False
        if self._mirror.counts.damaged > self._damaged:
            self._damaged = self._mirror.counts.damaged
            log.warning("suppression_snapshot_damaged", times=self._damaged)
            return False
        return went_well

    def _ask(self, mirror: Mirror) -> None:
        now = self._monotonic_ms()
        for token, (_, asked_at) in list(self._out.items()):
            if now - asked_at > LOST_MS:
                del self._out[token]
                self._line.forget(token)
        question = mirror.question()
        latest = max((at for _, at in self._out.values()), default=None)
        paging = isinstance(question.body, PageAsked)
        same = any(one == question for one, _ in self._out.values())
        waits = AGAIN_MS * 5 if paging and same else AGAIN_MS
        if latest is not None and same and (now - latest < waits or len(self._out) >= OUT_MAX):
            return
        if len(self._out) < OUT_MAX:
            self._out[self._line.send(question)] = (question, now)

    def close(self) -> None:
        """Let everything go, as a process that dies does. Idempotent."""
        for token in self._out:
            self._line.forget(token)
        self._out.clear()
        self._mirror = None
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None
