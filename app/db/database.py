"""The connection pool, and the unit of work: one short transaction, closed before anything slow begins."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TypeVar

import asyncpg
from sqlalchemy import Connection, NullPool, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.repositories.adapters import AdapterRepository
from app.db.repositories.api_keys import ApiKeyRepository
from app.db.repositories.decisions import DecisionRepository
from app.db.repositories.feedback import FeedbackRepository
from app.db.repositories.idempotency import IdempotencyRepository
from app.db.repositories.interactions import InteractionRepository
from app.db.repositories.operations import OperationRepository
from app.db.repositories.replicas import ReplicaRepository
from app.db.repositories.tools import ToolRepository
from app.db.repositories.users import UserRepository
from app.errors import SetupError, Unavailable

T = TypeVar("T")

# What asyncpg raises if the server is not reachable, starting, stopping or out of resources.
_SERVER_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.QueryCanceledError,
    OSError,
    asyncio.TimeoutError,
)


class UnitOfWork:
    """All repositories, on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @cached_property
    def users(self) -> UserRepository:
        return UserRepository(self._connection)

    @cached_property
    def tools(self) -> ToolRepository:
        return ToolRepository(self._connection)

    @cached_property
    def interactions(self) -> InteractionRepository:
        return InteractionRepository(self._connection)

    @cached_property
    def decisions(self) -> DecisionRepository:
        return DecisionRepository(self._connection)

    @cached_property
    def feedback(self) -> FeedbackRepository:
        return FeedbackRepository(self._connection)

    @cached_property
    def api_keys(self) -> ApiKeyRepository:
        return ApiKeyRepository(self._connection)

    @cached_property
    def adapters(self) -> AdapterRepository:
        return AdapterRepository(self._connection)

    @cached_property
    def operations(self) -> OperationRepository:
        return OperationRepository(self._connection)

    @cached_property
    def replicas(self) -> ReplicaRepository:
        return ReplicaRepository(self._connection)

    @cached_property
    def idempotency(self) -> IdempotencyRepository:
        return IdempotencyRepository(self._connection)


class Database:
    """PostgreSQL at `url` (postgresql+asyncpg://…). All methods raise `Unavailable` if it cannot be reached."""

    def __init__(self, url: str, *, pool_size: int = 10, timeout_seconds: float = 10.0) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            # Errors are logged, and texts of users must not be.
            hide_parameters=True,
            connect_args={"timeout": timeout_seconds, "command_timeout": timeout_seconds},
            json_serializer=_to_json,
        )
        # Each statement is its own transaction, which saves the round trips of BEGIN and COMMIT.
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """A transaction: commits at the end of the block, rolls back on any exception."""
        with _server_away_as_unavailable():
            async with self._engine.begin() as connection:
                yield UnitOfWork(connection)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[UnitOfWork]:
        """A connection on which each statement commits by itself: for reads, and for writes of one statement."""
        with _server_away_as_unavailable():
            async with self._autocommit.connect() as connection:
                yield UnitOfWork(connection)

    async def run_sync(self, job: Callable[[Connection], T]) -> T:
        """Run `job`, such as an Alembic migration, with a synchronous connection in its own transaction."""
        # With its own engine, without the timeout of requests: a migration, or the wait for another replica's, may take
        # longer.
        engine = create_async_engine(self._engine.url, poolclass=NullPool)
        try:
            with _server_away_as_unavailable():
                async with engine.begin() as connection:
                    return await connection.run_sync(job)
        finally:
            await engine.dispose()

    async def close(self) -> None:
        await self._engine.dispose()


class _server_away_as_unavailable:  # noqa: N801 (used as a with-statement's verb)
    """Turns the driver's errors for a server that cannot be reached into `Unavailable`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if _is_server_away(error):
            raise Unavailable("The database does not answer; retry in a few seconds.", retry_after=2) from error


def _is_server_away(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError):
        driver_error = error.orig.__cause__ if error.orig is not None else None
        return error.connection_invalidated or isinstance(driver_error, _SERVER_AWAY)
    if isinstance(error, SQLAlchemyError):
        return isinstance(error, PoolTimeoutError)
    return isinstance(error, _SERVER_AWAY)


def async_url(url: str) -> str:
    """A PostgreSQL URL in the form that SQLAlchemy needs for asyncpg. Raises `SetupError` for unsupported options."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    options = dict(parsed.query)
    if "sslmode" in options:
        options["ssl"] = options.pop("sslmode")
    unknown = sorted(set(options) - {"ssl", "host", "port"})
    if unknown:
        raise SetupError(
            f"PETOOL_DATABASE_URL: the option {unknown[0]!r} is not supported; sslmode, host and port are."
        )
    return parsed.set(query=options).render_as_string(hide_password=False)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
