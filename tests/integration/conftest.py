from collections.abc import AsyncIterator

import pytest

from tests.support.servers import RedisServer, new_database


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await server.start()
    yield server
    server.close()


@pytest.fixture
async def database_url(postgres: str) -> AsyncIterator[str]:
    """URL of a database of the test's own."""
    async with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
async def shared_database_url(postgres: str) -> AsyncIterator[str]:
    """One for all tests of a file."""
    async with new_database(postgres) as url:
        yield url
