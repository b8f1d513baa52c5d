"""Makes the application of the settings: the only module that connects routes, services, models and jobs."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from app import __version__
from app.adapters.services import AdapterServices
from app.api import logs, problems
from app.api.metrics import Metrics
from app.api.middleware import RequestContext
from app.api.routes import adapters as adapter_routes
from app.api.routes import admin, health, tool_calls, tools, users
from app.api.state import Services
from app.composition.adapters import open_adapters
from app.composition.background import every, supervised
from app.composition.model import OpenModel, open_model
from app.composition.resources import Resources, open_resources
from app.composition.served_model import MODELS
from app.composition.settings import Settings
from app.decision.fallback import NO_ENGINE, NOT_LOADED
from app.decision.ranking import CaseRanker
from app.inference.engine import AdapterEngine
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.ranker_weights import SHIPPED, load_weights
from app.services.decisions import DecisionService
from app.services.events import Topic
from app.services.feedback import FeedbackService
from app.services.health import HealthService
from app.services.histories import HistoryService
from app.services.idempotency import IdempotencyService
from app.services.keys import KeyService
from app.services.profiles import ProfileService
from app.services.rate_limits import RateLimitService
from app.services.tool_calls import ToolCallService

_TIDY_SECONDS = 600.0
_CANARY_SECONDS = 2.0


def create_app(settings: Settings, *, engines: Sequence[AdapterEngine] = (), models: Path = MODELS) -> FastAPI:
    """The application. Databases and models are opened when it starts, in its lifespan.

    `engines` replace the configured ones, `models` the folder of shipped models; both are for tests.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        logs.configure(settings.log_level)
        # A request's matrices are small: several threads would be slower, and take cores from other requests.
        threadpool_limits(1, user_api="blas")
        ranker = PreferenceRanker(load_weights(Path(settings.ranker_weights) if settings.ranker_weights else SHIPPED))
        async with (
            open_resources(settings) as resources,
            open_model(settings, resources.embedder.dimension, engines, models) as model,
            _adapters(settings, resources, model, ranker) as adapters,
            asyncio.TaskGroup() as tasks,
        ):
            services = _services(settings, resources, model, adapters, ranker, metrics)
            running = [
                tasks.create_task(supervised(name, job))
                for name, job in _jobs(settings, resources, adapters, services).items()
            ]
            try:
                if adapters is not None:
                    await adapters.live.start()
                yield {"services": services}
            finally:
                for task in running:
                    task.cancel()
            await services.rate_limits.close()

    app = FastAPI(
        title="petool",
        version=__version__,
        summary="Personalized tool calling: the one call this user would want.",
        lifespan=lifespan,
        telemetry=_telemetry(settings),
    )
    problems.install(app)
    app.add_middleware(
        RequestContext,
        metrics=metrics,
        max_body=settings.max_body_bytes,
        max_import_body=settings.max_import_body_bytes,
        max_adapter=settings.max_adapter_bytes,
    )
    for router in (tool_calls.router, users.router, tools.router, adapter_routes.router, admin.router, health.router):
        app.include_router(router)
    return app


@asynccontextmanager
async def _adapters(
    settings: Settings, resources: Resources, model: OpenModel, ranker: PreferenceRanker
) -> AsyncIterator[AdapterServices | None]:
    """The services of adapters. None if no model is served."""
    if model.model is None:
        yield None
        return
    cases = CaseRanker(resources.embedder, resources.encoder, ranker)
    announce = resources.events.announce
    async with open_adapters(
        settings, resources.database, model.model, model.policy, cases, lambda: announce(Topic.ADAPTERS)
    ) as adapters:
        resources.events.on(Topic.ADAPTERS, adapters.live.notice)
        yield adapters


def _jobs(
    settings: Settings, resources: Resources, adapters: AdapterServices | None, services: Services
) -> dict[str, Callable[[], Awaitable[object]]]:
    jobs: dict[str, Callable[[], Awaitable[object]]] = {
        "refresh_catalogue": lambda: resources.catalogue_index.keep_current(settings.catalogue_poll_seconds),
        "listen_for_events": resources.events.listen,
        "tidy": lambda: every(_TIDY_SECONDS, services.idempotency.delete_expired),
    }
    if adapters is not None:
        live, canary = adapters.live, adapters.canary
        jobs |= {
            "watch_engines": live.pool.watch,
            "keep_engines": live.keep_engines,
            "follow_adapters": live.follow,
            "watch_operations": adapters.operations.watch,
            "watch_canary": lambda: every(_CANARY_SECONDS, canary.check),
            "tidy_adapters": lambda: every(_TIDY_SECONDS, adapters.registry.tidy),
            "tidy_replicas": lambda: every(_TIDY_SECONDS, live.tidy),
        }
    return jobs


def _services(
    settings: Settings,
    resources: Resources,
    model: OpenModel,
    adapters: AdapterServices | None,
    ranker: PreferenceRanker,
    metrics: Metrics,
) -> Services:
    database, index = resources.database, resources.catalogue_index
    profiles = ProfileService(database, resources.encoder, ranker, max_interactions=settings.max_history_interactions)
    return Services(
        tool_calls=ToolCallService(
            database,
            index,
            profiles,
            resources.embedder,
            resources.encoder,
            ranker,
            DecisionService(
                adapters.live if adapters is not None else None,
                model.policy,
                why_no_model=NOT_LOADED if model.fault else NO_ENGINE,
            ),
            retrieval_width=settings.retrieval_width,
            max_instruction_characters=settings.max_instruction_characters,
        ),
        feedback=FeedbackService(database),
        histories=HistoryService(database, forget=profiles.forget),
        catalogue=resources.catalogue,
        adapters=adapters,
        keys=KeyService(database),
        idempotency=IdempotencyService(database, timedelta(hours=settings.idempotency_hours)),
        rate_limits=RateLimitService(settings.rate_limit, settings.redis_url),
        health=HealthService(database, index, None if model.model is None else model.model.pool, fault=model.fault),
        metrics=metrics,
        keys_needed=not settings.demo_mode,
    )


def _telemetry(settings: Settings) -> Any:
    if not settings.otlp_endpoint:
        return {"tracing": False, "metrics": False, "logs": False}
    os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", settings.otlp_endpoint)
    os.environ.setdefault("OTEL_SERVICE_NAME", "petool")
    return {"auto_configure": True, "logs": False}
