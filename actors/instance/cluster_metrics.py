"""The cluster as Prometheus metrics, as of the last look: partitions, workers, leases, queues. Labels: closed sets."""

from __future__ import annotations

__all__ = ("ClusterCollector",)

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.cluster.placing import PlacementView
from actors.cluster.views import Use
from actors.worker.wire import WorkerStatus

CLASSES = ("urgent", "transactional", "bulk")
"""Names of message classes, by number."""


class ClusterCollector(Collector):
    """Gives what was seen last; `look` is called every second or so."""

    def __init__(self) -> None:
        self._statuses: Sequence[WorkerStatus] = ()
        self._placement: PlacementView | None = None
        self._uses: Sequence[Use] = ()
        self._wanted = 0

    def look(
        self,
        statuses: Sequence[WorkerStatus],
        placement: PlacementView | None,
        uses: Sequence[Use],
        wanted: int,
    ) -> None:
        """Take newer views; `placement` None: nothing moves here. `wanted`: how many workers there should be."""
        self._statuses, self._placement, self._uses = statuses, placement, uses
        self._wanted = wanted

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        yield from self._egress()
        yield self._queues()
        yield from self._partitions()
        yield from self._leases()

    def _egress(self) -> Iterator[Metric]:
        handed = CounterMetricFamily(
            "veredus_egress_handed_over",
            "Messages handed over to the egress, each attempt.",
            labels=("worker",),
        )
        back = CounterMetricFamily(
            "veredus_egress_unattempted",
            "Of these: came back without being begun, such as for lack of a connection.",
            labels=("worker",),
        )
        accepted = CounterMetricFamily(
            "veredus_egress_accepted", "Of these: accepted by a server.", labels=("worker",)
        )
        connections = GaugeMetricFamily(
            "veredus_egress_connections", "Connections that are open.", labels=("worker",)
        )
        for status in self._statuses:
            worker = (f"w{status.index}",)
            handed.add_metric(worker, status.handed_over)
            back.add_metric(worker, status.unattempted)
            accepted.add_metric(worker, sum(status.sent.values()))
            connections.add_metric(worker, sum(status.connections.values()))
        yield from (handed, back, accepted, connections)

    def _queues(self) -> Metric:
        oldest = GaugeMetricFamily(
            "veredus_queue_oldest_seconds",
            "How long the oldest ready message of a class has waited for a credit.",
            labels=("class",),
        )
        ages: dict[int, float] = {}
        for status in self._statuses:
            for lane in status.lanes:
                age = max(status.now - lane.oldest, 0) / 1000
                ages[lane.message_class] = max(ages.get(lane.message_class, 0.0), age)
        for number in sorted({*ages, *range(len(CLASSES))}):
            name = CLASSES[number] if number < len(CLASSES) else str(number)
            oldest.add_metric((name,), ages.get(number, 0.0))
        return oldest

    def _partitions(self) -> Iterator[Metric]:
        motion = GaugeMetricFamily(
            "veredus_partitions_in_motion", "Partitions that aren't with their owner."
        )
        owned = GaugeMetricFamily(
            "veredus_partitions_owned", "Partitions that a worker owns.", labels=("worker",)
        )
        alive = GaugeMetricFamily(
            "veredus_worker_alive", "1 while the controller hears of a worker.", labels=("worker",)
        )
        version = GaugeMetricFamily("veredus_routing_version", "Version of the table of owners.")
        if self._placement is not None:
            motion.add_metric((), len(self._placement.in_motion))
            version.add_metric((), self._placement.table.version)
            for worker in self._placement.workers:
                owned.add_metric((worker.name,), worker.owns)
                alive.add_metric((worker.name,), float(worker.alive))
        wanted = GaugeMetricFamily(
            "veredus_scaling_workers_wanted", "How many workers there should be."
        )
        wanted.add_metric((), self._wanted)
        yield from (motion, owned, alive, version, wanted)

    def _leases(self) -> Iterator[Metric]:
        budgets = GaugeMetricFamily(
            "veredus_lease_budgets", "Limits of which something is promised."
        )
        fullest = GaugeMetricFamily(
            "veredus_lease_use_ratio_max",
            "Promised part of the fullest limit, connections or rate. Above 1: the limit was lowered lately.",
        )
        connections = GaugeMetricFamily(
            "veredus_lease_connections", "Connections that are promised, all limits together."
        )
        parts = [0.0]
        for use in self._uses:
            parts.append(use.connections / max(use.connections_max, 1))
            if use.per_minute_max:
                parts.append(use.per_minute / use.per_minute_max)
        budgets.add_metric((), len(self._uses))
        fullest.add_metric((), max(parts))
        connections.add_metric((), sum(use.connections for use in self._uses))
        yield from (budgets, fullest, connections)
