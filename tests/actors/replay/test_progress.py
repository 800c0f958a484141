"""The display shows what the snapshots say, at the pace of the clock that it is given."""

from __future__ import annotations

import io

from rich.console import Console

from actors.replay.progress import ProgressDisplay, ProviderCounts, Rates, Snapshot, plain_line

DAY = 86_400_000


class HandClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def snapshot(second: int) -> Snapshot:
    return Snapshot(
        log_ms=second * DAY,
        first_ms=0,
        last_ms=100 * DAY,
        events=second * 50,
        events_total=1000,
        journeys_waiting=7,
        messages={"delivered": second * 20, "queued": 3, "bounced": 0},
        providers={"gmail.test": ProviderCounts(second * 30, second * 20, second * 10)},
    )


def shown(terminal: bool, seconds: int) -> tuple[str, Rates]:
    clock, out = HandClock(), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    with ProgressDisplay(console, clock) as display:
        for second in range(seconds + 1):
            display.update(snapshot(second))
            clock.seconds += 1
        rates = display.rates()
    return out.getvalue(), rates


def test_without_a_terminal_there_is_a_line_every_few_seconds_and_one_at_the_end() -> None:
    text, _ = shown(terminal=False, seconds=12)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["0:00", "0:05", "0:10", "0:13"]
    assert "\x1b" not in text
    assert "events 600/1,000" in lines[-1]


def test_a_line_has_no_states_that_nobody_is_in() -> None:
    line = plain_line(snapshot(10), Rates(), 10)
    assert "delivered 200" in line
    assert "bounced" not in line
    assert "kills" not in line


def test_rates_are_those_of_the_last_seconds() -> None:
    _, rates = shown(terminal=False, seconds=12)
    assert rates.events == 50
    assert rates.delivered == 20
    assert rates.log_days == 1
    assert rates.providers == {"gmail.test": 20}
    assert rates.eta_s == 12 * 400 / 600


def test_after_the_last_event_nobody_guesses_how_long_it_takes() -> None:
    _, rates = shown(terminal=False, seconds=20)
    assert rates.eta_s is None


def test_a_terminal_shows_everything() -> None:
    text, _ = shown(terminal=True, seconds=4)
    for part in (
        "Log time 1970-01-05",
        "200 / 1,000",
        "journeys waiting",
        "gmail.test",
        "delivered 80",
    ):
        assert part in text


def test_a_terminal_is_redrawn_at_most_ten_times_a_second() -> None:
    clock, out = HandClock(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    with ProgressDisplay(console, clock) as display:
        display.update(snapshot(1))
        before = len(out.getvalue())
        for _ in range(1000):
            display.update(snapshot(2))
        assert len(out.getvalue()) == before


def test_notes_are_printed_once() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=120), HandClock()) as display:
        display.note("[sorting] the log")
    assert out.getvalue() == "[sorting] the log\n"
