"""Which lanes a worker asks its egress credits for: those with ready messages, and those that were busy lately."""

from __future__ import annotations

__all__ = ("Crediting",)

from collections.abc import Callable, Iterable

from actors.worker.egress_port import EgressPort
from engine.tick import CreditOffer

KEPT_S = 2.0
"""Credits are asked for in advance for lanes that were busy so lately."""


class Crediting:
    """Lanes of one worker, and when each was busy last.

    Args:
        egress: grants credits.
        clock: monotonic, s.
        may: whether anything may be handed over now: not while it isn't known who is suppressed.
    """

    def __init__(
        self,
        egress: EgressPort,
        clock: Callable[[], float],
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._may = may
        self._seen: dict[bytes, float] = {}

    def busy(self, lane: bytes) -> None:
        """Hear that something of a lane is under way."""
        self._seen[lane] = self._clock()

    def offers(self, ready: Iterable[bytes], *, ahead: bool) -> list[CreditOffer]:
        """Ask for credits, given the lanes in which messages wait.

        `ahead`: for lanes that were busy lately too, since new messages may come of what is decided now.
        """
        if not self._may():
            return []
        now = self._clock()
        waiting = set(ready)
        for lane in waiting:
            self._seen[lane] = now
        found = []
        for lane, seen in sorted(self._seen.items()):  # a lane's name begins with its class
            if seen < now - KEPT_S:
                del self._seen[lane]
                continue
            if not ahead and lane not in waiting:
                continue
            offer = self._egress.offer(lane, ready=lane in waiting)
            if offer is not None:
                found.append(offer)
        return found

    def take_back(self, offers: Iterable[CreditOffer]) -> None:
        """Return what no message took."""
        for offer in offers:
            self._egress.take_back(offer)
