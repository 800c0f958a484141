"""A report as text for a terminal: the funnel, the mail, the volume, and what can't be kept."""

from __future__ import annotations

__all__ = ("backtest_shown", "shown")

from collections.abc import Iterator
from datetime import UTC, datetime

from actors.simulation.backtest import Backtest
from actors.simulation.forecast import wait_told
from actors.simulation.intervals import Share
from actors.simulation.loads import Load
from actors.simulation.report import Report, Step

_TALE_LINES = 12


def shown(report: Report) -> str:
    """Write the report."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    world = "before twins with quotas" if report.twins else "providers take all"
    yield (
        f"{report.scenario} {report.version}: {report.contacts:,} contacts, {report.days} days from "
        f"{report.begins}, seed {report.seed}, {world}"
    )
    yield f"  a journey at least   {percent(report.entered)}"
    yield f"  a mail at least      {percent(report.mailed)}"
    yield f"  journeys             {report.journeys:,}"
    yield ""
    yield "Funnel: steps that journeys took"
    for step in report.funnel:
        branches = ", ".join(f"{name} {number:,}" for name, number in step.branches.items())
        yield (
            f"  {step.step:<24} {step.kind:<8} {step.reached.count:>11,}  {taken(step)}  {branches}"
        ).rstrip()
    yield ""
    yield "How journeys ended"
    for reason, share in report.ended.items():
        yield f"  {reason:<33} {share.count:>11,}  {percent(share)}"
    for step_name, number in report.standing.items():
        yield f"  still at {step_name:<24} {number:>11,}"
    yield ""
    yield "Mail"
    for mail in report.mail:
        became = ", ".join(f"{name} {number:,}" for name, number in mail.became.items())
        yield f"  {mail.step} ({mail.template}): {mail.handed_over:,} handed over; {became}"
        yield (
            f"    opened {percent(mail.opened)}, clicked of those {percent(mail.clicked)}, "
            f"complained {percent(mail.complained)}"
        )
    yield from _volume(report)
    for load in report.providers:
        yield from _load(load)
    for experiment in report.experiments:
        yield ""
        yield f"Experiment {experiment.step}, measured by {experiment.metric}"
        for variant in experiment.variants:
            yield f"  {variant.name:<24} {variant.converted.of:>11,}  {percent(variant.converted)}"
        for one in experiment.differences:
            yield (
                f"  {one.variant} against {one.against}: {one.value:+.2%} ({one.low:+.2%} to "
                f"{one.high:+.2%}), power {one.power:.0%}; {one.visible:.2%} would be seen in 8 of 10"
            )
    if report.fitted:
        yield ""
        yield "Measured on the history"
        yield from (f"  {line}" for line in report.fitted)
    for tale in report.tales[:3]:
        yield ""
        yield f"One of {tale.contacts.count:,} ({tale.contacts.value:.1%}): {tale.contact}"
        for line in tale.lines[:_TALE_LINES]:
            yield f"  {_moment(line.at)}  {line.what}: {line.detail}"
    yield ""
    yield from report.findings or ("All mail can go when it is due.",)


def _volume(report: Report) -> Iterator[str]:
    volume = report.volume
    yield ""
    yield (
        f"Volume: {volume.mails:,} mails; busiest day {volume.busiest_day} with "
        f"{volume.busiest_day_mails:,}; cap hits {report.cap_hits:,}"
    )
    shares = ", ".join(f"{n} mails {c:,}" for n, c in list(volume.per_contact.items())[:8])
    yield f"  contacts by mails: {shares}"
    yield f"  at most {max(volume.most_a_day, default=0)} to one contact on one day"
    yield (
        f"  worst case: {volume.worst_journey} mails a journey, {volume.worst_instant:,} if every "
        "contact takes the longest way at once"
    )


def _load(load: Load) -> Iterator[str]:
    quotas = ", ".join(f"{one.limit:,} in {wait_told(one.minutes)}" for one in load.quotas)
    yield (
        f"  {load.provider}: {load.mails:,} mails, busiest hour {load.busiest_hour} with "
        f"{load.busiest_hour_attempts:,}; limits: {quotas or 'none stated'}"
    )
    seen = load.measured or load.forecast
    if seen.late:
        yield (f"    {seen.late:,} late by 5 min or more, {wait_told(seen.minutes_max)} at worst")


def backtest_shown(found: Backtest) -> str:
    """Write what a scenario would have done."""
    return "\n".join(_backtest_lines(found))


def _backtest_lines(found: Backtest) -> Iterator[str]:
    yield (
        f"{found.scenario} {found.version} over {found.events:,} events of {found.contacts:,} contacts"
    )
    yield f"  would have had a journey   {percent(found.entered)}"
    yield f"  would have got a mail      {percent(found.mailed)}"
    yield f"  journeys                   {found.journeys:,}"
    yield ""
    yield "Mails that would have gone"
    for step, number in found.mails.items():
        yield f"  {step:<24} {number:>11,}"
    for step, reasons in found.not_sent.items():
        told = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        yield f"  not sent: {step}: {told}"
    yield ""
    yield "How journeys would have ended"
    for reason, number in found.ended.items():
        yield f"  {reason:<24} {number:>11,}"
    if found.after:
        yield ""
        yield "What happened after, without these mails"
    for one in found.after:
        yield (
            f"  {one.step}: {one.event} within {one.days} days {percent(one.did)}; within the day "
            f"before {percent(one.just_before)}"
        )
    if found.compared is not None:
        both = found.compared
        yield ""
        yield (
            f"Against {both.event} in the log, by contact and day: both {both.both:,}, only this "
            f"scenario {both.only_scenario:,}, only the log {both.only_log:,}"
        )


def taken(step: Step) -> str:
    """Write how often journeys took a step: the share with its interval, or in a loop how often each."""
    if step.per_journey > 1.0:
        return f"{step.per_journey:.2f} times a journey"
    return percent(step.reached)


def percent(share: Share) -> str:
    """Write a share with its interval."""
    return f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%})"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
