"""Case `pipeline`: from event to delivered under Ray: decided, durable, composed, signed, sent, outcome durable.

Each event opens a journey that sends one mail to a recipient of its own with twenty holes of its own; a sink in a
process of its own takes them. One mail in 500 is kept: dkimpy verifies it, and an independent render must equal it.

The ceiling is signatures a second of all cores with nothing else to do, measured in turns with the pipeline. The
*overhead* doesn't depend on how fast a machine signs: CPU µs a message of all processes, Ray's own included, less
the load generator (this process), the sink (shown beside it), and one signature. The signature is measured before and
after; when the two differ by more than a tenth the round is repeated, and after three tries it counts as noisy.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import msgspec
import uvloop

from actors.cluster import Cluster
from bench.ceilings.signatures import Signatures, measure_signatures
from bench.content import expected_html, expected_text, holes, number_in
from bench.cpu import cpu_s, descendants
from bench.deployment import SELECTOR, Sender, configure, worker_settings
from bench.frame import Measured, Result, Sample, plain, rates, say
from bench.mailing import BACKLOG, BATCH, Mailing, Variant, publish_variants
from bench.sink import SinkProcess
from deliverability.dkim.keys import dns_record, load_key
from engine.config import Config

SENDERS = {
    "rsa2048": Sender("rsa2048", "rsa.shop.example", "rsa-sha256"),
    "ed25519": Sender("ed25519", "ed.shop.example", "ed25519-sha256"),
}
VARIANTS = ((27, "rsa2048"), (10, "rsa2048"), (100, "rsa2048"), (27, "ed25519"))
PARTS = ("overhead", "workers", "ray", "signature", "sink", "generator")
"""What the CPU time of a message is divided into."""
KEEP = 500
TRIES = 3
APART_MAX = 0.10


class Settings(msgspec.Struct, frozen=True):
    """How large a run is."""

    contacts: int
    rounds: int
    seconds: float
    signing_s: float
    repeat_until_s: float  # a noisy round is repeated only before this time of the run

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Choose the size."""
        return cls(5_000, 1, 3.0, 1.0, 30.0) if quick else cls(40_000, 3, 15.0, 3.0, 400.0)


class Bench:
    """The load, and what is needed to judge it."""

    def __init__(self, mailing: Mailing, settings: Settings) -> None:
        self.mailing = mailing
        self.settings = settings
        self._begin = time.perf_counter()

    @property
    def late(self) -> bool:
        """Tell whether there is no time left to repeat anything."""
        return time.perf_counter() - self._begin > self.settings.repeat_until_s

    async def load(self, size: int, tenant: str, seconds: float) -> tuple[int, float]:
        """Keep all workers busy for a time. Returns mails, and s until the last arrived."""
        return await self.mailing.load(f"{size}k", tenant, seconds)

    def check(self, size: int, tenant: str) -> int:
        """Verify the mails that the sink kept. Returns how many."""
        sender = SENDERS[tenant]
        pem = Path(self.mailing.config.data_dir).parent / "keys" / f"{tenant}.pem"
        key = load_key(pem.read_bytes(), sender.domain, SELECTOR)
        record = dns_record(key).encode()
        mails = self.mailing.sink.kept()
        for mail in mails:
            _check(mail, size, record)
        return len(mails)


def run(*, quick: bool, seed: int) -> Measured:
    """Measure."""
    settings = Settings.of(quick=quick)
    folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
    try:
        with SinkProcess(folder / "sink", keep=KEEP) as sink:
            return uvloop.run(_measured(folder, settings, sink))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measured(folder: Path, settings: Settings, sink: SinkProcess) -> Measured:
    config = _published(folder)
    cluster = Cluster(worker_settings(config, sink.port))
    await cluster.start()
    try:
        mailing = Mailing(config, cluster, sink, dict.fromkeys(SENDERS, settings.contacts))
        say(f"  {settings.contacts:,} contacts for each of {len(SENDERS)} tenants")
        await mailing.fill()
        return await _rounds(Bench(mailing, settings))
    finally:
        await cluster.stop()


def _published(folder: Path) -> Config:
    config = configure(folder, list(SENDERS.values()), os.cpu_count() or 1)
    variants = {
        sender: [Variant(f"{size}k", size) for size, of in VARIANTS if of == sender.tenant]
        for sender in SENDERS.values()
    }
    publish_variants(config, variants)
    return config


async def _rounds(bench: Bench) -> Measured:
    """Measure all variants in turns, each between two measurements of its ceiling."""
    settings = bench.settings
    found: dict[str, list[Sample]] = {f"pipeline_{size}k_{by}": [] for size, by in VARIANTS}
    checked, noisy = 0, []
    for size, by in VARIANTS:
        await bench.load(size, by, 1.0)
        checked += bench.check(size, by)
    for turn in range(settings.rounds):
        for size, by in VARIANTS:
            name = f"pipeline_{size}k_{by}"
            sample, steady = await _quiet_round(bench, size, by)
            if not steady:
                noisy.append(f"{name} round {turn + 1}")
            found[name].append(sample)
            told = ", ".join(f"{key} {value:.0f}" for key, value in sample.items())
            say(f"  round {turn + 1} of {settings.rounds}: {name} {told}")
            checked += bench.check(size, by)
    assert checked, "at least one mail is verified"
    return Measured(
        _results(found),
        {
            **msgspec.to_builtins(settings),
            "workers": len(bench.mailing.cluster.workers),
            "partitions": bench.mailing.config.store.partitions,
            "holes": len(holes(0)),
            "backlog_a_worker": BACKLOG,
            "events_a_call": BATCH,
            "smtp": "BDAT, a window of mails in flight",
            "verified": checked,
            "noisy": noisy,
        },
    )


def _results(found: dict[str, list[Sample]]) -> list[Result]:
    results = []
    for name, samples in found.items():
        values = [one["rate"] for one in samples]
        results.append(rates(name, "1/s", values, [one["ceiling"] for one in samples]))
    for size, by in VARIANTS:
        samples = found[f"pipeline_{size}k_{by}"]
        start = f"pipeline_{size}k" + ("_ed25519" if by == "ed25519" else "")
        results += [
            plain(f"{start}_{part}", "µs", [one[part] for one in samples]) for part in PARTS
        ]
    return results


async def _quiet_round(bench: Bench, size: int, by: str) -> tuple[Sample, bool]:
    """Measure until the signature costs the same before and after, three times at most."""
    for _ in range(TRIES):
        sample, before, after = await _round(bench, size, by)
        if abs(before.cpu_us - after.cpu_us) <= APART_MAX * min(before.cpu_us, after.cpu_us):
            return sample, True
        say(f"  a signature took {before.cpu_us:.0f} µs before and {after.cpu_us:.0f} after")
        if bench.late:
            break
    return sample, False


async def _round(bench: Bench, size: int, by: str) -> tuple[Sample, Signatures, Signatures]:
    before = await _signatures(bench, by)
    workers = {(await worker.status()).pid for worker in bench.mailing.cluster.workers}
    sink, mine = {bench.mailing.sink.pid}, {os.getpid()}
    ray = descendants(os.getpid()) - workers - sink
    groups = {"workers": workers, "ray": ray, "sink": sink, "generator": mine}
    begin = {name: cpu_s(pids) for name, pids in groups.items()}
    mails, wall = await bench.load(size, by, bench.settings.seconds)
    cpu = {name: (cpu_s(pids) - begin[name]) / mails * 1e6 for name, pids in groups.items()}
    after = await _signatures(bench, by)
    signature = (before.cpu_us + after.cpu_us) / 2
    sample = {
        "rate": mails / wall,
        "ceiling": (before.per_second + after.per_second) / 2,
        "overhead": cpu["workers"] + cpu["ray"] - signature,
        "signature": signature,
        **cpu,
    }
    return sample, before, after


async def _signatures(bench: Bench, by: str) -> Signatures:
    cores = os.cpu_count() or 1
    algorithm = SENDERS[by].algorithm
    return await asyncio.to_thread(measure_signatures, algorithm, bench.settings.signing_s, cores)


def _check(mail: bytes, size: int, record: bytes) -> None:
    """Verify the signature by dkimpy, and compare both parts with a render of our own."""
    assert dkim.verify(mail, dnsfunc=_dns(record)), "the signature of a kept mail is not good"
    parsed = message_from_bytes(mail, policy=policy.default)
    html, text = parsed.get_body(("html",)), parsed.get_body(("plain",))
    assert html is not None, "it has HTML"
    assert text is not None, "it has text"
    number = number_in(text.get_content())
    assert _lines(html.get_content()) == _lines(expected_html(size, number)), "another HTML"
    assert _lines(text.get_content()) == _lines(expected_text(number)), "another text"


def _dns(record: bytes) -> Callable[..., bytes]:
    return lambda *_args, **_more: record


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()
