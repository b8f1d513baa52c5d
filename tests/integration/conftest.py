from collections.abc import AsyncIterator

import pytest

from tests.servers import RedisServer


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await server.start()
    yield server
    server.close()
