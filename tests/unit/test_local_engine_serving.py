"""How the local engine behaves under load, deadlines, cancellation, failures and changes of adapters."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.errors import EngineDown, EngineOverloaded, EngineRefused, EngineTimeout
from app.inference.engine import Engine, GenerationRequest
from app.inference.local import LocalEngine
from app.inference.local.model import CausalModel, Piece
from tests.support.local_engines import CHOICE, PATIENCE, slow, started, until
from tests.support.tiny_model import CONTEXT

PROMPT = list(range(10, 60))
SHORT = GenerationRequest(PROMPT, CHOICE, 120, PATIENCE)


@pytest.fixture
async def engine(model_dir: Path, adapter_dir: Path) -> AsyncIterator[LocalEngine]:
    async with started(model_dir, adapters={"random": adapter_dir}, max_batch=2, max_waiting=3) as engine:
        yield engine


def begin(engine: Engine, *requests: GenerationRequest) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(engine.generate(request)) for request in requests]


async def ends(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_beyond_the_queue_is_refused_with_a_time_to_come_back(engine: LocalEngine) -> None:
    tasks = begin(engine, *[slow(PROMPT) for _ in range(5)])
    await until(lambda: engine.running == 2)
    with pytest.raises(EngineOverloaded) as refused:
        await engine.generate(SHORT)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after >= 1
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await ends(tasks))
    assert (await engine.generate(SHORT)).finished


async def test_a_cancelled_request_makes_room_for_one_that_waits(engine: LocalEngine) -> None:
    tasks = begin(engine, slow(PROMPT), slow(PROMPT))
    await until(lambda: engine.running == 2)
    (waiting,) = begin(engine, SHORT)
    tasks[0].cancel()
    assert (await waiting).finished
    assert not tasks[1].done()
    tasks[1].cancel()
    await ends(tasks)
    await until(lambda: engine.running == 0)


async def test_a_request_cancelled_while_it_waits_never_runs(engine: LocalEngine) -> None:
    tasks = begin(engine, slow(PROMPT), slow(PROMPT), slow(PROMPT))
    await until(lambda: engine.running == 2)
    tasks[2].cancel()
    tasks[0].cancel()
    await ends([tasks[0], tasks[2]])
    await until(lambda: engine.running == 1)
    assert (await engine.generate(SHORT)).finished
    tasks[1].cancel()
    await ends(tasks)


async def test_past_the_deadline_running_and_waiting_requests_end(engine: LocalEngine) -> None:
    tasks = begin(engine, *[slow(PROMPT, timeout=0.2) for _ in range(4)])
    assert all(isinstance(end, EngineTimeout) for end in await ends(tasks))
    await until(lambda: engine.running == 0)
    assert (await engine.generate(SHORT)).finished


async def test_a_deadline_without_end_is_taken(engine: LocalEngine) -> None:
    assert (await engine.generate(replace(SHORT, timeout=math.inf))).finished


async def test_the_event_loop_goes_on_while_the_model_works(engine: LocalEngine) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticker = asyncio.create_task(tick())
    await ends(begin(engine, *[slow([*range(4, 1500)], max_tokens=50) for _ in range(4)]))
    ticker.cancel()
    assert ticks > 500


async def test_closing_fails_what_runs_and_what_waits(engine: LocalEngine) -> None:
    assert await engine.ready()
    tasks = begin(engine, *[slow(PROMPT) for _ in range(5)])
    await until(lambda: engine.running == 2)
    await engine.close()
    assert all(isinstance(end, EngineDown) for end in await ends(tasks))
    assert not await engine.ready()
    for call in (engine.generate(SHORT), engine.load_adapter("x", Path("nowhere")), engine.unload_adapter("random")):
        with pytest.raises(EngineDown):
            await call
    await engine.close()


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), torch.OutOfMemoryError("too much"), MemoryError()])
async def test_a_failing_pass_fails_its_requests_and_the_next_are_served(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = await engine.generate(SHORT)
    works, fail = CausalModel.forward, True

    def forward(self: CausalModel, pieces: Sequence[Piece]) -> torch.Tensor:
        if fail:
            raise error
        return works(self, pieces)

    monkeypatch.setattr(CausalModel, "forward", forward)
    with pytest.raises(EngineDown, match=type(error).__name__):
        await engine.generate(SHORT)
    assert await engine.ready()
    assert engine.running == 0
    fail = False
    again = await engine.generate(SHORT)
    assert (again.text, again.cached_tokens) == (expected.text, 0)


async def test_an_error_nobody_thought_of_ends_the_engine_and_leaves_nobody_waiting(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: CausalModel, pieces: Sequence[Piece]) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(CausalModel, "forward", forward)
    # Else pytest takes the thread's end for a failure of the test.
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    found = await ends(begin(engine, *[SHORT] * 4))
    assert all(isinstance(end, EngineDown) for end in found)
    assert not await engine.ready()
    await engine.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"adapter": "nobody"},
        {"adapter": "\ud800"},
        {"prompt": []},
        {"prompt": [4] * (CONTEXT - 119)},
        {"prompt": [4, -1]},
        {"prompt": [10**9]},
        {"labels": [10**9]},
        {"max_tokens": 0},
        {"max_tokens": 10**9},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"timeout": math.nan},
        {"schema": {"type": "banana"}},
        {"schema": {"const": "\ud800"}},
        {"schema": {"type": "string", "pattern": "(?<=a)b"}},
        {"schema": {"$ref": "https://example.com/schema"}},
        {"schema": {"const": {1, 2}}},
    ],
    ids=lambda wrong: repr(wrong)[:60],
)
async def test_what_cannot_be_done_is_refused(engine: LocalEngine, wrong: dict[str, Any]) -> None:
    with pytest.raises(EngineRefused) as refused:
        await engine.generate(replace(SHORT, **wrong))
    assert 0 < len(str(refused.value)) < 600
    refused.value.detail.encode()
    assert engine.running == 0


async def test_a_schema_that_grows_too_complex_on_the_way_is_refused_and_harms_nobody_else(model_dir: Path) -> None:
    schema = {"type": "string", "pattern": "(.*a.{200}){1,50}"}
    async with started(model_dir, seed=0) as engine:
        other = await engine.generate(SHORT)
        # At this temperature every token is as probable as every other.
        wild = [slow(PROMPT, schema=schema, max_tokens=600, temperature=1e9) for _ in range(4)]
        found = await ends(begin(engine, SHORT, *wild))
        assert found[0].text == other.text
        refused = [end for end in found[1:] if isinstance(end, EngineRefused)]
        assert refused
        assert all("too many" in end.detail for end in refused)


async def test_a_request_that_fills_the_context_exactly_is_taken(engine: LocalEngine) -> None:
    generation = await engine.generate(GenerationRequest([4] * (CONTEXT - 3), None, 3, PATIENCE))
    assert generation.completion_tokens <= 3


async def test_an_adapter_loaded_while_requests_run_serves_and_changes_none_of_them(
    model_dir: Path, adapter_dir: Path
) -> None:
    request = slow(PROMPT, max_tokens=80)
    async with started(model_dir) as engine:
        expected = await engine.generate(request)
        running = begin(engine, request)
        await until(lambda: engine.running == 1)
        with pytest.raises(EngineRefused):
            await engine.generate(replace(SHORT, adapter="late"))
        await engine.load_adapter("late", adapter_dir)
        assert engine.adapters == {"late"}
        changed = await engine.generate(replace(request, adapter="late"))
        assert changed.text != expected.text == (await running[0]).text
        await engine.load_adapter("late", adapter_dir)
        assert await engine.loaded() == {"late"}


async def test_an_unloaded_adapter_serves_whom_it_accepted_and_nobody_after(engine: LocalEngine) -> None:
    request = slow(PROMPT, max_tokens=80, adapter="random")
    expected = await engine.generate(request)
    running = begin(engine, request, request, request)
    await until(lambda: engine.running == 2)
    unloading = asyncio.create_task(engine.unload_adapter("random"))
    await asyncio.sleep(0)
    assert engine.adapters == frozenset()
    with pytest.raises(EngineRefused):
        await engine.generate(replace(SHORT, adapter="random"))
    await unloading
    assert [task.result().text for task in running] == [expected.text] * 3
    await engine.unload_adapter("random")
    assert (await engine.generate(SHORT)).finished


async def test_an_unloading_that_is_cancelled_leaves_the_adapter_loaded(engine: LocalEngine) -> None:
    running = begin(engine, slow(PROMPT, adapter="random"))
    unloading = asyncio.create_task(engine.unload_adapter("random"))
    await until(lambda: engine.adapters == frozenset())
    unloading.cancel()
    assert isinstance((await ends([unloading]))[0], asyncio.CancelledError)
    assert (await engine.generate(replace(SHORT, adapter="random"))).model == "random"
    running[0].cancel()
    await ends(running)
    await engine.unload_adapter("random")
    assert engine.adapters == frozenset()


async def test_an_adapter_can_be_loaded_and_unloaded_again_and_again(engine: LocalEngine, adapter_dir: Path) -> None:
    before = await engine.generate(SHORT)
    for _ in range(3):
        await engine.load_adapter("second", adapter_dir)
        await engine.unload_adapter("random")
        await engine.load_adapter("random", adapter_dir)
        one = await engine.generate(replace(SHORT, adapter="random"))
        other = await engine.generate(replace(SHORT, adapter="second"))
        assert one.text == other.text
        await engine.unload_adapter("second")
    await engine.unload_adapter("random")
    assert (await engine.generate(SHORT)).text == before.text
