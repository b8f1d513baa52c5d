"""Chat endpoints on the benchmark, over real HTTP: right, wrong, busy, refusing, gone; and a run that is killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import SetupError
from app.prompting.builder import PromptBuilder
from app.prompting.formats import format_named
from app.prompting.tokenizer import PromptTokenizer
from tests.support.evaluate_cases import benchmark, questions
from tests.support.fake_openai import FakeOpenAI, chat, first, giving, refusal
from tests.support.fake_vllm import Behaviour, Received
from tests.support.tiny_model import tiny_tokenizer
from training.evaluate.build_system import open_system
from training.evaluate.chat import AskedEndpoint
from training.evaluate.config import ChatConfig
from training.evaluate.metrics import judge
from training.evaluate.patience import Failed

QUESTION = questions()[1]
RIGHT = json.dumps({"tool_name": QUESTION.instance.answer.tool_name, "parameters": QUESTION.instance.answer.parameters})


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeOpenAI]:
    server = FakeOpenAI()
    server.behaviour = giving(chat(f"Sure!\n```json\n{RIGHT}\n```"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> PromptBuilder:
    directory = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(directory)
    return PromptBuilder(PromptTokenizer.load(directory), format_named("published-1"))


async def no_sleep(_: float) -> None:
    pass


def asked(endpoint: FakeOpenAI, prompts: PromptBuilder, **settings: Any) -> AskedEndpoint:
    values = {"name": "gpt", "kind": "chat", "base_url": endpoint.base_url, "model": "m", **settings}
    return AskedEndpoint(ChatConfig.model_validate(values), prompts, "secret", sleep=no_sleep)


async def test_an_endpoint_is_asked_in_the_published_layout(endpoint: FakeOpenAI, prompts: PromptBuilder) -> None:
    system = asked(endpoint, prompts)
    row = await system.answer(QUESTION)
    await system.close()
    assert judge(row.call, QUESTION.instance).joint
    assert (row.prompt_tokens, row.completion_tokens) == (100, 20)
    received = endpoint.received[0]
    assert received.headers["authorization"] == "Bearer secret"
    document = received.document
    assert (document["model"], document["temperature"], "response_format" in document) == ("m", 0.1, False)
    assert document["messages"][-1] == {"role": "user", "content": QUESTION.instance.instruction}


@pytest.mark.parametrize(
    ("behaviour", "requests"),
    [
        (first(giving(refusal(500)), giving(refusal(429, Retry_After="2")), giving(chat(RIGHT))), 3),
        (first(giving(None), giving(chat(RIGHT))), 2),
        (first(giving(refusal(400, "Use 'max_completion_tokens' instead.")), giving(chat(RIGHT))), 2),
    ],
)
async def test_what_may_go_better_in_a_moment_is_asked_again(
    endpoint: FakeOpenAI, prompts: PromptBuilder, behaviour: Behaviour, requests: int
) -> None:
    endpoint.behaviour = behaviour
    system = asked(endpoint, prompts)
    assert judge((await system.answer(QUESTION)).call, QUESTION.instance).joint
    assert len(endpoint.received) == requests
    await system.close()


async def test_a_request_that_fails_at_the_last_try_is_no_crash(endpoint: FakeOpenAI, prompts: PromptBuilder) -> None:
    endpoint.behaviour = giving(refusal(503, "busy"))
    system = asked(endpoint, prompts, retries=2)
    with pytest.raises(Failed, match=r"asked 3 times.*busy") as failed:
        await system.answer(QUESTION)
    assert not failed.value.alone
    endpoint.behaviour = giving(refusal(400, "maximum context length is 4096 tokens"))
    with pytest.raises(Failed, match="does not take the prompt") as failed:
        await system.answer(QUESTION)
    assert failed.value.alone
    endpoint.behaviour = giving(refusal(401))
    with pytest.raises(SetupError, match="check the API key"):
        await system.answer(QUESTION)
    await system.close()


async def test_an_answer_that_does_not_come_in_time_has_failed(endpoint: FakeOpenAI, prompts: PromptBuilder) -> None:
    async def never(_: Received) -> bytes | None:
        await asyncio.sleep(60)
        return None

    endpoint.behaviour = never
    system = asked(endpoint, prompts, retries=0, timeout=0.2)
    with pytest.raises(Failed, match=r"0\.2 s"):
        await system.answer(QUESTION)
    await system.close()


def test_openais_own_endpoint_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = ChatConfig(name="gpt", kind="chat", base_url="https://api.openai.com/v1", model="m")
    with pytest.raises(SetupError, match="OPENAI_API_KEY"):
        open_system(config)


async def test_a_run_that_is_killed_goes_on_behind_its_answers(endpoint: FakeOpenAI, tmp_path: Path) -> None:
    """The whole command, in a process of its own, with the packaged tokenizer."""
    made = benchmark(tmp_path / "benchmark")
    system = tmp_path / "gpt.yaml"
    system.write_text(
        f"name: gpt\nkind: chat\nbase_url: {endpoint.base_url}\nmodel: m\nconcurrency: 2\nretries: 0\n"
        "prompt_tokens: 20000\n"
    )
    arguments = ["evaluate", str(system), "--benchmark", str(made.directory)]
    command = [sys.executable, "-c", "from training.cli import main; main()", *arguments]
    file = made.directory / "evaluations" / "gpt" / "test.jsonl"
    enough = asyncio.Event()

    async def slow(_: Received) -> bytes | None:
        if len(endpoint.received) > 4:
            enough.set()
            await asyncio.sleep(60)
        return chat(RIGHT)

    endpoint.behaviour = slow
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    waiting = asyncio.create_task(enough.wait())
    ended = asyncio.create_task(process.wait())
    await asyncio.wait([waiting, ended], return_when=asyncio.FIRST_COMPLETED, timeout=120)
    assert enough.is_set(), (await process.communicate())[1]
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    ended.cancel()
    kept = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert 3 <= len(kept) < 9
    endpoint.behaviour = giving(chat(RIGHT))
    asked_before = len(endpoint.received)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    assert len(endpoint.received) - asked_before == 9 - len(kept)
    assert f"{len(kept)} kept" in told.decode()
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert ids[: len(kept)] == kept
    assert len(set(ids)) == len(ids) == 9
