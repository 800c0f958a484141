"""The pacer beside the governor: one for all senders of an instance, and the file that outlives it.

`pacing.json` in the data directory holds what lanes found out, where warm-ups are, what automation holds, and what it
did that nobody has taken over yet. It is written before the answer whenever a message of a warm-up is given out beyond
what stands there or a rule fired, and every half minute otherwise. A file that can't be read is set aside, and told:
what lanes found out is found again, but warm-ups begin anew, on the careful side.
"""

from __future__ import annotations

__all__ = ("PacingDesk", "PacingQuestion", "pacing_desk_of")

from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from actors.pacing_rules import is_paced, options_of, rules_of
from actors.pacing_views import PacingView
from deliverability.pacing.acting import Acted
from deliverability.pacing.exchange import PaceAnswer, PaceAsk
from deliverability.pacing.pacer import KeptPacing, Pacer, PacerOptions
from deliverability.pacing.telling import lane_views
from deliverability.shaping.rules import RuleSet
from engine.config import Config
from engine.store.catalog_files import write_durably

log = structlog.get_logger()

KEEP_MS = 30_000
FILE = "pacing.json"


class Complaints(msgspec.Struct, frozen=True, array_like=True):
    """Complaints that came in since the last time: of a source's mail at a provider, as the feedback side names it."""

    source: str
    provider: str
    number: int


class Press(msgspec.Struct, frozen=True, array_like=True):
    """Slow down what a source sends to a provider (as the feedback side names it), until then (ms); None: all do."""

    provider: str
    until_ms: int
    reason: str
    source: str | None = None


class PacingQuestion(msgspec.Struct, frozen=True, array_like=True):
    """What the instance asks and tells the pacer: how lanes are doing, what automation did behind a number.

    `known`: the number of the newest act that is on record; those up to it are forgotten here.
    """

    known: int = 0
    complaints: list[Complaints] = []
    presses: list[Press] = []
    curves: bool = False


class _Kept(msgspec.Struct, frozen=True):
    """What is written down."""

    pacing: KeptPacing | None
    acts: list[tuple[int, Acted]] = []
    number: int = 0


class PacingDesk:
    """The pacer of one life of the controller.

    Args:
        folder: the data directory.
        rules: all files.
        options: what it begins with.
        wall_ms: the wall clock.
    """

    def __init__(
        self, folder: Path, rules: RuleSet, options: PacerOptions, wall_ms: Callable[[], int]
    ) -> None:
        self._path = folder / FILE
        self._wall_ms = wall_ms
        kept = self._read()
        self._acts = list(kept.acts)
        self._number = kept.number
        self._pacer = Pacer(rules, options, wall_ms(), kept.pacing)
        self._kept_at = wall_ms()

    def ask(self, ask: PaceAsk) -> PaceAnswer | None:
        """Answer a sender; what must be remembered is durable first."""
        answer = self._pacer.ask(ask, self._wall_ms())
        self._collect()
        if self._pacer.must_keep or self._wall_ms() - self._kept_at >= KEEP_MS:
            self.keep()
        return answer

    def tell(self, question: PacingQuestion) -> PacingView:
        """Tell how lanes are doing and what automation did; hear of complaints."""
        now = self._wall_ms()
        for one in question.complaints:
            self._pacer.complained(one.source, one.provider, one.number, now)
        for press in question.presses:
            self._pacer.press(press.provider, press.until_ms, press.reason, now, press.source)
        self._acts = [one for one in self._acts if one[0] > question.known]
        self._collect()
        if self._pacer.must_keep:
            self.keep()
        return PacingView(
            on=True,
            lanes=lane_views(self._pacer, now, curves=question.curves),
            acts=[act for _, act in self._acts],
            newest=self._number,
            flows=self._pacer.flows.views(now),
        )

    def keep(self) -> None:
        """Write down what must outlive this process; durable on return."""
        self._kept_at = self._wall_ms()
        kept = _Kept(self._pacer.kept(), self._acts, self._number)
        write_durably(self._path, msgspec.json.encode(kept))

    def _collect(self) -> None:
        for act in self._pacer.take_acted():
            self._number += 1
            self._acts.append((self._number, act))
            log.warning(
                "automation",
                action=act.action,
                source=act.source,
                site=act.site,
                rule=act.rule,
                until_ms=act.until_ms,
            )

    def _read(self) -> _Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept(None)
        except (OSError, msgspec.MsgspecError) as error:
            aside = self._path.with_suffix(".unreadable")
            log.warning("pacing_forgotten", path=str(self._path), error=str(error), kept=str(aside))
            self._path.replace(aside)
            return _Kept(KeptPacing())


def pacing_desk_of(folder: Path, config: Config, wall_ms: Callable[[], int]) -> PacingDesk | None:
    """Make the pacer of an instance; None where nothing is paced. Raises: UserError: a rule file has a mistake."""
    if not is_paced(config):
        return None
    return PacingDesk(folder, rules_of(config), options_of(config), wall_ms)
