"""The live display of a replay, fed with snapshots: a panel in a terminal, else one plain line every few seconds.

The display only shows; it counts nothing itself but rates, from the snapshots of the last seconds
and the clock it is given.
"""

from __future__ import annotations

__all__ = ("Clock", "ProgressDisplay", "ProviderCounts", "Rates", "Snapshot", "plain_line")

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Clock = Callable[[], float]
"""Monotonic seconds."""

RATE_WINDOW_S = 5.0
PLAIN_EVERY_S = 5.0
PROVIDERS_SHOWN = 8

_DAY_MS = 86_400_000
_STYLES = {
    "queued": "cyan",
    "attempting": "bright_cyan",
    "delivered": "green",
    "bounced": "red",
    "in_doubt": "yellow",
    "quarantined": "bold red",
}


class ProviderCounts(msgspec.Struct, frozen=True, gc=False):
    """What one provider did with our attempts so far."""

    attempts: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """A replay at one moment. Counts are since its beginning, times are log time in ms.

    `messages` is by state, each message in exactly one; a state that nobody is in may be left out.
    `in_the_air` counts messages whose last dot was sent and not answered; `kills` workers that were
    killed and came back.
    """

    log_ms: int
    first_ms: int
    last_ms: int
    events: int
    events_total: int
    journeys_waiting: int = 0
    messages: dict[str, int] = {}
    providers: dict[str, ProviderCounts] = {}
    duplicates: int = 0
    in_the_air: int = 0
    kills: int = 0


class Rates(msgspec.Struct, frozen=True):
    """Changes a second over the last seconds of wall time, and what is left of it (None: not known)."""

    events: float = 0.0
    delivered: float = 0.0
    log_days: float = 0.0
    providers: dict[str, float] = {}
    eta_s: float | None = None


class ProgressDisplay:
    """Shows snapshots on a console; a context manager.

    `update` may be called as often as one likes. In a terminal it redraws at most ten times a
    second; elsewhere it prints a line at most every `plain_every_s`, and the last state once more
    at the end.
    """

    def __init__(
        self, console: Console, clock: Clock, *, plain_every_s: float = PLAIN_EVERY_S
    ) -> None:
        self._console = console
        self._clock = clock
        self._plain_every_s = plain_every_s
        self._started = clock()
        self._history: deque[tuple[float, Snapshot]] = deque()
        self._printed: tuple[float, Snapshot | None] = (self._started - plain_every_s, None)
        self._live = (
            Live(console=console, refresh_per_second=10, transient=False, auto_refresh=False)
            if console.is_terminal
            else None
        )
        self._drawn = self._started - 1

    def __enter__(self) -> Self:
        """Begin; the terminal's cursor is hidden until the end."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show the last snapshot and leave it standing."""
        if self._history:
            now, snapshot = self._clock(), self._history[-1][1]
            if self._live is not None:
                self._draw(now, snapshot)
            elif self._printed[1] != snapshot:
                self._print(now, snapshot)
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line of its own above the display: a phase that begins, a worker that was killed."""
        self._console.print(Text(text))

    def update(self, snapshot: Snapshot) -> None:
        """Take a newer snapshot, and show it when it is time to."""
        now = self._clock()
        self._history.append((now, snapshot))
        while len(self._history) > 2 and self._history[1][0] <= now - RATE_WINDOW_S:
            self._history.popleft()
        if self._live is None:
            if now - self._printed[0] >= self._plain_every_s:
                self._print(now, snapshot)
        elif now - self._drawn >= 0.1:
            self._draw(now, snapshot)

    def rates(self) -> Rates:
        """Give the rates over the window."""
        if len(self._history) < 2:
            return Rates()
        (began, old), (ended, new) = self._history[0], self._history[-1]
        return _rates(old, new, max(ended - began, 1e-9), ended - self._started)

    def _print(self, now: float, snapshot: Snapshot) -> None:
        self._printed = (now, snapshot)
        line = plain_line(snapshot, self.rates(), now - self._started)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, now: float, snapshot: Snapshot) -> None:
        assert self._live is not None
        self._drawn = now
        self._live.update(_panel(snapshot, self.rates(), now - self._started), refresh=True)


def plain_line(snapshot: Snapshot, rates: Rates, elapsed_s: float) -> str:
    """Render a snapshot as one line without colours, for logs and pipes."""
    parts = [
        f"{_clock_text(elapsed_s)}  log {_day(snapshot.log_ms)}",
        f"events {_count(snapshot.events)}/{_count(snapshot.events_total)} ({rates.events:,.0f}/s)",
        f"journeys waiting {_count(snapshot.journeys_waiting)}",
        " ".join(
            f"{state} {_count(number)}" for state, number in snapshot.messages.items() if number
        )
        or "no messages yet",
        f"{rates.delivered:,.0f} mails/s",
    ]
    parts += [text for text, shown in _notes(snapshot) if shown]
    if rates.eta_s is not None:
        parts.append(f"about {_clock_text(rates.eta_s)} left")
    return " | ".join(parts)


def _rates(old: Snapshot, new: Snapshot, seconds: float, elapsed_s: float) -> Rates:
    providers = {
        name: (counts.delivered - old.providers.get(name, ProviderCounts()).delivered) / seconds
        for name, counts in new.providers.items()
    }
    delivered = new.messages.get("delivered", 0) - old.messages.get("delivered", 0)
    return Rates(
        events=(new.events - old.events) / seconds,
        delivered=delivered / seconds,
        log_days=(new.log_ms - old.log_ms) / _DAY_MS / seconds,
        providers=providers,
        eta_s=_eta_s(new, elapsed_s),
    )


def _eta_s(snapshot: Snapshot, elapsed_s: float) -> float | None:
    """Guess from the share of events admitted; after the last one nobody knows what the waits still bring."""
    if not 0 < snapshot.events < snapshot.events_total or elapsed_s < 1:
        return None
    return elapsed_s * (snapshot.events_total - snapshot.events) / snapshot.events


def _panel(snapshot: Snapshot, rates: Rates, elapsed_s: float) -> RenderableType:
    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column()
    head.add_column(ratio=1)
    head.add_column(justify="right")
    left = "draining" if rates.eta_s is None else f"about {_clock_text(rates.eta_s)} left"
    if snapshot.events < snapshot.events_total and rates.eta_s is None:
        left = ""
    head.add_row(
        Text(f"Log time {_day(snapshot.log_ms)}", style="bold"),
        ProgressBar(total=max(snapshot.events_total, 1), completed=snapshot.events),
        Text(f"{_clock_text(elapsed_s)}  {left}".rstrip()),
    )
    return Group(head, _figures(snapshot, rates), _states(snapshot), _providers(snapshot, rates))


def _figures(snapshot: Snapshot, rates: Rates) -> RenderableType:
    line = Text.assemble(
        ("events in ", "dim"),
        (f"{_count(snapshot.events)} / {_count(snapshot.events_total)}", "bold"),
        (f"  {rates.events:,.0f}/s", "dim"),
        ("    journeys waiting ", "dim"),
        (_count(snapshot.journeys_waiting), "bold"),
        ("    log days a second ", "dim"),
        (f"{rates.log_days:,.1f}", "bold"),
    )
    for text, shown in _notes(snapshot):
        if shown:
            line.append(f"    {text}", style="yellow")
    return line


def _states(snapshot: Snapshot) -> RenderableType:
    line = Text("messages ", style="dim")
    for state, number in snapshot.messages.items():
        if number:
            line.append(f"{state.replace('_', ' ')} ", style="not dim")
            line.append(
                f"{_count(number)}   ", style=f"not dim bold {_STYLES.get(state, '')}".rstrip()
            )
    return line


def _providers(snapshot: Snapshot, rates: Rates) -> RenderableType:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("provider")
    for heading in ("mails/s", "attempts", "delivered", "deferred", "bounced"):
        table.add_column(heading, justify="right")
    busiest = sorted(snapshot.providers.items(), key=lambda item: -item[1].attempts)
    for name, counts in busiest[:PROVIDERS_SHOWN]:
        table.add_row(
            name,
            f"{rates.providers.get(name, 0.0):,.0f}",
            _count(counts.attempts),
            Text(_count(counts.delivered), style="green"),
            Text(_count(counts.deferred), style="yellow" if counts.deferred else "dim"),
            Text(_count(counts.bounced), style="red" if counts.bounced else "dim"),
        )
    if len(busiest) > PROVIDERS_SHOWN:
        table.add_row(Text(f"and {len(busiest) - PROVIDERS_SHOWN} more", style="dim"))
    return table


def _notes(snapshot: Snapshot) -> list[tuple[str, int]]:
    return [
        (f"in the air {_count(snapshot.in_the_air)}", snapshot.in_the_air),
        (f"duplicates {_count(snapshot.duplicates)}", snapshot.duplicates),
        (f"kills {_count(snapshot.kills)}", snapshot.kills),
    ]


def _count(number: int) -> str:
    return f"{number:,}"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
