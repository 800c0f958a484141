"""Case `pipeline`: from event to delivered under Ray: decided, durable, composed, signed, sent, outcome durable.

Each event opens a journey that sends one mail to a recipient of its own with twenty holes of its own; a sink in a
process of its own takes them. One mail in 500 is kept: dkimpy verifies it, and an independent render must equal it.

The ceiling is signatures a second of all cores with nothing else to do, measured in turns with the pipeline. The
*overhead* doesn't depend on how fast a machine signs: CPU µs a message of all processes, Ray's own included, less
the load generator (this process), the sink (shown beside it), and one signature. The signature is measured before and
after; when the two differ by more than a tenth the round is repeated, and after three tries it counts as noisy.

`pipeline_27k_tls` is the same with STARTTLS to the sink, on a cluster of its own. `pipeline_27k_stage_…` divides the
workers' CPU time of one more stretch by stages, as py-spy samples them (`bench.flame`); `--flame FILE` keeps them.
"""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dkim
import msgspec
import uvloop

from actors.cluster.running import Cluster
from bench.ceilings.signatures import Signatures, measure_signatures
from bench.content import expected_html, expected_text, holes, number_in
from bench.cpu import cpu_s, descendants
from bench.deployment import SELECTOR, Sender, configure, worker_settings
from bench.flame import Sampler, speedscope, stages
from bench.frame import Measured, Result, Sample, plain, rates, say
from bench.mailing import BACKLOG, BATCH, Mailing, Variant, publish_variants
from bench.sink import SinkProcess
from deliverability.dkim.keys import dns_record, load_key
from engine.config import Config

SENDERS = {
    "rsa2048": Sender("rsa2048", "rsa.shop.example", "rsa-sha256"),
    "ed25519": Sender("ed25519", "ed.shop.example", "ed25519-sha256"),
}
Kind = tuple[int, str, bool]
"""Kilobytes, tenant, whether STARTTLS is used."""
CLEAR: tuple[Kind, ...] = (
    (27, "rsa2048", False),
    (10, "rsa2048", False),
    (100, "rsa2048", False),
    (27, "ed25519", False),
)
TLS: tuple[Kind, ...] = ((27, "rsa2048", True),)
PROFILED: Kind = (27, "rsa2048", False)
PARTS = ("overhead", "workers", "ray", "signature", "sink", "generator")
"""What the CPU time of a message is divided into."""
KEEP = 500
TRIES = 3
APART_MAX = 0.10
PROFILE_MORE_S = 3.0


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


def run(*, quick: bool, seed: int, flame: Path | None = None) -> Measured:
    """Measure; with `flame`, write the samples of the workers there for speedscope."""
    del seed
    settings = Settings.of(quick=quick)
    found: dict[str, list[Sample]] = {}
    notes: dict[str, Any] = {**msgspec.to_builtins(settings), "verified": 0, "noisy": []}
    for kinds in (CLEAR, TLS):
        folder = Path(tempfile.mkdtemp(prefix="veredus-bench-"))
        try:
            with SinkProcess(folder / "sink", keep=KEEP, tls=kinds is TLS) as sink:
                uvloop.run(_measured(folder, settings, sink, kinds, found, notes, flame))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return Measured(_results(found, notes.pop("stages", {})), notes)


async def _measured(
    folder: Path,
    settings: Settings,
    sink: SinkProcess,
    kinds: Sequence[Kind],
    found: dict[str, list[Sample]],
    notes: dict[str, Any],
    flame: Path | None,
) -> None:
    """Measure some kinds on a cluster of their own."""
    config = _published(folder, kinds)
    cluster = Cluster(worker_settings(config, sink.port, tls=kinds is TLS))
    await cluster.start()
    try:
        tenants = {by: settings.contacts for _, by, _ in kinds}
        mailing = Mailing(config, cluster, sink, tenants)
        say(f"  {settings.contacts:,} contacts for each of {len(tenants)} tenants")
        await mailing.fill()
        bench = Bench(mailing, settings)
        await _rounds(bench, kinds, found, notes)
        if PROFILED in kinds:
            await _profile(bench, folder, notes, flame)
    finally:
        await cluster.stop()
    notes |= {
        "workers": len(cluster.workers),
        "partitions": config.store.partitions,
        "holes": len(holes(0)),
        "backlog_a_worker": BACKLOG,
        "events_a_call": BATCH,
        "smtp": "BDAT, a window of mails in flight",
        "in_doubt_max": config.delivery.in_doubt_max,
    }


def _published(folder: Path, kinds: Sequence[Kind]) -> Config:
    config = configure(folder, list(SENDERS.values()), os.cpu_count() or 1)
    variants = {
        sender: [Variant(f"{size}k", size) for size, of, _ in kinds if of == sender.tenant]
        for sender in SENDERS.values()
    }
    publish_variants(config, {sender: some for sender, some in variants.items() if some})
    return config


async def _rounds(
    bench: Bench, kinds: Sequence[Kind], found: dict[str, list[Sample]], notes: dict[str, Any]
) -> None:
    """Measure all kinds in turns, each between two measurements of its ceiling."""
    settings = bench.settings
    checked = 0
    for size, by, _ in kinds:
        await bench.load(size, by, 1.0)
        checked += bench.check(size, by)
    for turn in range(settings.rounds):
        for kind in kinds:
            name, (size, by, _) = _name(kind), kind
            sample, steady = await _quiet_round(bench, size, by)
            if not steady:
                notes["noisy"].append(f"{name} round {turn + 1}")
            found.setdefault(name, []).append(sample)
            told = ", ".join(f"{key} {value:.0f}" for key, value in sample.items())
            say(f"  round {turn + 1} of {settings.rounds}: {name} {told}")
            checked += bench.check(size, by)
    assert checked, "at least one mail is verified"
    notes["verified"] += checked


async def _profile(bench: Bench, folder: Path, notes: dict[str, Any], flame: Path | None) -> None:
    """Sample the workers under the same load, apart from what is measured."""
    workers = {(await worker.status()).pid for worker in bench.mailing.cluster.workers}
    size, by, _ = PROFILED
    sampler = Sampler(workers, folder)
    begin = cpu_s(workers)
    mails, _ = await bench.load(size, by, bench.settings.seconds + PROFILE_MORE_S)
    each = (cpu_s(workers) - begin) / mails * 1e6
    stacks = sampler.stacks()
    bench.check(size, by)
    notes["profile"] = sampler.trouble or f"py-spy, {sum(stacks.values())} samples"
    notes["stages"] = {name: share * each for name, share in stages(stacks).items()}
    if flame is not None and stacks:
        flame.write_bytes(speedscope(stacks, f"workers, {size} KB, {by}"))  # noqa: ASYNC240 -- at the end
        say(f"  written to {flame}: open it with speedscope.app")
    elif flame is not None:
        say(f"  {flame} wasn't written: {sampler.trouble}")


def _name(kind: Kind) -> str:
    size, by, tls = kind
    return f"pipeline_{size}k_tls" if tls else f"pipeline_{size}k_{by}"


def _results(found: dict[str, list[Sample]], stage_us: dict[str, float]) -> list[Result]:
    results = []
    for name, samples in found.items():
        values = [one["rate"] for one in samples]
        results.append(rates(name, "1/s", values, [one["ceiling"] for one in samples]))
    for kind in (*CLEAR, *TLS):
        samples = found[_name(kind)]
        start = _name(kind).removesuffix("_rsa2048")
        results += [
            plain(f"{start}_{part}", "µs", [one[part] for one in samples]) for part in PARTS
        ]
    quick, slow = found["pipeline_27k_ed25519"], found["pipeline_27k_rsa2048"]
    ratios = [a["rate"] / b["rate"] for a, b in zip(quick, slow, strict=True)]
    results.append(plain("pipeline_27k_ed25519_to_rsa2048", "", ratios))
    results += [plain(f"pipeline_27k_stage_{name}", "µs", [us]) for name, us in stage_us.items()]
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
