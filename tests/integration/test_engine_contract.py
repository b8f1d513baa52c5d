"""The engines that run in this process, held to what every engine promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from app.inference.engine import GenerationRequest
from app.inference.local.engine import LocalEngine
from tests.support.engine_contract import EngineContract, Subject
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_model import CONTEXT

ADAPTER = "random"


@pytest.fixture
async def scripted() -> AsyncIterator[Subject]:
    async def start(running: int, waiting: int) -> ScriptedEngine:
        return ScriptedEngine(
            base_model="base",
            adapters=[ADAPTER],
            context=CONTEXT,
            latency=latency,
            max_concurrency=running,
            max_waiting=waiting,
        )

    def latency(request: GenerationRequest) -> float:
        return request.max_tokens / 3000

    async def running() -> int:
        return engine.running

    def encode(text: str) -> list[int]:
        return list(text.encode())

    engine = await start(64, 128)
    yield Subject(engine, "base", ADAPTER, encode, CONTEXT, running, start)
    await engine.close()


@pytest.fixture(scope="module")
async def local(model_dir: Path, adapter_dir: Path) -> AsyncIterator[Subject]:
    async def start(running: int, waiting: int) -> LocalEngine:
        return await asyncio.to_thread(
            LocalEngine,
            model_dir,
            adapters={ADAPTER: adapter_dir},
            threads=2,
            max_batch=running,
            max_waiting=waiting,
        )

    async def running() -> int:
        return engine.running

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text).ids)

    engine = await start(8, 64)
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    anything = await engine.generate(GenerationRequest(encode("a"), schema=None, max_tokens=1, timeout=60))
    yield Subject(engine, anything.model, ADAPTER, encode, CONTEXT, running, start)
    await engine.close()


class TestScriptedEngine(EngineContract):
    @pytest.fixture
    def subject(self, scripted: Subject) -> Subject:
        return scripted


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def subject(self, local: Subject) -> Subject:
        return local
