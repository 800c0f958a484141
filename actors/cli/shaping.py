"""`veredus shaping`: check rule files, replay replies through them, explain what holds for a domain.

Mistakes in files are raised as `UserError`, which the main command shows as one line.
"""

from __future__ import annotations

__all__ = ("app",)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.text_file import read_text

if TYPE_CHECKING:
    from deliverability.shaping.effective import EffectiveLimits
    from deliverability.shaping.replay import ReplayReport
    from deliverability.shaping.rules import RuleSet

app = typer.Typer(
    name="shaping",
    help="Check, replay and explain shaping rules (KumoMTA's files load unchanged).",
    no_args_is_help=True,
)

_Rules = Annotated[
    list[Path] | None,
    typer.Option("--rules", "-r", help="A rule file; later ones are laid over earlier ones."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NoPack = Annotated[bool, typer.Option("--no-pack", help="Leave out Veredus' own rule pack.")]


def load_pack_text() -> str:
    """Read the rule pack that comes with Veredus."""
    from importlib.resources import files

    return files("deliverability.shaping").joinpath("provider_pack.toml").read_text("utf-8")


def _load(paths: list[Path], *, with_pack: bool) -> RuleSet:
    """Read the pack (unless it is left out) and the files over it."""
    from deliverability.shaping.reading import read_rule_set

    texts = [("provider_pack.toml", load_pack_text())] if with_pack else []
    return read_rule_set([*texts, *((str(path), read_text(path)) for path in paths)])


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Rule files that are used together; none: Veredus' own pack."),
    ] = None,
    replies: Annotated[
        Path | None, typer.Option(help="Real replies; patterns that match none are named.")
    ] = None,
    today: Annotated[str, typer.Option(help="Date for expired evidence; default: today.")] = "",
    *,
    json: _Json = False,
) -> None:
    """Find rules that are dead, shadowed, overlapping, loosening or expired. Exit 1 if any is dead."""
    import datetime as dt

    import msgspec

    from deliverability.shaping.check import FindingKind, check_rules
    from deliverability.shaping.replay import parse_replies

    rules = _load(files or [], with_pack=not files)
    date = today or dt.datetime.now(dt.UTC).date().isoformat()
    texts = (
        [each.text for each in parse_replies(read_text(replies), str(replies))] if replies else []
    )
    findings = check_rules(rules, date, texts)
    if json:
        typer.echo(msgspec.json.encode(findings).decode())
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{len(findings)} findings in {len(rules.files)} files")
    if any(finding.kind is FindingKind.DEAD for finding in findings):
        raise typer.Exit(1)


@app.command()
def replay(
    replies: Annotated[
        Path, typer.Argument(help="A table with a column text, or one reply a line.")
    ],
    rules: _Rules = None,
    *,
    json: _Json = False,
    no_pack: _NoPack = False,
) -> None:
    """Tell which rules would have matched and fired, had these replies come."""
    import msgspec

    from deliverability.shaping.replay import parse_replies
    from deliverability.shaping.replay import replay as replay_replies

    loaded = _load(rules or [], with_pack=not no_pack)
    recorded = parse_replies(read_text(replies), str(replies))
    report = replay_replies(loaded, recorded)
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _show_replay(report)


def _show_replay(report: ReplayReport) -> None:
    for rule in report.rules:
        place = f"{rule.place.file}:{rule.place.line}"
        elsewhere = f", {rule.matched_elsewhere} elsewhere" if rule.matched_elsewhere else ""
        typer.echo(
            f"{place:40} {rule.section:28} matched {rule.matched}, fired {rule.fired}{elsewhere}"
            f"  {rule.patterns[0][:60]}"
        )
    typer.echo(f"{report.matched} of {report.replies} replies matched a rule in scope")


@app.command()
def explain(
    domain: Annotated[str, typer.Argument(help="The recipient's domain.")],
    source: Annotated[str, typer.Option(help="The name of the outbound source.")] = "",
    mx: Annotated[
        list[str] | None, typer.Option(help="An MX host of the domain (nothing is looked up).")
    ] = None,
    rules: _Rules = None,
    *,
    json: _Json = False,
    no_pack: _NoPack = False,
) -> None:
    """Show each limit that holds for a domain, and which line of which file set it."""
    import msgspec

    from deliverability.shaping.effective import explain as explain_limits

    loaded = _load(rules or [], with_pack=not no_pack)
    limits = explain_limits(loaded, domain, mx or [], source)
    if json:
        typer.echo(msgspec.json.encode(limits).decode())
    else:
        _show_limits(limits)


def _show_limits(limits: EffectiveLimits) -> None:
    from deliverability.shaping.quantities import show_duration
    from deliverability.shaping.rules import Duration

    providers = ", ".join(limits.providers) or "none"
    typer.echo(f"{limits.domain}: providers {providers}; sections {', '.join(limits.sections)}")
    for each in limits.settings:
        value = show_duration(each.value.ms) if isinstance(each.value, Duration) else each.value
        hides = ", ".join(f"{place.file}:{place.line}" for place in each.hides)
        typer.echo(
            f"  {each.name:44} {value!s:16} {each.place.file}:{each.place.line} ({each.section})"
            + (f", hides {hides}" if hides else "")
        )
    for rule in limits.automation:
        actions = ", ".join(map(str, rule.actions))
        typer.echo(
            f"  {rule.place.file}:{rule.place.line} on {rule.patterns[0][:60]!r} at {rule.trigger}: "
            f"{actions} for {show_duration(rule.duration_ms)}"
        )
