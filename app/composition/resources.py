"""The long-lived resources that the service and the command line share: opened here, closed in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from app.composition.settings import Settings
from app.db import migrate
from app.db.database import Database, async_url
from app.db.embedded import EmbeddedPostgres
from app.errors import SetupError, Unavailable
from app.retrieval.embedders.base import Embedder, SentenceTransformerEmbedder
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.services.catalogue import CatalogueService
from app.services.catalogue_index import CatalogueIndex
from app.services.events import ReplicaEvents, Topic

_WATCH_SECONDS = 1.0
log = structlog.get_logger("petool")


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The configured or the embedded PostgreSQL, with its schema migrated. Raises `SetupError` if it is down."""
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
                log.warning("embedded_postgres_restarted")
        except SetupError as error:
            log.error("embedded_postgres_down", reason=error.detail)  # noqa: TRY400


@dataclass
class Resources:
    """The long-lived resources that the service and the command line share."""

    database: Database
    embedder: BatchingEmbedder
    encoder: ToolEncoder
    catalogue_index: CatalogueIndex
    events: ReplicaEvents
    catalogue: CatalogueService


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Database, embedder, events and the current catalogue; closed in reverse order."""
    async with AsyncExitStack() as stack:
        # Loading the embedder and starting PostgreSQL both take seconds, so they run at the same time.
        loading = asyncio.create_task(asyncio.to_thread(_load, settings))
        database = await stack.enter_async_context(open_database(settings))
        embedder = await stack.enter_async_context(BatchingEmbedder(await loading))
        encoder = ToolEncoder(embedder)
        index = CatalogueIndex(database, encoder, settings.data_dir / "index")
        events = ReplicaEvents(settings.redis_url)
        events.on(Topic.CATALOGUE, index.notify)
        stack.push_async_callback(events.close)
        await index.refresh()
        catalogue = CatalogueService(database, embedder, encoder, index, lambda: events.announce(Topic.CATALOGUE))
        yield Resources(database, embedder, encoder, index, events, catalogue)


def _load(settings: Settings) -> Embedder:
    try:
        return SentenceTransformerEmbedder(settings.embedder) if settings.embedder else PackagedEmbedder()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"The embedding model PETOOL_EMBEDDER={settings.embedder!r} cannot be loaded: {error}. "
            "Give the path of a sentence-transformers model, or leave it empty for the packaged one."
        ) from error
