"""What `/metrics` tells Prometheus. A registry of its own, so that several apps can live in one process."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "petool_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "petool_http_request_seconds",
            "From the first byte to the last.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "petool_tool_call_stage_seconds",
            "Where a tool call's time goes.",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._calls = Counter(
            "petool_tool_calls",
            "Tool calls answered.",
            ["degraded_reason", "history_setting"],
            registry=self._registry,
        )
        self._feedback = Counter("petool_feedback", "Feedback received.", ["rating"], registry=self._registry)
        self.tools = Gauge("petool_catalogue_tools", "Active tools in this replica's index.", registry=self._registry)
        self.revision = Gauge(
            "petool_catalogue_revision",
            "The catalogue revision of this replica's index.",
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._latency.labels(method, route).observe(seconds)

    def tool_call(self, degraded_reason: str | None, setting: str, timings: Mapping[str, float]) -> None:
        """`timings` in milliseconds by stage."""
        self._calls.labels(degraded_reason or "", setting).inc()
        for stage, milliseconds in timings.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def feedback(self, rating: str) -> None:
        self._feedback.labels(rating).inc()

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)
