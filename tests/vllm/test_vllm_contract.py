"""`VllmEngine` on a real vLLM server, held to what every engine promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from app.inference.vllm import VllmEngine
from tests.support.engine_contract import EngineContract, Subject
from tests.support.tiny_model import CONTEXT
from tests.vllm.server import BASE, VllmServer

ADAPTER = "contract"


@pytest.fixture(scope="module")
async def vllm(vllm_server: VllmServer, model_dir: Path, adapter_dir: Path) -> AsyncIterator[Subject]:
    async def start(running: int, waiting: int) -> VllmEngine:
        return VllmEngine(vllm_server.url, base_model=BASE, max_concurrency=running, max_waiting=waiting)

    async def running() -> int:
        return await asyncio.to_thread(vllm_server.running)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text).ids)

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    vllm_server.load_adapter(ADAPTER, adapter_dir)
    engine = await start(64, 128)
    yield Subject(engine, BASE, ADAPTER, encode, CONTEXT, running, start)
    await engine.close()
    vllm_server.unload_adapter(ADAPTER)


class TestVllmEngine(EngineContract):
    @pytest.fixture
    def subject(self, vllm: Subject) -> Subject:
        return vllm
