"""Puts the services of adapters together."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from app.adapters.canary import CanaryService
from app.adapters.cases import evaluation_cases, golden_cases
from app.adapters.operation_steps import Carrier
from app.adapters.operations import AdapterOperations
from app.adapters.probe import Prober
from app.adapters.registry import AdapterRegistry
from app.adapters.replica import LiveAdapters
from app.adapters.services import AdapterServices
from app.adapters.status import StatusService
from app.adapters.store import AdapterStore
from app.composition.model import BaseModel
from app.composition.settings import Settings
from app.db.database import Database
from app.decision.policy import Policy
from app.decision.ranking import CaseRanker
from app.domain import DecisionRule, ParameterRule
from app.domain.adapters import Adapter

_PROBE_SECONDS = 30.0
_DRAIN_MARGIN_SECONDS = 15.0
"""Beyond the longest that a request may ask the engine."""


@asynccontextmanager
async def open_adapters(
    settings: Settings,
    database: Database,
    model: BaseModel,
    policy: Policy,
    ranker: CaseRanker,
    announce: Callable[[], Awaitable[None]],
) -> AsyncIterator[AdapterServices]:
    """Closed, the replica has said that it ends. Raises SetupError."""
    source = Path(settings.adapters_source) if settings.adapters_source else None
    store = AdapterStore(settings.adapters_path.resolve(), source=source, max_bytes=settings.max_adapter_bytes)
    evaluation = evaluation_cases(Path(settings.adapter_evaluation)) if settings.adapter_evaluation else []
    probe_policy = replace(policy, chooser=DecisionRule.MODEL, filler=ParameterRule.MODEL, timeout=_PROBE_SECONDS)
    prober = Prober(model.models, ranker, golden_cases(), evaluation, policy=probe_policy)
    live = LiveAdapters(
        database,
        model.pool,
        model.models,
        _paths(settings, store),
        prober.probe,
        poll_seconds=settings.adapter_poll_seconds,
    )
    registry = AdapterRegistry(database, store, model.base)
    carrier = Carrier(
        database,
        live,
        prober,
        announce=announce,
        verify=registry.verify,
        prepare_seconds=settings.adapter_prepare_seconds,
        drain_seconds=settings.engine_timeout_seconds + _DRAIN_MARGIN_SECONDS,
        min_score=settings.adapter_min_score,
    )
    operations = AdapterOperations(database, carrier, live.id)
    canary = CanaryService(
        database,
        operations,
        max_error_rate=settings.canary_max_error_rate,
        min_calls=settings.canary_min_calls,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(live.leave)
        yield AdapterServices(live, store, registry, operations, canary, StatusService(database, live.id))


def _paths(settings: Settings, store: AdapterStore) -> Callable[[Adapter], Path]:
    """Where engines find an adapter."""
    elsewhere = Path(settings.engine_adapters_dir) if settings.engine_adapters_dir else None
    if elsewhere is not None and settings.engine == "vllm":
        return lambda adapter: elsewhere / adapter.digest
    return lambda adapter: store.path(adapter.digest)
