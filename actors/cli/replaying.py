"""What `replay` and `demo` have in common: their configuration, the summary, the report's page."""

from __future__ import annotations

__all__ = (
    "Summary",
    "configured",
    "demand_kills",
    "lived",
    "split_roles",
    "summarise",
    "write_page",
)

import os
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import msgspec

from actors.cli.output import print_json, print_line
from actors.log import configure
from actors.replay.killing import ATTEMPTING_MIN
from actors.replay.run import Replayed, ReplayOptions, run
from actors.report import write_report
from actors.report.collecting import ACCEPT_BOUNDS_MS, HistogramCollector
from actors.report.run import Balance, InputSummary, ProviderResult, RunReport, TimelinePoint
from actors.report.surroundings import machine_facts, version_facts
from deliverability.dkim.keys import dns_name, dns_record, generate_pem, load_key
from engine.config import Config, DkimKey, Tenant, parse
from engine.errors import InputError, RefusedError
from engine.tally import ACCEPTED, Counts

FROM_DOMAIN = "shop.example"
SELECTOR = "replay"


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    events: int
    messages: Counts
    adds_up: bool
    arrived: int
    log_end_ms: int
    steps: int
    wall_s: float
    kills: int
    in_the_air: int
    phases: dict[str, int]
    places: dict[str, int]


def configured(
    config: Path | None, data: Path | None, workers: int, domain: str = FROM_DOMAIN
) -> Config:
    """Read the configuration; without one, make what a replay to twins needs: a From domain and a DKIM key."""
    path = config or Path("veredus.toml")
    if path.exists():
        made = parse(path.read_text("utf-8"), str(path), os.environ)
    elif config is not None:
        raise InputError(f"{config}: there is no such file", mend="`veredus init` writes one")
    else:
        made = _keyed(Config(data_dir=str(data or Path(".veredus"))), domain)
    if data is not None:
        made = msgspec.structs.replace(made, data_dir=str(data))
    if workers:
        counted = msgspec.structs.replace(made.workers, count=workers)
        made = msgspec.structs.replace(made, workers=counted)
    return msgspec.structs.replace(made, data_dir=str(Path(made.data_dir).absolute()))


def split_roles(config: Config) -> Config:
    """Let egresses of their own send: as many as configured, else one."""
    senders = config.workers.egress_count or 1
    split = msgspec.structs.replace(config.workers, roles="split", egress_count=senders)
    return msgspec.structs.replace(config, workers=split)


def _keyed(config: Config, domain: str) -> Config:
    """Give a configuration without keys a DKIM key of its own, which twins and inbox can verify."""
    folder = Path(config.data_dir).absolute() / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    pem = folder / f"{SELECTOR}.{domain}.pem"
    if not pem.exists():
        pem.touch(0o600)
        pem.write_bytes(generate_pem("rsa-sha256"))
    key = load_key(pem.read_bytes(), domain, SELECTOR, str(pem))
    (folder / f"{SELECTOR}.{domain}.txt").write_text(f"{dns_name(key)} TXT {dns_record(key)}\n")
    tenant = Tenant(
        from_domains=(domain,),
        from_address=f"hello@{domain}",
        from_name="The shop",
        dkim=(DkimKey(domain=domain, selector=SELECTOR, key_file=str(pem)),),
        reverse_path_domain=f"bounces.{domain}",
    )
    return msgspec.structs.replace(config, tenant=(tenant,))


def lived(options: ReplayOptions) -> Replayed:
    """Run a replay. What the log and Ray say meanwhile goes to standard error: standard output is the summary's."""
    from rich.console import Console

    configure(options.config.log.level, options.config.log.format)
    with redirect_stdout(sys.stderr):
        return run(options, Console(stderr=True))


def summarise(done: Replayed, *, as_json: bool) -> None:
    """Print what it came to; the last line tells what may have arrived twice."""
    law = {name: number for name, number in sorted(done.law.items()) if name != ACCEPTED}
    accepted = done.law.get(ACCEPTED, 0)
    summary = Summary(
        events=done.events,
        messages=done.law,
        adds_up=accepted == sum(law.values()),
        arrived=done.arrived,
        log_end_ms=done.log_end,
        steps=done.steps,
        wall_s=round(done.wall_s, 1),
        kills=done.kills,
        in_the_air=done.in_the_air,
        phases=dict(done.phases),
        places=dict(done.places),
    )
    if as_json:
        print_json(summary)
        return
    parts = " + ".join(f"{number:,} {name}" for name, number in law.items()) or "0"
    verdict = "adds up" if summary.adds_up else "DOES NOT ADD UP"
    print_line(f"{done.events:,} events; {accepted:,} messages = {parts}  ({verdict})")
    print_line(
        f"{done.arrived:,} mails arrived; {done.steps:,} steps of log time in {done.wall_s:.1f} s"
    )
    if done.kills:
        met = ", ".join(f"{number} {phase}" for phase, number in done.phases.items())
        print_line(f"{done.kills} kills met: {met}")
        at = ", ".join(f"{number} {place}" for place, number in sorted(done.places.items()))
        print_line(f"kills by part of the tick: {at or 'all between two ticks'}")
    print_line(f"in_the_air={done.in_the_air}")


def demand_kills(met: int, wanted: int) -> None:
    """Say loudly that a run met fewer kills than were asked for. Raises: RefusedError."""
    if met < wanted:
        raise RefusedError(
            f"{met} of {wanted} kills happened: too seldom had a worker {ATTEMPTING_MIN} messages under way",
            mend="let the twin take its time, --twin-pace 40, or take a log with busier days",
        )


def write_page(done: Replayed, options: ReplayOptions, path: Path, title: str) -> None:
    """Write the report and its data."""
    law = done.law
    events = Counter(row.event.name for row in options.log)
    contacts = sum(status.facts.get("entities:c", 0) for status in done.statuses)
    survey = done.survey
    report = RunReport(
        title=title,
        started_ms=done.started_ms,
        wall_s=done.wall_s,
        mode=options.config.delivery.mode,
        log_end_ms=done.log_end,
        input=InputSummary(
            options.log.path.name,
            options.log.digest.hex(),
            survey.rows,
            contacts,
            survey.first_ms,
            survey.last_ms,
            dict(events),
        ),
        balance=_balance(law),
        timeline=_timeline(done),
        providers=_providers(done),
        attempts=dict(
            Counter(record.attempt for record in done.outcomes.final if record.first_attempt)
        ),
        funnels=done.funnels,
        accept_latency=_accept_times(done, "").result(),
        due_delay=done.outcomes.delays.result(),
        slowest=done.outcomes.slowest.result(),
        samples=done.samples,
        kills=done.kills,
        machine=machine_facts(),
        versions=version_facts(),
        settings={"workers": str(options.config.workers.count or os.cpu_count())},
    )
    write_report(report, path)


def _balance(law: Counts) -> Balance:
    plain = {name: number for name, number in law.items() if ":" not in name}
    skipped = {
        name.partition(":")[2]: number
        for name, number in law.items()
        if name.startswith("skipped:")
    }
    known = {name: plain.get(name, 0) for name in Balance.__struct_fields__ if name != "skipped"}
    return Balance(skipped=skipped, **known)


def _timeline(done: Replayed) -> list[TimelinePoint]:
    states = sorted({name for _, law in done.timeline for name in law if name != ACCEPTED})
    return [
        TimelinePoint(at, {state: law.get(state, 0) for state in states})
        for at, law in done.timeline
    ]


def _accept_times(done: Replayed, domain: str) -> HistogramCollector:
    """Add up how long acceptance took, of one domain or all; what a killed worker had counted is gone with it."""
    times = HistogramCollector("ms", ACCEPT_BOUNDS_MS)
    for status in (*done.statuses, *done.senders):
        for route, grains in status.accept_ms.items():
            if not domain or route.partition("/")[2] == domain:
                times.add_grains(grains)
    return times


def _providers(done: Replayed) -> list[ProviderResult]:
    results = []
    for domain, counts in sorted(done.outcomes.by_domain.items()):
        causes = dict(done.outcomes.causes.get(domain, {}))
        lost = causes.pop("connection", 0)
        delivered, bounced = counts["delivered"], counts["bounced"]
        times = _accept_times(done, domain)
        deferred = counts["deferred"] - lost
        results.append(
            ProviderResult(
                name=domain,
                messages=sum(1 for record in done.outcomes.final if record.domain == domain),
                attempts=delivered + bounced + deferred + lost + counts["in_doubt"],
                delivered=delivered,
                deferred=deferred,
                bounced=bounced,
                disconnects=lost,
                unanswered=counts["in_doubt"],
                deferrals=causes,
                accept_ms_median=times.quantile(0.5) if delivered else None,
                accept_ms_p99=times.quantile(0.99) if delivered else None,
            )
        )
    return results
