"""Renders a report: for screens of any width, light and dark, and for paper. Values are escaped by the template."""

from __future__ import annotations

__all__ = ("render", "write_page")

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import minijinja
import msgspec

from deliverability.preflight.demands import CHECKS, Verdict
from deliverability.preflight.findings import Report
from engine.errors import InputError, Place

_SAID = {
    Verdict.BLOCK: "Don't send this yet",
    Verdict.WARN: "Can be sent, could be better",
    Verdict.PASS: "Ready to send",
}
_SAID_IN_PART = "Nothing blocks in what could be checked"
_COUNTED = {Verdict.BLOCK: "blocking", Verdict.WARN: "warning", Verdict.PASS: "passed"}
_GROUPS = (
    (Verdict.BLOCK, "Blocks", "Providers reject or put off mail for these."),
    (Verdict.WARN, "Warnings", "These cost reputation or readers."),
    (Verdict.PASS, "Passed", ""),
)


def render(report: Report) -> str:
    """Make the page."""
    folder = files(__package__)
    environment = minijinja.Environment(
        templates={"page.html": folder.joinpath("page.html").read_text("utf-8")}
    )
    made = datetime.fromtimestamp(report.made / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    groups = [
        {
            "verdict": verdict,
            "title": title,
            "text": text,
            "findings": [
                msgspec.to_builtins(one) for one in report.findings if one.verdict is verdict
            ],
        }
        for verdict, title, text in _GROUPS
    ]
    page = environment.render_template(
        "page.html",
        css=folder.joinpath("page.css").read_text("utf-8"),
        report=msgspec.to_builtins(report),
        made=made,
        said=_said(report),
        groups=[group for group in groups if group["findings"]],
        counts=[(word, report.count(verdict), verdict) for verdict, word in _COUNTED.items()],
    )
    assert isinstance(page, str)
    return page


def write_page(report: Report, path: Path) -> None:
    """Write the page. Raises: InputError: it can't be written."""
    try:
        path.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Place(file=str(path))) from None


def _said(report: Report) -> str:
    """The verdict in words; it promises nothing while a check that blocks could not be made."""
    untold = any(CHECKS[one.check].weight is Verdict.BLOCK for one in report.unchecked)
    if untold and report.verdict is not Verdict.BLOCK:
        return _SAID_IN_PART
    return _SAID[report.verdict]
