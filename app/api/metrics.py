"""Metrics for Prometheus, shown at `/metrics`. Each application has its own registry: several fit in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from app.domain import Decision
from app.domain.adapters import CONFIGURED, ReplicaReport

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "petool_http_requests",
            "HTTP requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "petool_http_request_seconds",
            "Seconds from a request's arrival to the last byte of its response.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "petool_tool_call_stage_seconds",
            "Seconds that each stage of a tool call took.",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._calls = Counter(
            "petool_tool_calls",
            "Tool calls answered, by adapter or base model, by who chose the tool, and by why the answer is degraded.",
            ["degraded_reason", "history_setting", "decided_by", "model"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "petool_engine_tokens",
            "Tokens by kind: prompt; cached, the part of the prompt taken from the engine's cache; completion.",
            ["kind"],
            registry=self._registry,
        )
        self._problems = Counter(
            "petool_answer_problems",
            "Errors in the language model's answers, by type, such as tool_hallucination or missing_value.",
            ["kind"],
            registry=self._registry,
        )
        self.engine_ready = Gauge(
            "petool_engine_ready",
            "1 if at least one engine of the language model accepts requests, else 0.",
            registry=self._registry,
        )
        self._feedback = Counter(
            "petool_feedback", "Feedback received, by rating.", ["rating"], registry=self._registry
        )
        self.tools = Gauge(
            "petool_catalogue_tools", "Number of active tools in this replica's index.", registry=self._registry
        )
        self.revision = Gauge(
            "petool_catalogue_revision",
            "Catalogue revision of this replica's index. A replica that stays below the others has stopped updating.",
            registry=self._registry,
        )

        self.generation = Gauge(
            "petool_adapter_generation",
            "Generation of the adapter assignment that this replica serves. A replica that stays below the others has "
            "stopped updating.",
            registry=self._registry,
        )
        self._served = Gauge(
            "petool_adapter_served",
            "1 for each adapter version that this replica serves, by role.",
            ["version", "role"],
            registry=self._registry,
        )
        self._engine_up = Gauge(
            "petool_engine_up", "1 if this replica reaches the engine, else 0.", ["engine"], registry=self._registry
        )
        self._engine_lacks = Gauge(
            "petool_engine_adapters_missing",
            "Number of adapters that the engine should serve and has not loaded.",
            ["engine"],
            registry=self._registry,
        )

    def adapters(self, report: ReplicaReport, wanted: frozenset[str]) -> None:
        """Set the gauges of adapters and engines. `wanted` holds the versions that every engine should have loaded."""
        self.generation.set(report.generation)
        self._served.clear()
        for role, version in (("active", report.active or CONFIGURED), ("canary", report.canary)):
            if version is not None:
                self._served.labels(version, role).set(1)
        for engine in report.engines:
            self._engine_up.labels(engine.place).set(engine.up)
            self._engine_lacks.labels(engine.place).set(len(wanted - set(engine.adapters)))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._latency.labels(method, route).observe(seconds)

    def tool_call(self, decision: Decision) -> None:
        self._calls.labels(
            decision.degraded_reason or "",
            decision.history_setting.value,
            decision.decided_by,
            decision.adapter or "",
        ).inc()
        for stage, milliseconds in decision.timings.items():
            self._stages.labels(stage).observe(milliseconds / 1000)
        for kind in ("prompt", "cached", "completion"):
            if tokens := decision.usage.get(f"{kind}_tokens"):
                self._tokens.labels(kind).inc(tokens)
        for problem in decision.problems:
            self._problems.labels(problem.kind).inc()

    def feedback(self, rating: str) -> None:
        self._feedback.labels(rating).inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
