"""The workers' counters as Prometheus metrics, as of the last look. No addresses, ids or free text in labels."""

from __future__ import annotations

__all__ = ("WorkerCollector",)

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.worker.wire import WorkerStatus
from engine.tally import ACCEPTED, holds, merged


class WorkerCollector(Collector):
    """Gives what the newest statuses say; `look` is called with them every second or so."""

    def __init__(self) -> None:
        self._statuses: Sequence[WorkerStatus] = ()

    def look(self, statuses: Sequence[WorkerStatus]) -> None:
        """Take newer statuses."""
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        yield from self._law()
        yield from self._workers()
        yield from self._health()

    def _law(self) -> Iterator[Metric]:
        messages = GaugeMetricFamily(
            "veredus_messages",
            "Messages by bucket of the conservation law.",
            labels=("tenant", "stream", "bucket"),
        )
        accepted = CounterMetricFamily(
            "veredus_messages_accepted", "Messages accepted.", labels=("tenant", "stream")
        )
        kept = GaugeMetricFamily(
            "veredus_conservation_holds",
            "1 while the conservation law holds.",
            labels=("tenant", "stream"),
        )
        for owner, counts in merged(status.law for status in self._statuses).items():
            tenant, _, stream = owner.partition("\0")
            for bucket, number in counts.items():
                if bucket == ACCEPTED:
                    accepted.add_metric((tenant, stream), number)
                else:
                    messages.add_metric((tenant, stream, bucket), number)
            kept.add_metric((tenant, stream), float(holds(counts)))
        yield from (messages, accepted, kept)

    def _workers(self) -> Iterator[Metric]:
        ticks = CounterMetricFamily(
            "veredus_worker_ticks", "Commits that a worker made.", labels=("worker",)
        )
        inputs = CounterMetricFamily(
            "veredus_worker_inputs", "Inputs that a worker decided.", labels=("worker",)
        )
        waiting = GaugeMetricFamily(
            "veredus_worker_inputs_waiting", "Inputs not decided yet.", labels=("worker",)
        )
        in_hand = GaugeMetricFamily(
            "veredus_egress_messages_in_hand", "Messages handed over.", labels=("worker",)
        )
        facts = CounterMetricFamily(
            "veredus_kernel_facts", "What else the kernel counted.", labels=("worker", "fact")
        )
        for status in self._statuses:
            worker = (f"w{status.index}",)
            ticks.add_metric(worker, status.ticks)
            inputs.add_metric(worker, status.inputs)
            waiting.add_metric(worker, status.waiting)
            in_hand.add_metric(worker, status.in_hand)
            for fact, number in status.facts.items():
                facts.add_metric((*worker, fact), number)
        yield from (ticks, inputs, waiting, in_hand, facts)

    def _health(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "veredus_worker_takes_inputs", "1 while a worker takes inputs.", labels=("worker",)
        )
        failures = CounterMetricFamily(
            "veredus_store_failures", "Commits that failed.", labels=("worker",)
        )
        disk = GaugeMetricFamily(
            "veredus_disk_free_bytes", "Room on the disk of the data directory.", labels=("worker",)
        )
        memory = GaugeMetricFamily(
            "veredus_memory_free_bytes", "Memory that can be had.", labels=("worker",)
        )
        behind = GaugeMetricFamily(
            "veredus_clock_behind_seconds",
            "How far the wall clock is behind the time in use, which never goes back.",
            labels=("worker",),
        )
        view = GaugeMetricFamily(
            "veredus_suppression_view_age_seconds",
            "How old a worker's view of the suppression list is; above 1.5 it begins nothing. No value: never heard.",
            labels=("worker",),
        )
        agrees = GaugeMetricFamily(
            "veredus_recount_agrees",
            "1 when the last recount agreed with the counters; no value before the first.",
            labels=("worker",),
        )
        for status in self._statuses:
            worker = (f"w{status.index}",)
            ready.add_metric(worker, float(not status.trouble))
            failures.add_metric(worker, status.store_failures)
            disk.add_metric(worker, status.disk_free)
            memory.add_metric(worker, status.memory_free)
            behind.add_metric(worker, status.clock_behind_ms / 1000)
            if status.suppression_age_ms is not None:
                view.add_metric(worker, status.suppression_age_ms / 1000)
            if status.recount.state == "done":
                agrees.add_metric(worker, float(status.recount.agrees))
        yield from (ready, failures, disk, memory, behind, view, agrees)
