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
from actors.worker.wire import WireArrival
from bench.ceilings.signatures import Signatures, measure_signatures
from bench.content import FIRST_NAMES, expected_html, expected_text, holes, number_in, template
from bench.cpu import cpu_s, descendants
from bench.deployment import SELECTOR, Sender, configure, publish_all, worker_settings
from bench.frame import Measured, Result, Sample, plain, rates, say
from bench.sink import SinkProcess
from deliverability.dkim.keys import dns_record, load_key
from engine.config import Config
from engine.keyspace import EntityKey, Keyspace, contact_key
from engine.vocabulary import ConsentGiven, ContactPut, Event

SENDERS = {
    "rsa2048": Sender("rsa2048", "rsa.shop.example", "rsa-sha256"),
    "ed25519": Sender("ed25519", "ed.shop.example", "ed25519-sha256"),
}
VARIANTS = ((27, "rsa2048"), (10, "rsa2048"), (100, "rsa2048"), (27, "ed25519"))
PARTS = ("overhead", "workers", "ray", "signature", "sink", "generator")
"""What the CPU time of a message is divided into."""
SCENARIO = """\
scenario: thanks-{size}k
entry:
  event: order.{size}k
reentry: always
steps:
  - id: thanks
    send: {{template: order-{size}k, topic: orders}}
"""
DOMAINS = 8
BATCH = 400
"""Events that a worker is given in one call."""
BACKLOG = 1600
"""Mails of one worker that are on their way at any time."""
KEEP = 500
TRIES = 3
APART_MAX = 0.10
DRAIN_S = 60.0


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
    """A cluster with its sink, and the load on it."""

    def __init__(
        self, config: Config, cluster: Cluster, sink: SinkProcess, settings: Settings
    ) -> None:
        self.config = config
        self.cluster = cluster
        self.sink = sink
        self.settings = settings
        self._keyspace = Keyspace(config.store.partitions)
        self._next = 0
        self._begin = time.perf_counter()
        self._keys: dict[str, list[list[EntityKey]]] = {
            tenant: [[] for _ in cluster.workers] for tenant in SENDERS
        }

    async def fill(self) -> None:
        """Let all contacts exist, with address, name and consent, at each tenant."""
        count = len(self.cluster.workers)
        for tenant, keys in self._keys.items():
            waiting: list[list[WireArrival]] = [[] for _ in range(count)]
            for number in range(self.settings.contacts):
                key = contact_key(tenant, f"c{number}")
                index = self._keyspace.partition(key) % count
                keys[index].append(key)
                waiting[index] += _contact(key, number)
            for worker, items in zip(self.cluster.workers, waiting, strict=True):
                for start in range(0, len(items), 1000):
                    await worker.admit(items[start : start + 1000])

    @property
    def late(self) -> bool:
        """Tell whether there is no time left to repeat anything."""
        return time.perf_counter() - self._begin > self.settings.repeat_until_s

    async def load(self, size: int, tenant: str, seconds: float) -> tuple[int, float]:
        """Keep all workers busy for a time, then let them finish. Returns mails, and s until the last arrived."""
        before = self.sink.count()
        begin = time.perf_counter()
        end = begin + seconds
        given = [0] * len(self.cluster.workers)
        arrived = self.sink.count

        async def feed(index: int) -> None:
            worker = self.cluster.workers[index]
            while time.perf_counter() < end:
                if sum(given) - (arrived() - before) < BACKLOG * len(given):
                    items = [self._order(size, tenant, index) for _ in range(BATCH)]
                    answer = await worker.admit(items)
                    assert not answer.overloaded, "the backlog of the bench fits"
                    given[index] += BATCH
                else:
                    await asyncio.sleep(0.002)

        await asyncio.gather(*(feed(index) for index in range(len(given))))
        last = await self._drained(before + sum(given))
        return sum(given), last - begin

    async def _drained(self, wanted: int) -> float:
        """Wait until all have arrived, and their outcomes are durable. Returns when the last arrived."""
        deadline = time.perf_counter() + DRAIN_S
        while self.sink.count() < wanted:
            assert time.perf_counter() < deadline, (
                f"{wanted - self.sink.count()} mails never arrived"
            )
            await asyncio.sleep(0.002)
        last = time.perf_counter()
        assert self.sink.count() == wanted, "no mail arrives twice"
        await self._settled()
        return last

    async def _settled(self) -> None:
        """Wait until no message is in hand of any worker: all outcomes are on their way into the store."""
        for worker in self.cluster.workers:
            while (await worker.status()).in_hand:  # noqa: ASYNC110 -- the workers are other processes
                await asyncio.sleep(0.02)

    def _order(self, size: int, tenant: str, index: int) -> WireArrival:
        """Make the next event of a worker."""
        number = self._next
        self._next += 1
        keys = self._keys[tenant][index]
        key = keys[number % len(keys)]
        event = Event(f"order.{size}k", time.time_ns() // 1_000_000, holes(number))
        return WireArrival(key, event, b"order" + number.to_bytes(8))

    def check(self, size: int, tenant: str) -> int:
        """Verify the mails that the sink kept. Returns how many."""
        sender = SENDERS[tenant]
        pem = Path(self.config.data_dir).parent / "keys" / f"{tenant}.pem"
        key = load_key(pem.read_bytes(), sender.domain, SELECTOR)
        record = dns_record(key).encode()
        mails = self.sink.kept()
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
        bench = Bench(config, cluster, sink, settings)
        say(f"  {settings.contacts:,} contacts for each of {len(SENDERS)} tenants")
        await bench.fill()
        return await _rounds(bench)
    finally:
        await cluster.stop()


def _published(folder: Path) -> Config:
    config = configure(folder, list(SENDERS.values()), os.cpu_count() or 1)
    scenarios = {
        tenant: {
            f"thanks-{size}k.yaml": SCENARIO.format(size=size)
            for size, of in VARIANTS
            if of == tenant
        }
        for tenant in SENDERS
    }
    templates = {
        tenant: {
            f"order-{size}k": template(size, f"hello@{sender.domain}")
            for size, of in VARIANTS
            if of == tenant
        }
        for tenant, sender in SENDERS.items()
    }
    publish_all(config, scenarios, templates)
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
            "workers": len(bench.cluster.workers),
            "partitions": bench.config.store.partitions,
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
    workers = {(await worker.status()).pid for worker in bench.cluster.workers}
    sink, mine = {bench.sink.pid}, {os.getpid()}
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


def _contact(key: EntityKey, number: int) -> list[WireArrival]:
    name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {number}"
    put = ContactPut({"email": f"c{number}@d{number % DOMAINS}.example", "name": name})
    told = number.to_bytes(4)
    return [
        WireArrival(key, put, b"put" + told),
        WireArrival(key, ConsentGiven("orders", True, 1, "bench"), b"consent" + told),
    ]


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
