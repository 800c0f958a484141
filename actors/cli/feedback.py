"""`veredus feedback`: read bounces, complaints and reports, classify SMTP replies, check the rules.

The output of `read --json` and `reply --json` is fixed: one JSON object a line, as
`../shared/checks/feedback.py` describes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli.options import Data, Tenant

if TYPE_CHECKING:
    from deliverability.feedback.reading import Reading, Report

__all__ = ("app",)

app = typer.Typer(
    help="Read bounces, complaints and reports; classify SMTP replies.", no_args_is_help=True
)
rules_app = typer.Typer(help="The rules that classify replies.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")

_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
_FILE_BYTES = 64 * 1024 * 1024
_MANY = 1000  # fewer files are read before a second process has begun
_CHUNK = 100


@app.command("read")
def read_command(
    paths: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Mails, mbox or report files, or folders of them."),
    ],
    json: _Json = False,
) -> None:
    """Say what each file is, and what it says about whom."""
    for line in _readings(list(_files(paths)), as_json=json):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _readings(files: list[tuple[str, Path]], *, as_json: bool) -> Iterator[bytes]:
    """Read files in their order; many of them by as many processes as there are cores.

    They are forked where nothing else runs in this process, as in the command: then imports and rules, half a second of
    them, are there already. Beside threads a fork may find their locks held.
    """
    import os
    import threading

    if len(files) < _MANY:
        yield _read_some(files, as_json=as_json)
        return
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from multiprocessing import get_context

    from deliverability.feedback.reader import read_file

    read_file(b"")
    chunks = [files[at : at + _CHUNK] for at in range(0, len(files), _CHUNK)]
    cores = len(os.sched_getaffinity(0))
    context = get_context("fork" if threading.active_count() == 1 else "forkserver")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        yield from pool.map(partial(_read_some, as_json=as_json), chunks)


def _read_some(files: list[tuple[str, Path]], *, as_json: bool) -> bytes:
    import msgspec

    from deliverability.feedback.reader import read_file

    encode = msgspec.json.Encoder().encode
    lines = []
    for name, path in files:
        with path.open("rb") as file:
            reading = read_file(file.read(_FILE_BYTES))
        if as_json:
            lines.append(encode({"file": name, **_line(reading)}) + b"\n")
        else:
            lines.append(_for_people(name, reading).encode("utf-8", "replace") + b"\n")
    return b"".join(lines)


@app.command("reply")
def reply_command(json: _Json = False) -> None:
    """Classify SMTP replies from standard input: plain lines, or JSON with code, enhanced, text (stage)."""
    import msgspec

    from deliverability.feedback.replies import classify_reply

    encode = msgspec.json.Encoder().encode
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        code, enhanced, text, stage = _reply_fields(line, number, json=json)
        verdict = classify_reply(code, enhanced, text, stage=stage)
        if json:
            sys.stdout.buffer.write(encode(verdict) + b"\n")
        else:
            lasting = "permanent" if verdict.permanent else "transient"
            typer.echo(
                f"{verdict.cause}  blame {verdict.blame}  do {verdict.action}  {lasting}  "
                f"({verdict.rule}: {verdict.words!r})"
            )


@app.command("import")
def import_command(
    paths: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Mails, mbox files, maildirs, or folders of them."),
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="ADDRESS", help="Whom they came to. Default: as headers say."),
    ] = "",
    json: _Json = False,
    data: Data = None,
) -> None:
    """Give mails that came back elsewhere to the running instance. Safe to repeat: each counts once."""
    import os
    from urllib.parse import urlencode

    import msgspec

    from actors.cli.client import Client, find_data_dir
    from actors.cli.mail_files import mails_in
    from actors.feedback.reception import Receipt

    asked = f"?{urlencode({'to': to})}" if to else ""
    told: dict[str, int] = {}
    with Client(find_data_dir(data, os.environ)) as client:
        for name, mail in mails_in(paths):
            receipt = client.give("POST", f"/v1/feedback{asked}", mail, Receipt, "message/rfc822")
            result = f"{receipt.result} {receipt.reason}".rstrip()
            told[result] = told.get(result, 0) + 1
            if json:
                line = {"file": name, **msgspec.to_builtins(receipt)}
                sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    if not json:
        for result, number in sorted(told.items()):
            typer.echo(f"{number:>8,}  {result}")


@app.command("findings")
def findings_command(json: _Json = False, tenant: Tenant = "", data: Data = None) -> None:
    """What should be looked at: rates over their limits, sources that fail alignment, TLS that fails.

    Exit status 1 when any of it is critical.
    """
    import os

    import msgspec

    from actors.cli.client import Client, find_data_dir
    from actors.cli.output import clock
    from actors.gateway.feedback import Findings

    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/feedback/findings", Findings).items
    for one in found:
        if json:
            sys.stdout.buffer.write(msgspec.json.encode(one) + b"\n")
        else:
            since = f", since {clock(one.since)}" if one.since else ""
            typer.echo(f"{one.gravity}: {one.says}{since}\n    {one.do}: {one.mend}")
    if not found and not json:
        typer.echo("Nothing is found.")
    raise typer.Exit(1 if any(one.gravity == "critical" for one in found) else 0)


@app.command("rates")
def rates_command(
    window: Annotated[str, typer.Option("--window", help="hour, day, week or month.")] = "day",
    json: _Json = False,
    tenant: Tenant = "",
    data: Data = None,
) -> None:
    """What mail comes to, by tenant, stream, source and provider, with causes."""
    import os

    import msgspec

    from actors.cli.client import Client, find_data_dir
    from actors.cli.output import print_table
    from actors.gateway.feedback import RatesPage

    with Client(find_data_dir(data, os.environ), tenant) as client:
        found = client.get("/v1/feedback/rates", RatesPage, window=window).items
    if json:
        for one in found:
            sys.stdout.buffer.write(msgspec.json.encode(one) + b"\n")
        return
    print_table(
        f"Rates of a {window}",
        (
            "tenant",
            "stream",
            "source",
            "provider",
            "delivered",
            "deferred",
            "bounced",
            "returned",
            "complained",
        ),
        [
            (
                *msgspec.structs.astuple(one.lane),
                one.delivered,
                one.deferred,
                one.bounced,
                one.returned,
                one.complained,
            )
            for one in found
        ],
    )


@rules_app.command("check")
def rules_check(json: _Json = False) -> None:
    """Find rules that can never decide (dead, shadowed) and examples that another takes; exit 1 if any."""
    import msgspec

    from deliverability.feedback.rulebook import check, shipped

    book = shipped()
    findings = list(check(book))
    for finding in findings:
        if json:
            sys.stdout.buffer.write(msgspec.json.encode(finding) + b"\n")
        else:
            typer.echo(f"{finding.kind}: {finding.rule}: {finding.phrase!r}: {finding.detail}")
    rules = book.rules()
    if not json:
        typer.echo(
            f"{len(rules)} rules, {sum(len(rule.phrases) for rule in rules)} phrases, {len(findings)} findings"
        )
    raise typer.Exit(1 if findings else 0)


def _files(paths: list[Path]) -> Iterator[tuple[str, Path]]:
    """Each file with its name: relative to the folder that was given, or as given."""
    for path in paths:
        if not path.is_dir():
            yield str(path), path
            continue
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield str(file.relative_to(path)), file


def _line(reading: Reading) -> dict[str, object]:
    import msgspec

    line: dict[str, object] = {
        "kind": reading.kind,
        "reports": [msgspec.to_builtins(report) for report in reading.reports],
    }
    if reading.reverse_path:
        line["reverse_path"] = reading.reverse_path
    if reading.limits:
        line["limits"] = reading.limits
    return line


def _reply_fields(line: bytes, number: int, *, json: bool) -> tuple[str, str, str, str]:
    import msgspec

    from engine.errors import InputError, Place

    if not json and not line.lstrip().startswith(b"{"):
        return "", "", line.decode("utf-8", "replace").strip(), ""
    try:
        row = msgspec.json.decode(line, type=dict[str, str | int | None])
    except msgspec.DecodeError as error:
        raise InputError(
            f"Standard input is not JSON lines: {error}.",
            Place(file="<stdin>", line=number),
            'Write one object a line, such as {"code": "550", "enhanced": "5.1.1", "text": "User unknown"}.',
        ) from error
    code, enhanced, text, stage = (
        str(row.get(name) or "") for name in ("code", "enhanced", "text", "stage")
    )
    return code, enhanced, text, stage


def _for_people(name: str, reading: Reading) -> str:
    lines = [f"{name}: {reading.kind}"]
    lines += [f"    {_sentence(report)}" for report in reading.reports]
    if reading.limits:
        lines.append(f"    not wholly read: {', '.join(reading.limits)}")
    return "\n".join(lines)


def _sentence(report: Report) -> str:
    from deliverability.feedback.reading import (
        ComplaintReport,
        DmarcReport,
        RecipientReport,
        TlsReport,
    )

    match report:
        case RecipientReport():
            codes = " ".join(code for code in (report.reply_code, report.status) if code)
            hard = "hard" if report.permanent else "soft"
            why = f"{report.evidence.rule} on {report.evidence.line!r}"
            who = report.recipient or "unknown recipient"
            return (
                f"{who}: {report.action} {codes}  {report.cause} ({hard}), blame {report.blame}, "
                f"do {report.handling}; {why}\n        {report.diagnostic[:300]}"
            )
        case ComplaintReport():
            who, source = report.recipient or "unknown recipient", report.source_ip or "?"
            return (
                f"{who}: {report.feedback_type} from {source} about {report.reported_domain or '?'}"
            )
        case DmarcReport():
            passed = (
                f"{report.dmarc_pass} pass (DKIM {report.dkim_aligned}, SPF {report.spf_aligned})"
            )
            return f"{report.org_name} on {report.domain}: {report.messages} messages, {passed}"
        case TlsReport():
            return f"{report.organization}: " + ", ".join(
                f"{p.domain} {p.success} ok {p.failure} failed" for p in report.policies
            )
