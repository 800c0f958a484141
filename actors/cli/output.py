"""How commands print: JSON, tables, times. Colours only on a terminal."""

from __future__ import annotations

__all__ = ("ago", "clock", "print_json", "print_line", "print_table", "progress")

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

_SHOW_EVERY = 50_000


def print_json(value: Any) -> None:
    """Print one object, indented on a terminal, in one line elsewhere."""
    raw = msgspec.json.encode(value)
    if sys.stdout.isatty():
        raw = msgspec.json.format(raw, indent=2)
    print_line(raw.decode())


def print_line(text: str) -> None:
    """Print a line at once, so that a reader of a pipe sees it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers stand to the right. Control characters are shown, not sent.

    Not by rich: importing its tables takes 100 ms of the 300 that a command has.
    """
    cells = [list(row) for row in rows]
    shown = [[_shown(cell) for cell in row] for row in cells]
    widths = [
        max([len(column), *(len(row[index]) for row in shown)])
        for index, column in enumerate(columns)
    ]
    rights = [
        bool(cells) and all(isinstance(row[index], int | float) for row in cells)
        for index in range(len(columns))
    ]
    lines = [f"\n{_strong(title)}"] if title else []
    for row in (list(columns), ["─" * width for width in widths], *shown):
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, rights, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    print_line("\n".join(lines))


def _strong(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


def clock(time_ms: int | None) -> str:
    """Show a time in UTC."""
    if time_ms is None:
        return ""
    try:
        at = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(time_ms)
    return at.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def ago(duration_ms: int) -> str:
    """Show a duration by its two greatest units."""
    seconds = max(0, duration_ms) // 1000
    parts = [
        f"{amount} {unit}"
        for amount, unit in (
            (seconds // 86_400, "d"),
            (seconds // 3600 % 24, "h"),
            (seconds // 60 % 60, "min"),
            (seconds % 60, "s"),
        )
        if amount
    ]
    return " ".join(parts[:2]) or "0 s"


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    text = f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """Tell on a terminal how many rows there were."""
    total = 0

    def seen(rows: int) -> None:
        nonlocal total
        before, total = total, total + rows
        if sys.stderr.isatty() and before // _SHOW_EVERY != total // _SHOW_EVERY:
            sys.stderr.write(f"\r{what}: {total:,} rows")

    yield seen
    if sys.stderr.isatty() and total >= _SHOW_EVERY:
        sys.stderr.write("\n")
