"""Reading an event log from disk, row by row: NDJSON in the form of `docs/event-log.md`, or CSV and NDJSON by a map.

A log is opened once (its digest is computed, its columns are checked) and can then be gone through
as often as needed; memory stays bounded by the longest line, also for a compressed file. What is
wrong is an `InputError` with file, line and field.
"""

from __future__ import annotations

__all__ = (
    "COLUMNS_MAX",
    "LINE_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "EventLog",
    "LogRow",
    "file_digest",
    "open_log",
)

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, cast

from actors.replay.mapping import LogFormat, Mapping, MapSource
from actors.replay.native import FieldPaths, decode_object, native_row
from actors.replay.rows import Getter, LogRow, RowMapper
from engine.errors import InputError, Place

LINE_BYTES_MAX = 1024 * 1024
"""A longer line is refused."""

RECORD_BYTES_MAX = 1024 * 1024
"""A longer CSV record (quoted fields may span lines) is refused."""

COLUMNS_MAX = 1000

_BLOCK = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_FORMATS: dict[str, LogFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


class EventLog:
    """An event log on disk. Iterating gives its rows in file order, anew each time.

    `digest` is the BLAKE2b of the file's bytes as they lie on disk (compressed where they are);
    from it come the ids of rows that bring none.

    Raises: InputError: (while iterating) a row isn't what it must be, or the file changed since it
        was opened.
    """

    def __init__(
        self, path: Path, form: LogFormat, mapping: tuple[Mapping, MapSource] | None
    ) -> None:
        self.path = path
        self.format: LogFormat = form
        self.digest = file_digest(path)
        self._name = str(path)
        self._mapping = mapping
        self._stamp = _stamp(path)

    def __iter__(self) -> Iterator[LogRow]:
        """Go through the rows from the beginning."""
        with _opened(self.path) as lines:
            yield from self._csv(lines) if self.format == "csv" else self._ndjson(lines)
        if _stamp(self.path) != self._stamp:
            raise InputError("the log changed while it was read", Place(file=self._name))

    def check_columns(self) -> None:
        """Compile the map against the log's columns without reading a row.

        Raises:
            InputError: the header is not one, or the map speaks of a column that isn't there.
        """
        if self._mapping is None:
            return
        with _opened(self.path) as lines:
            if self.format == "csv":
                self._csv_mapper(self._reader(lines), lines)
            else:
                RowMapper(*self._mapping, FieldPaths())

    def _ndjson(self, lines: _Lines) -> Iterator[LogRow]:
        mapper = RowMapper(*self._mapping, FieldPaths()) if self._mapping else None
        number = 0
        for line in lines:
            if not line or line.isspace():
                continue
            number += 1
            place = Place(file=self._name, line=lines.number)
            if mapper is None:
                yield native_row(line, place, self.digest, number)
            else:
                yield mapper.row(decode_object(line, place), place, self.digest, number)

    def _csv(self, lines: _Lines) -> Iterator[LogRow]:
        reader = self._reader(lines)
        mapper, width = self._csv_mapper(reader, lines)
        number = 0
        while True:
            line = lines.number + 1
            cells = _next_record(reader, lines, self._name, line)
            if cells is None:
                return
            if not cells:
                continue
            number += 1
            place = Place(file=self._name, line=line)
            if len(cells) != width:
                raise InputError(f"{len(cells)} fields, and the header has {width}", place)
            yield mapper.row(cells, place, self.digest, number)

    def _csv_mapper(self, reader: Iterator[list[str]], lines: _Lines) -> tuple[RowMapper, int]:
        assert self._mapping is not None
        header = _next_record(reader, lines, self._name, 1) or []
        columns = _Header([name.strip() for name in header], Place(file=self._name, line=1))
        return RowMapper(*self._mapping, columns), len(header)

    def _reader(self, lines: _Lines) -> Iterator[list[str]]:
        assert self._mapping is not None
        return csv.reader(lines.texts(), strict=True, delimiter=self._mapping[0].delimiter)


def open_log(path: Path, mapping: tuple[Mapping, MapSource] | None = None) -> EventLog:
    """Open an event log: compute its digest and check its columns against the map.

    Raises: InputError: it can't be read, its form isn't known, it is CSV without a map, or the map
        doesn't fit its header.
    """
    form = (mapping[0].format if mapping else None) or _format_of(path)
    if form == "csv" and mapping is None:
        raise InputError(
            "a CSV log needs a map that says what its columns are",
            Place(file=str(path)),
            "write a MAP.toml and give it with --map; docs/event-log.md has its form",
        )
    log = EventLog(path, form, mapping)
    log.check_columns()
    return log


def file_digest(path: Path) -> bytes:
    """Compute the BLAKE2b (32 bytes) of a file's bytes.

    Raises:
        InputError: the file can't be read.
    """
    digest = blake2b(digest_size=32)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.digest()


class _Header:
    """The columns of a CSV log, by its first line."""

    def __init__(self, names: list[str], place: Place) -> None:
        if not any(names):
            raise InputError(
                "the log has no header line", place, "the first line names the columns"
            )
        if len(names) > COLUMNS_MAX:
            raise InputError(f"{len(names)} columns, at most {COLUMNS_MAX} are read", place)
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"the column {min(twice)!r} is there twice", place)
        self._at = {name: at for at, name in enumerate(names)}

    def find(self, name: str) -> Getter | None:
        """Give the way to a column's cell."""
        return itemgetter(self._at[name]) if name in self._at else None

    def names(self) -> list[str]:
        """Give all columns."""
        return list(self._at)


class _Lines:
    """The lines of an open log, each within its bound; knows the number of the last one given."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.number = 0
        self.record_bytes = 0  # since the reader last asked for a record
        self._file = file
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        """Give each line without its end."""
        while line := self._file.readline(LINE_BYTES_MAX + 2):
            self.number += 1
            if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
                raise self.error(f"the line is longer than {LINE_BYTES_MAX} bytes")
            yield line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line

    def texts(self) -> Iterator[str]:
        """Give each line as text with its end, as the csv module wants it."""
        for line in self:
            self.record_bytes += len(line)
            if self.record_bytes > RECORD_BYTES_MAX:
                raise self.error(
                    f"the record is longer than {RECORD_BYTES_MAX} bytes", "is a quote open?"
                )
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise self.error("the line isn't UTF-8", "convert the log to UTF-8") from error

    def error(self, message: str, mend: str = "") -> InputError:
        """Make an error at the line given last."""
        return InputError(message, Place(file=self._name, line=self.number), mend)


def _next_record(
    reader: Iterator[list[str]], lines: _Lines, name: str, line: int
) -> list[str] | None:
    lines.record_bytes = 0
    try:
        return next(reader, None)
    except csv.Error as error:
        raise InputError(f"not well-formed CSV: {error}", Place(file=name, line=line)) from error


@contextmanager
def _opened(path: Path) -> Iterator[_Lines]:
    """Open a log, compressed or not, and turn what the system says about it into an `InputError`."""
    lines: _Lines | None = None
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
            lines = _Lines(file, str(path))
            yield lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        line = lines.number if lines else 0
        place = Place(file=str(path), line=line)
        raise InputError(
            f"the compressed log is damaged after this line: {error}", place
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _format_of(path: Path) -> LogFormat:
    name = path.name.lower().removesuffix(".gz")
    for suffix, form in _FORMATS.items():
        if name.endswith(suffix):
            return form
    raise InputError(
        "what form this log has isn't clear from its name",
        Place(file=str(path)),
        'call it .csv or .ndjson (also .gz), or give `format = "csv"` in the map',
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"can't read the log: {error.strerror or error}", Place(file=str(path)))
