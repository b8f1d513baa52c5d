"""What only a real vLLM server shows: adapters at run time, the prefix cache, tokens it cannot take, its death."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from app.answers.schema.answer import answer_schema
from app.catalogue.parse import parse
from app.domain import AnswerStyle, ToolSource
from app.errors import EngineDown, EngineRefused
from app.inference.engine import Generation, GenerationRequest
from app.inference.vllm import VllmEngine
from tests.support.engine_contract import LETTERS, LONG, PATIENCE, all_of, assert_obeys, choice_schema
from tests.support.tiny_model import tiny_adapter
from tests.vllm.server import BASE, VllmServer

PROBE = 0.2


@pytest.fixture(scope="module")
def request_(model_dir: Path) -> GenerationRequest:
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    prompt = tokenizer.encode("Find a book about volcanoes. " * 60).ids
    return GenerationRequest(prompt, schema=choice_schema(), max_tokens=120, timeout=PATIENCE)


@pytest.fixture
async def engine(vllm_server: VllmServer) -> AsyncIterator[VllmEngine]:
    engine = VllmEngine(vllm_server.url, base_model=BASE, probe_seconds=PROBE)
    yield engine
    await engine.close()


async def test_adapters_come_and_go_at_run_time_and_each_writes_its_own(
    engine: VllmEngine, vllm_server: VllmServer, request_: GenerationRequest, model_dir: Path, tmp_path: Path
) -> None:
    free = replace(request_, schema=None, max_tokens=24)
    base = await engine.generate(free)
    texts = {base.text}
    for seed in (11, 12):
        name = f"random-{seed}"
        with pytest.raises(EngineRefused, match=name):
            await engine.generate(replace(free, adapter=name))
        vllm_server.load_adapter(name, tiny_adapter(model_dir, tmp_path / name, seed=seed))
        adapted = await engine.generate(replace(free, adapter=name))
        assert adapted.model == name
        texts.add(adapted.text)
    assert len(texts) == 3
    assert (await engine.generate(free)).text == base.text
    vllm_server.unload_adapter("random-11")
    with pytest.raises(EngineRefused, match="random-11"):
        await engine.generate(replace(free, adapter="random-11"))
    assert (await engine.generate(replace(free, adapter="random-12"))).model == "random-12"
    vllm_server.unload_adapter("random-12")


async def test_a_prompt_seen_before_is_not_computed_again(engine: VllmEngine, request_: GenerationRequest) -> None:
    new = replace(request_, prompt=[77, *request_.prompt])
    first, second = await engine.generate(new), await engine.generate(new)
    assert first.cached_tokens == 0
    # vLLM keeps whole blocks: 128 tokens on the CPU.
    assert len(new.prompt) - 128 <= second.cached_tokens < len(new.prompt)
    assert first.text == second.text


@pytest.mark.parametrize("prompt", [[], [-1], [10**6], [5, 2**70]], ids=repr)
async def test_tokens_that_the_model_does_not_have_are_refused(
    engine: VllmEngine, request_: GenerationRequest, prompt: list[int]
) -> None:
    with pytest.raises(EngineRefused):
        await engine.generate(replace(request_, prompt=prompt))
    assert_obeys(await engine.generate(request_), choice_schema())


async def test_a_label_that_is_no_token_is_refused(engine: VllmEngine, request_: GenerationRequest) -> None:
    with pytest.raises(EngineRefused, match="logprob_token_ids"):
        await engine.generate(replace(request_, labels=(10**6,)))


async def test_label_log_probabilities_are_those_under_the_schema(
    engine: VllmEngine, request_: GenerationRequest, model_dir: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    first, second, forbidden = (tokenizer.encode(letter).ids[0] for letter in "ABJ")
    request = replace(request_, schema=choice_schema("AB"), labels=(first, second, forbidden))
    told = (await engine.generate(request)).label_logprobs
    assert told is not None
    assert told[forbidden] == -9999
    assert math.exp(told[first]) + math.exp(told[second]) == pytest.approx(1, abs=0.01)


async def test_the_schemas_of_real_candidates_are_taken_one_after_the_other(
    engine: VllmEngine, request_: GenerationRequest, shared: Path
) -> None:
    # xgrammar shares parts of grammars between schemas, so one alone shows little.
    documents = [json.loads(line) for line in (shared / "tools.jsonl").read_text("utf-8").splitlines()[:600]]
    tools = [tool for _, tool in parse(ToolSource.RAPIDAPI, documents).tools]
    windows = [tools[start : start + 10] for start in range(0, len(tools) - 10, 10)]
    schemas = [answer_schema(window, LETTERS, AnswerStyle.LABELLED_NAME) for window in windows]
    for end in await all_of(engine, [replace(request_, schema=schema, max_tokens=3) for schema in schemas]):
        assert isinstance(end, Generation), repr(end)


async def test_a_server_killed_under_load_is_down_at_once_and_found_again(
    engine: VllmEngine, vllm_server: VllmServer, request_: GenerationRequest
) -> None:
    watch = asyncio.create_task(engine.watch())
    slow = replace(request_, schema=LONG, max_tokens=3000)
    asked = asyncio.ensure_future(all_of(engine, [slow] * 8))
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(vllm_server.running) < 8:  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0.05)
    vllm_server.kill()
    try:
        async with asyncio.timeout(PATIENCE / 4):
            ends = await asked
            assert all(isinstance(end, EngineDown) for end in ends), ends
            later = await all_of(engine, [request_] * 50)
        assert all(isinstance(end, EngineDown) and end.retry_after == 1 for end in later)
        assert not await engine.ready()
    finally:
        await asyncio.to_thread(vllm_server.start)
    async with asyncio.timeout(PATIENCE):
        while not await engine.ready():  # noqa: ASYNC110
            await asyncio.sleep(PROBE)
    for end in await all_of(engine, [request_] * 8):
        assert isinstance(end, Generation)
        assert_obeys(end, choice_schema())
    watch.cancel()
    await asyncio.wait([watch])
