"""How an actor on another node than the desk's has the suppression list: by a copy of this node, kept over Ray."""

from __future__ import annotations

__all__ = ("NodeList", "node_list_of")

import asyncio
import time
from typing import Any

import msgspec

from actors.cluster.calls import called
from actors.suppression.mirroring import Mirroring
from actors.suppression.node_shelf import make_folder, node_folder, take_key
from actors.suppression.source import list_id_of
from actors.worker import wire
from deliverability.suppression.broadcast import Asked, News
from deliverability.suppression.mirror import Question
from engine.errors import DamageError

KEY_S = 10.0
GROUP = "news"
"""The controller's methods that answer for the list have a loop of their own: a page or a wait delays no lease."""

CONCURRENCY = {GROUP: 1000}


class NodeList:
    """This node's copy, as far as one process has to do with it.

    Args:
        settings: of the worker.
        controller: beside the desk; it answers for the list.
    """

    def __init__(self, settings: wire.WorkerSettings, controller: Any) -> None:
        self._list_id = settings.suppression_list
        self._controller = controller
        self._folder = node_folder(settings.config.suppression.node_dir, self._list_id)
        self._mirroring: Mirroring | None = None
        self._beginning = asyncio.Lock()
        self.settings = msgspec.structs.replace(settings, suppression_dir=str(self._folder))
        """The worker's settings, with where its list is."""

    async def ready(self) -> None:
        """Wait until addresses can be hashed as the list does; from then on the copy is kept. Idempotent.

        The copy itself may come later: until it is there nothing begins.
        Raises: ConfigError: this node has no folder for it. TimeoutError, VeredusError: the controller is away.
        """
        async with self._beginning:
            if self._mirroring is not None:
                return
            make_folder(self._folder)
            async with asyncio.timeout(KEY_S):
                asking = self._controller.suppression_key.options(concurrency_group=GROUP)
                key: bytes = await called(asking.remote(), "the controller")
            if list_id_of(key) != self._list_id:
                raise DamageError("the controller answers for another suppression list")
            take_key(self._folder, key)
            line = _Line(self._controller)
            self._mirroring = Mirroring(self._folder, self._list_id, line, _monotonic_ms)
            self._mirroring.start()

    def stop(self) -> None:
        """Keep the copy no longer. Idempotent."""
        if self._mirroring is not None:
            self._mirroring.stop()


def node_list_of(settings: wire.WorkerSettings, controller: Any) -> NodeList | None:
    """Make it where the desk is on another node; None: its files are here.

    Whether the folder is shared isn't asked: a network file system may show an old file for many seconds.
    """
    import ray

    here = str(ray.get_runtime_context().get_node_id())
    if not settings.suppression or settings.desk_node in ("", here):
        return None
    return NodeList(settings, controller)


class _Line:
    """Carries questions to the controller over Ray, from a thread (`actors.suppression.mirroring.Line`)."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self._out: dict[Any, type] = {}
        self._failed: list[object] = []

    def send(self, question: Question) -> object:
        body = question.body
        raw = wire.encode(body)
        asked = isinstance(body, Asked)
        method = self._controller.suppression_news if asked else self._controller.suppression_page
        try:
            reference: object = method.options(concurrency_group=GROUP).remote(raw)
        except Exception:  # noqa: BLE001 -- too many calls wait, or Ray goes: no answer, either way
            reference = object()
            self._failed.append(reference)
            return reference
        self._out[reference] = News if asked else bytes
        return reference

    def wait(self, timeout_s: float) -> list[tuple[object, News | bytes | None]]:
        import ray

        found: list[tuple[object, News | bytes | None]] = [(one, None) for one in self._failed]
        self._failed.clear()
        if not self._out:
            return found
        done, _ = ray.wait(list(self._out), num_returns=1, timeout=timeout_s)
        for reference in done:
            kind = self._out.pop(reference)
            try:
                raw: bytes = ray.get(reference)
            except Exception:  # noqa: BLE001 -- whatever it was: there is no answer
                found.append((reference, None))
                continue
            if kind is bytes:
                found.append((reference, raw))
            else:
                found.append((reference, wire.decode(News | None, raw)))
        return found

    def forget(self, token: object) -> None:
        self._out.pop(token, None)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
