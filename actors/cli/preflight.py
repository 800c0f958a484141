"""`veredus preflight`: what providers demand, checked on a domain, a template or a message before it is sent.

Exit status: 0 nothing blocks, 1 something does, 2 a mistake of the user.
"""

from __future__ import annotations

__all__ = ("app",)

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli.options import AsJson, new_app
from actors.cli.output import print_json, print_line

if TYPE_CHECKING:
    from deliverability.preflight.findings import Finding, Report
    from deliverability.preflight.subject import Subject

app = new_app("Check what providers demand, before a send.")

_MARKS = {"block": "✗ BLOCK", "warn": "! warn ", "pass": "✓ pass "}
_COLOURS = {"block": "31", "warn": "33", "pass": "32"}


_Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Default: ./veredus.toml, if it is there.")
]
_Stream = Annotated[
    str, typer.Option(help="Default: the tenant's. Marketing unless transactional.")
]
_Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="IP[=EHLO]", help="An address that sends; may be repeated."),
]
_Selectors = Annotated[
    list[str] | None,
    typer.Option(
        "--selector", metavar="NAME[@DOMAIN]", help="A DKIM selector to look up; may be repeated."
    ),
]
_Facts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="TOML: history, streams, sources, enrolments (docs/preflight.md)."
    ),
]
_Probe = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="POST to the one-click address. Of a real message this unsubscribes its reader.",
    ),
]


@app.command()
def preflight(
    target: Annotated[
        str, typer.Argument(help="A domain, a template NAME.toml, or a message FILE.eml.")
    ],
    config: _Config = None,
    tenant: Annotated[str, typer.Option(help="Default: the one that has the From domain.")] = "",
    stream: _Stream = "",
    sources: _Sources = None,
    mail_from: Annotated[str, typer.Option(metavar="DOMAIN", help="Of the reverse-path.")] = "",
    selectors: _Selectors = None,
    facts: _Facts = None,
    variables: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: values for a template.")
    ] = None,
    dns: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A zone in TOML in place of DNS.")
    ] = None,
    probe: _Probe = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check TARGET. Exit status 1 when something blocks."""
    from actors.cli.preflight_subject import Told, subject_of

    now = time.time_ns() // 1_000_000
    told = Told(
        target=target,
        config=config,
        tenant=tenant,
        sources=tuple(sources or ()),
        mail_from=mail_from,
        selectors=tuple(selectors or ()),
        stream=stream,
        facts=facts,
        variables=variables,
    )
    subject = subject_of(told, now)
    report = _examined(_probed(subject) if probe else subject, dns, now)
    _show(report, html, as_json)
    if report.verdict == "block":
        raise typer.Exit(1)


def _show(report: Report, html: Path | None, as_json: bool) -> None:
    if html is not None:
        from actors.preflight_page.page import write_page

        write_page(report, html)
    if as_json:
        print_json(report)
        return
    _tell(report)
    if html is not None:
        print_line(f"Wrote {html}")


def _examined(subject: Subject, dns: Path | None, now: int) -> Report:
    from actors.cli.lookups import answered
    from deliverability.preflight.examine import examine

    return answered(examine(subject, now), dns)


def _probed(subject: Subject) -> Subject:
    """Ask the one-click address of the message, as a provider would."""
    import msgspec

    from actors.cli.preflight_probe import probe
    from deliverability.preflight.message import read_mail
    from deliverability.preflight.unsubscribing import one_click_url

    url = one_click_url(read_mail(subject.message))
    return msgspec.structs.replace(subject, endpoints={url: probe(url)}) if url else subject


def _tell(report: Report) -> None:
    """Print what blocks and warns with its mend, what passed in one line each."""
    for note in report.notes:
        print_line(note)
    for finding in report.findings:
        print_line(_line(finding))
        if finding.verdict != "pass":
            demands = [_demand(one.provider, one.level, one.replies) for one in finding.demanded_by]
            print_line(f"          wanted: {finding.title} ({', '.join(demands)})")
        if finding.mend:
            print_line(f"          mend:   {finding.mend}")
    for missing in report.unchecked:
        print_line(f"? not checked: {missing.check}; needs {missing.needs}")
    counts = ", ".join(
        f"{sum(one.verdict == verdict for one in report.findings)} {verdict}"
        for verdict in ("block", "warn", "pass")
    )
    print_line(f"{report.target}: {report.verdict} ({counts}, {len(report.unchecked)} not checked)")


def _line(finding: Finding) -> str:
    import sys

    mark = _MARKS[finding.verdict]
    if sys.stdout.isatty():
        mark = f"\x1b[{_COLOURS[finding.verdict]}m{mark}\x1b[0m"
    return f"{mark} {finding.check}: {finding.subject}: {finding.found}"


def _demand(provider: str, level: str, replies: tuple[str, ...]) -> str:
    codes = f" {' '.join(replies)}" if replies else ""
    return f"{provider} {level}{codes}"
