"""What the gateway counts. Labels come from closed sets: no path, tenant or id of a stranger becomes one."""

from __future__ import annotations

__all__ = ("GatewayMetrics",)

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from actors.backend import ItemResult, SendResult

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class GatewayMetrics:
    """The gateway's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "veredus_http_requests_total",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "veredus_http_request_seconds",
            "Time from the headers of a request to its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.items = Counter(
            "veredus_intake_items_total",
            "Inputs given to the engine, by kind and what became of them.",
            ("kind", "status"),
            registry=registry,
        )
        self.in_flight = Gauge(
            "veredus_http_requests_in_flight", "Requests under way.", registry=registry
        )
        self.in_flight_bytes = Gauge(
            "veredus_http_in_flight_bytes", "Bytes of request bodies held.", registry=registry
        )

    def count_items(self, kind: str, answers: Iterable[ItemResult | SendResult]) -> None:
        """Count what became of inputs."""
        for status, count in Tally(answer.status for answer in answers).items():
            self.items.labels(kind, status).inc(count)
