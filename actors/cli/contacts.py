"""`veredus contacts`: import a file, show one, erase one."""

from __future__ import annotations

__all__ = ("app",)

import contextlib
import gzip
import os
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Annotated, Any, Self

import msgspec
import typer

from actors.backend import ContactView
from actors.cli.client import Client, find_data_dir, quoted
from actors.cli.contact_rows import LINE_CHARS_MAX, Fill, Good, Rejected, read_csv, read_ndjson
from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import clock, print_json, print_line, print_table
from engine.errors import CapacityError, InputError, Place
from engine.ids import row_input_id

app = new_app("Import contacts, show or erase one.")

_BATCH = 500
_BATCH_BYTES = 1 << 20
_HASH_BYTES = 1 << 20
_OVERLOAD_S_MAX = 120.0


class _ItemResult(msgspec.Struct, frozen=True):
    id: str
    status: str
    reason: str = ""


class _Results(msgspec.Struct, frozen=True):
    results: list[_ItemResult]


class Report(msgspec.Struct):
    """What became of the rows of a file."""

    file: str
    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    dropped: int = 0
    rejected: int = 0
    reject_file: str = ""


@app.callback()
def _contacts() -> None:
    """Import contacts, show or erase one."""


@app.command(name="import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .ndjson, also .gz.")],
    id_column: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="Column of the contact's id.")
    ] = "contact",
    consent: Annotated[
        str, typer.Option(metavar="TOPIC", help="Every row has granted this, unless it says else.")
    ] = "",
    consent_at: Annotated[str, typer.Option(metavar="TIME", help="When; RFC 3339.")] = "",
    consent_source: Annotated[
        str, typer.Option(metavar="TEXT", help="Where it is on record.")
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: FILE.rejects.ndjson.")
    ] = None,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Import contacts: insert, or update what is there (a lower version is ignored).

    Ids of rows are derived from the file's content, so an import that was interrupted is started again and
    takes up where it was: rows that were taken count as duplicates. Bad rows go into a reject file with line
    and reason; then the exit status is 1.
    """
    fill = Fill(id_column, consent, consent_at, consent_source)
    reject_file = rejects or file.with_name(f"{file.name}.rejects.ndjson")
    report = Report(file=str(file))
    with (
        Client(find_data_dir(data, os.environ), tenant) as client,
        _RejectFile(reject_file) as rejected,
        _progress(file) as advance,
    ):
        _import(file, fill, client, rejected, report, advance)
        report.rejected = rejected.count
    report.reject_file = str(reject_file) if report.rejected else ""
    _print_report(report, as_json)
    if report.rejected:
        raise typer.Exit(1)


@app.command()
def show(
    contact: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show everything held about a contact."""
    with Client(find_data_dir(data, os.environ), tenant) as client:
        view = client.get(f"/v1/contacts/{quoted(contact)}", ContactView)
    if as_json:
        print_json(view)
        return
    version = f", version {view.version}" if view.version is not None else ""
    print_line(f"Contact {view.contact}{version}{', erased' if view.erased else ''}")
    if view.merged_into:
        print_line(f"merged into {view.merged_into}: ask for that one")
    rows: list[tuple[object, ...]] = [("attribute", *pair) for pair in view.attributes.items()]
    rows += [
        (
            "consent",
            topic,
            f"{'granted' if held.granted else 'withdrawn'} {clock(held.at_ms)} {held.source}",
        )
        for topic, held in view.consents.items()
    ]
    rows += [("suppressed", stream or "all", why) for stream, why in view.suppressions.items()]
    rows += [("events", *pair) for pair in view.counts.items()]
    rows += [("journey", run.scenario, f"{run.step}, {run.state}") for run in view.journeys]
    rows += [("message", one.message_id, f"{one.template}, {one.state}") for one in view.messages]
    rows += [("coupon", one.pool, f"{one.code}, {clock(one.at_ms)}") for one in view.coupons]
    rows += [("merged", one, "reaches this contact") for one in view.formers]
    print_table("", ("kind", "name", "value"), rows)


@app.command()
def erase(
    contact: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option(help="Goes into the record.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Erase a contact: personal fields go at once, all its mail is cancelled."""
    body = msgspec.json.encode({"reason": reason})
    with Client(find_data_dir(data, os.environ), tenant) as client:
        done = client.give("DELETE", f"/v1/contacts/{quoted(contact)}", body, _Results).results[0]
    if as_json:
        print_json(done)
    else:
        print_line(
            f"Contact {contact}: {'erased' if done.status == 'accepted' else 'was erased before'}"
        )


@app.command()
def merge(
    contact: Annotated[str, typer.Argument(metavar="ID", help="The former contact.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The contact that stays.")],
    reason: Annotated[str, typer.Option(help="Goes into the record.")] = "",
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Merge a contact into another: one person, one series of mail, the strictest consent. Safe to repeat.

    What comes for the former id reaches the one that stays. A loop is refused; `veredus explain ID` tells.
    """
    body = msgspec.json.encode({"into": into, "reason": reason})
    with Client(find_data_dir(data, os.environ), tenant) as client:
        path = f"/v1/contacts/{quoted(contact)}/merge"
        done = client.give("POST", path, body, _Results).results[0]
    if as_json:
        print_json(done)
    else:
        print_line(f"Contact {contact} is being merged into {into}")


# ---- the import


class _RejectFile:
    """A file that comes into being with its first line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rejected: Rejected) -> None:
        """Add a line. The rows are personal data: only the owner may read them."""
        if self._file is None:
            try:
                made = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            except OSError as error:
                raise _unreadable(self._path, error) from None
            self._file = os.fdopen(made, "wb")
        self.count += 1
        self._file.write(msgspec.json.encode(rejected) + b"\n")


def _import(
    file: Path,
    fill: Fill,
    client: Client,
    rejected: _RejectFile,
    report: Report,
    advance: Callable[[int], None],
) -> None:
    digest = _digest(file, fill)
    batch: list[Good] = []
    size = 0
    lines: list[bytes] = []
    for found in _rows(file, fill):
        report.rows += 1
        if isinstance(found, Rejected):
            rejected.write(found)
            continue
        named = {"id": row_input_id(digest, found.row).hex()} | found.item
        lines.append(msgspec.json.encode(named))
        size += len(lines[-1])
        batch.append(found)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            _give(client, batch, lines, rejected, report)
            advance(report.rows)
            batch, lines, size = [], [], 0
    if batch:
        _give(client, batch, lines, rejected, report)
    advance(report.rows)


def _give(
    client: Client, batch: list[Good], lines: list[bytes], rejected: _RejectFile, report: Report
) -> None:
    """Give a batch to the instance; when it is overloaded, again after the time that it asks for."""
    waited = 0.0
    while True:
        try:
            answer = client.give(
                "PUT", "/v1/contacts", b"\n".join(lines), _Results, "application/x-ndjson"
            )
            break
        except CapacityError as error:
            if waited >= _OVERLOAD_S_MAX:
                raise
            time.sleep(error.retry_after_s)
            waited += error.retry_after_s
    for row, result in zip(batch, answer.results, strict=True):
        match result.status:
            case "accepted":
                report.accepted += 1
            case "duplicate":
                report.duplicate += 1
            case "dropped":
                report.dropped += 1
            case _:
                rejected.write(Rejected(row.line, result.reason or result.status, row.item))


def _rows(file: Path, fill: Fill) -> Iterator[Good | Rejected]:
    kind = file.name.removesuffix(".gz").rpartition(".")[2].lower()
    match kind:
        case "csv":
            with _open(file) as raw:
                import io

                text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
                yield from read_csv(text, fill, str(file))
        case "ndjson" | "jsonl":
            with _open(file) as raw:
                yield from read_ndjson(_lines(raw), fill)
        case _:
            message = f"expected a name that ends in .csv, .ndjson or .jsonl, got {file.name!r}"
            raise InputError(message, Place(str(file)))


@contextlib.contextmanager
def _open(file: Path) -> Iterator[IO[bytes]]:
    try:
        with file.open("rb") as raw:
            if file.suffix == ".gz":
                with gzip.open(raw) as unpacked:
                    yield unpacked  # type: ignore[misc]  # GzipFile reads as IO[bytes] does
            else:
                yield raw
    except (OSError, EOFError) as error:
        raise _unreadable(file, error) from None


def _lines(raw: IO[bytes]) -> Iterator[bytes]:
    """Read lines, of one that is too long only as much as shows it."""
    while line := raw.readline(LINE_CHARS_MAX + 1):
        last = line
        while len(last) > LINE_CHARS_MAX and not last.endswith(b"\n"):
            last = raw.readline(LINE_CHARS_MAX + 1)
        yield line


def _digest(file: Path, fill: Fill) -> bytes:
    """Hash the file, and what was said for its rows: with another consent they are other inputs."""
    found = blake2b(msgspec.msgpack.encode(fill), digest_size=16)
    with _open(file) as raw:
        while piece := raw.read(_HASH_BYTES):
            found.update(piece)
    return found.digest()


def _unreadable(file: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"can't be used: {reason}", Place(str(file)))


@contextlib.contextmanager
def _progress(file: Path) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{file.name}: 0 rows")
        yield lambda rows: progress.update(task, description=f"{file.name}: {rows:,} rows")


def _print_report(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    parts = [f"{report.rows:,} rows", f"{report.accepted:,} taken"]
    if report.duplicate:
        parts.append(f"{report.duplicate:,} taken before")
    if report.dropped:
        parts.append(f"{report.dropped:,} of erased contacts")
    if report.rejected:
        parts.append(f"{report.rejected:,} rejected, see {report.reject_file}")
    print_line(f"{report.file}: {', '.join(parts)}")
