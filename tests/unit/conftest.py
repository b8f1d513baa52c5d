from collections.abc import AsyncIterator

import pytest

from tests.support.fake_vllm import FakeVllm


@pytest.fixture
async def server() -> AsyncIterator[FakeVllm]:
    server = FakeVllm()
    await server.start()
    yield server
    await server.stop()
