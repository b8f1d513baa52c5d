"""The one place that knows every part: settings in, a running application out."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from app import __version__
from app.api import logs, problems
from app.api.metrics import Metrics
from app.api.middleware import RequestContext
from app.api.routes import health, tool_calls, tools, users
from app.api.state import Services
from app.config import Settings
from app.db import migrate
from app.db.database import Database, async_url
from app.db.embedded import EmbeddedPostgres
from app.engines import OpenModel, open_model
from app.errors import SetupError, Unavailable
from app.inference.engine import Engine
from app.retrieval.batching import BatchingEmbedder
from app.retrieval.embedder import Embedder, SentenceTransformerEmbedder
from app.retrieval.packaged_embedder import PackagedEmbedder
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.ranker_weights import SHIPPED, load_weights
from app.served import MODELS
from app.services.catalogue import CatalogueService
from app.services.catalogue_events import CatalogueEvents
from app.services.deciding import NO_ENGINE, NOT_LOADED, Decider
from app.services.feedback import FeedbackService
from app.services.health import HealthService
from app.services.histories import HistoryService
from app.services.idempotency import IdempotencyService
from app.services.keys import KeyService
from app.services.live_catalogue import LiveCatalogue, ToolEncoder
from app.services.profiles import ProfileService
from app.services.rate_limits import RateLimitService
from app.services.tool_calls import ToolCallService

_TIDY_SECONDS = 600.0
_WATCH_SECONDS = 1.0
_RESTART_SECONDS = 5.0


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The configured or the embedded PostgreSQL, migrated. Raises `SetupError`."""
    async with AsyncExitStack() as stack:
        if settings.database_url:
            url = async_url(settings.database_url)
        else:
            embedded = EmbeddedPostgres(settings.data_dir.resolve() / "postgres")
            url = await asyncio.to_thread(embedded.start)
            stack.push_async_callback(asyncio.to_thread, embedded.stop)
            watching = asyncio.create_task(_keep_running(embedded))
            stack.callback(watching.cancel)
        database = Database(
            url, pool_size=settings.database_pool_size, timeout_seconds=settings.database_timeout_seconds
        )
        stack.push_async_callback(database.close)
        try:
            await migrate.upgrade(database)
        except Unavailable as error:
            raise SetupError(
                "PostgreSQL does not answer. Check that it runs and that PETOOL_DATABASE_URL is right: "
                f"{error.__cause__}"
            ) from error
        yield database


async def _keep_running(embedded: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        try:
            if await asyncio.to_thread(embedded.restart_if_dead):
                logs.log.warning("embedded_postgres_restarted")
        except SetupError as error:
            logs.log.error("embedded_postgres_down", reason=error.detail)


@dataclass
class Parts:
    """The long-lived parts that the service and the command line share."""

    database: Database
    embedder: BatchingEmbedder
    encoder: ToolEncoder
    live: LiveCatalogue
    events: CatalogueEvents
    catalogue: CatalogueService


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Database, embedder and the current catalogue; closed in reverse order."""
    async with AsyncExitStack() as stack:
        # Both take seconds, one of them in a process of its own: together.
        loading = asyncio.create_task(asyncio.to_thread(_load, settings))
        database = await stack.enter_async_context(open_database(settings))
        embedder = await stack.enter_async_context(BatchingEmbedder(await loading))
        encoder = ToolEncoder(embedder)
        live = LiveCatalogue(database, encoder, settings.data_dir / "index")
        events = CatalogueEvents(settings.redis_url, live.notice)
        stack.push_async_callback(events.close)
        await live.refresh()
        catalogue = CatalogueService(database, embedder, encoder, live, events.announce)
        yield Parts(database, embedder, encoder, live, events, catalogue)


def _load(settings: Settings) -> Embedder:
    try:
        return SentenceTransformerEmbedder(settings.embedder) if settings.embedder else PackagedEmbedder()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"The embedding model PETOOL_EMBEDDER={settings.embedder!r} cannot be loaded: {error}. "
            "Give the path of a sentence-transformers model, or leave it empty for the packaged one."
        ) from error


def create_app(settings: Settings, *, engine: Engine | None = None, models: Path = MODELS) -> FastAPI:
    """Opens nothing: the application's lifespan does.

    `engine` takes the place of the configured one, `models` that of the folder of shipped models.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        logs.configure(settings.log_level)
        # A request's matrices are small: shared out to all cores they take longer, and the cores from other requests.
        threadpool_limits(1, user_api="blas")
        ranker = PreferenceRanker(load_weights(Path(settings.ranker_weights) if settings.ranker_weights else SHIPPED))
        async with (
            open_parts(settings) as parts,
            open_model(settings, parts.embedder.dimension, engine, models) as model,
            asyncio.TaskGroup() as tasks,
        ):
            services = _services(settings, parts, model, ranker, metrics)
            jobs: dict[str, Callable[[], Awaitable[object]]] = {
                "follow_catalogue": lambda: parts.live.follow(settings.catalogue_poll_seconds),
                "listen_for_events": parts.events.listen,
                "tidy": lambda: _every(_TIDY_SECONDS, services.idempotency.delete_expired),
            }
            if model.caller is not None:
                jobs["watch_engine"] = model.caller.engine.watch
            running = [tasks.create_task(_supervised(name, job)) for name, job in jobs.items()]
            yield {"services": services}
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
    )
    for router in (tool_calls.router, users.router, tools.router, health.router):
        app.include_router(router)
    return app


def _services(
    settings: Settings, parts: Parts, model: OpenModel, ranker: PreferenceRanker, metrics: Metrics
) -> Services:
    database, live = parts.database, parts.live
    profiles = ProfileService(database, parts.encoder, ranker, max_interactions=settings.max_history_interactions)
    return Services(
        tool_calls=ToolCallService(
            database,
            live,
            profiles,
            parts.embedder,
            parts.encoder,
            ranker,
            Decider(
                model.caller,
                rule=model.decision,
                parameters=model.parameters,
                timeout=settings.engine_timeout_seconds,
                reason=NOT_LOADED if model.fault else NO_ENGINE,
            ),
            retrieval_width=settings.retrieval_width,
            max_instruction_characters=settings.max_instruction_characters,
        ),
        feedback=FeedbackService(database),
        histories=HistoryService(database, forget=profiles.forget),
        catalogue=parts.catalogue,
        keys=KeyService(database),
        idempotency=IdempotencyService(database, timedelta(hours=settings.idempotency_hours)),
        rate_limits=RateLimitService(settings.rate_limit, settings.redis_url),
        health=HealthService(database, live, None if model.caller is None else model.caller.engine, fault=model.fault),
        metrics=metrics,
        keys_needed=not settings.demo_mode,
    )


async def _supervised(name: str, job: Callable[[], Awaitable[object]]) -> None:
    """Run a background job until it returns or is cancelled, whatever fails in it."""
    while True:
        try:
            await job()
        except Exception as error:  # noqa: BLE001 (its failure must not take the service down with it)
            logs.log.error("background_job_failed", job=name, exc_info=error)
            await asyncio.sleep(_RESTART_SECONDS)
        else:
            return


async def _every(seconds: float, job: Callable[[], Awaitable[object]]) -> None:
    while True:
        # While the database is away there is nothing to tidy.
        with contextlib.suppress(Unavailable):
            await job()
        await asyncio.sleep(seconds)


def _telemetry(settings: Settings) -> Any:
    if not settings.otlp_endpoint:
        return {"tracing": False, "metrics": False, "logs": False}
    os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", settings.otlp_endpoint)
    os.environ.setdefault("OTEL_SERVICE_NAME", "petool")
    return {"auto_configure": True, "logs": False}
