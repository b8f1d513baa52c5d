"""Which engine the settings give, and that those which cannot work say so at the start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.composition.model import open_model
from app.composition.settings import Settings
from app.errors import EngineOverloaded, SetupError
from app.inference.engine import GenerationRequest
from tests.support.tiny_model import CONTEXT

DIMENSION = 384


def settings(model: Path, **given: Any) -> Settings:
    return Settings(model=str(model), demo_mode=True, **given)


def test_vllm_without_a_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="PETOOL_MODEL"):
        Settings(engine="vllm")


async def test_without_an_engine_no_model_answers(model_dir: Path) -> None:
    async with open_model(settings(model_dir, engine="none"), DIMENSION) as model:
        assert (model.model, model.fault) == (None, "")


async def test_the_local_engine_takes_the_settings(model_dir: Path, adapter_dir: Path) -> None:
    given = settings(model_dir, engine="local", adapter=str(adapter_dir), engine_concurrency=1, engine_queue=0)
    async with open_model(given, DIMENSION) as opened:
        assert opened.model is not None
        pool = opened.model.pool
        assert pool.name == "local"
        request = GenerationRequest([5, 6, 7], None, 4, 60, adapter=adapter_dir.name)
        assert (await pool.generate(request)).model == adapter_dir.name
        answers = await asyncio.gather(*(pool.generate(request) for _ in range(4)), return_exceptions=True)
    assert any(isinstance(answer, EngineOverloaded) for answer in answers)


async def test_a_model_whose_context_is_too_short_is_refused(model_dir: Path) -> None:
    given = settings(model_dir, engine="local", completion_tokens=CONTEXT)
    with pytest.raises(SetupError, match="PETOOL_COMPLETION_TOKENS"):
        async with open_model(given, DIMENSION):
            pass


@pytest.mark.parametrize("engine", ["local", "vllm"])
async def test_a_directory_without_a_model_is_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(SetupError, match="tokenizer"):
        async with open_model(settings(tmp_path, engine=engine), DIMENSION):
            pass


async def test_an_unknown_prompt_format_is_refused_with_the_known_ones(model_dir: Path) -> None:
    with pytest.raises(SetupError, match="hinted-1"):
        async with open_model(settings(model_dir, engine="vllm", prompt_format="mine"), DIMENSION):
            pass
