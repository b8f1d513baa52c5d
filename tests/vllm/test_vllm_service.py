"""The whole service over HTTP, on a real vLLM server with a model that knows nothing."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.answers.validation import parameter_problems
from app.catalogue.parse import parse
from app.domain import Tool, ToolSource
from tests.conftest import running, settings_for
from tests.support.rapidapi import FOLDERS, read_queries
from tests.support.rapidapi import read_documents as read_folder
from tests.support.steps import ASK, add_history, call, interaction, ok, problem
from tests.vllm.server import VllmServer

CALLS, AT_ONCE = 300, 16


def documents() -> list[Any]:
    """The real ones where they are present, else our own sample."""
    return read_folder(FOLDERS[-1])


def instructions() -> list[str]:
    return [str(item["query"]) for item in read_queries(FOLDERS[-1])]


@pytest.fixture(scope="module")
def client(
    vllm_server: VllmServer, model_dir: Path, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A service in front of the server, with the real documents and three users with histories."""
    settings = settings_for(
        postgres,
        tmp_path_factory.mktemp("vllm-service"),
        engine="vllm",
        engine_url=vllm_server.url,
        model=str(model_dir),
        engine_timeout_seconds=100,
    )
    with running(settings) as url, httpx.Client(base_url=url, timeout=300) as client:
        found = documents()
        for start in range(0, len(found), 200):
            ok(client.put("/tools", json={"format": "rapidapi", "documents": found[start : start + 200]}))
        names = [tool.name for tool in tools().values()]
        ratings: dict[str, list[str | None]] = {"user-0": ["liked", "disliked"], "user-1": ["liked"], "user-2": [None]}
        for number, (user, given) in enumerate(ratings.items()):
            items = [
                interaction(
                    names[(7 * at + number) % len(names)], given[at % len(given)], f"2026-04-{1 + at:02}T08:00:00Z"
                )
                for at in range(25)
            ]
            add_history(client, user, *items)
        yield client


def tools() -> dict[str, Tool]:
    return {tool.name: tool for _, tool in parse(ToolSource.RAPIDAPI, documents()).tools}


def engine_state(client: httpx.Client) -> Any:
    return ok(client.get("/readyz"))["engine"]


async def ask_all(url: httpx.URL, texts: list[str]) -> list[Any]:
    """The answers to all of them, `AT_ONCE` at a time, from users with and without history."""
    limit = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:

        async def ask(number: int, text: str) -> Any:
            async with limit:
                return ok(await client.post(f"/users/user-{number % 4}/tool-call", json={"instruction": text}))

        return await asyncio.gather(*(ask(number, text) for number, text in enumerate(texts)))


async def test_300_calls_at_16_at_once_are_all_valid_calls_of_their_tools(client: httpx.Client) -> None:
    known, texts = tools(), instructions()
    started = time.perf_counter()
    asked = [texts[at % len(texts)] for at in range(CALLS)]
    answers = await ask_all(client.base_url, asked)
    seconds = time.perf_counter() - started
    invalid, reasons = [], Counter[str]()
    for answer in answers:
        made = answer["tool_call"]
        # What the instruction does not tell, the rules that mend an answer leave out, and say so.
        wrong = parameter_problems(known[made["tool_name"]], made["parameters"])
        invalid += [(made, item) for item in wrong if item.name not in answer["missing_parameters"]]
        if answer["degraded"]:
            reasons[answer["degraded_reason"]["reason"]] += 1
    print(f"\n{CALLS} calls in {seconds:.1f} s ({CALLS / seconds:.1f}/s), degraded: {dict(reasons)}")
    assert invalid == []
    assert all(answer["engine"] == "vllm" for answer in answers)
    # What the grammar cannot say is mended. And of a model that knows no end some answers are cut off: every text ends
    # at its longest, but a call of many such texts has more tokens than an answer may have.
    assert set(reasons) <= {"invalid_parameters", "invalid_answer"}
    assert sum(reasons.values()) <= CALLS // 20


def test_the_candidates_probabilities_add_up_to_one(client: httpx.Client) -> None:
    answer = call(client, "user-0")
    told = [candidate["probability"] for candidate in answer["candidates"]]
    assert len(told) == 10
    assert sum(told) == pytest.approx(1, abs=0.01)


def test_fused_sees_the_same_probabilities_and_chooses_among_the_candidates(client: httpx.Client) -> None:
    alone, fused = call(client, "user-0", dry_run=True), call(client, "user-0", decision="fused", dry_run=True)
    assert fused["decided_by"] == "fused"
    assert [item["probability"] for item in fused["candidates"]] == pytest.approx(
        [item["probability"] for item in alone["candidates"]], abs=0.02
    )
    assert fused["tool_call"]["tool_name"] in [item["tool_name"] for item in alone["candidates"]]


def test_a_users_next_call_reuses_the_prompt_of_the_last(client: httpx.Client, vllm_server: VllmServer) -> None:
    add_history(client, "regular", *(interaction(name, "liked") for name in list(tools())[:6]))
    texts = instructions()
    call(client, "regular", texts[0])
    before = vllm_server.metrics()
    answers = [call(client, "regular", text) for text in texts[1:10]]
    after = vllm_server.metrics()
    queries, hits = (
        after[f"vllm:prefix_cache_{name}_total"] - before[f"vllm:prefix_cache_{name}_total"]
        for name in ("queries", "hits")
    )
    history = sum(answer["usage"]["prompt"]["history"] for answer in answers)
    print(f"\nprefix cache: {hits:.0f} of {queries:.0f} tokens ({hits / queries:.0%}); history {history}")
    assert all(answer["usage"]["prompt"]["history_dropped"] == 0 for answer in answers)
    # Everything before the candidates, up to the engine's block size.
    assert hits >= 0.9 * history


def test_an_adapter_answers_under_its_name_and_otherwise_than_the_base(
    vllm_server: VllmServer, model_dir: Path, adapter_dir: Path, postgres: str, tmp_path: Path, client: httpx.Client
) -> None:
    vllm_server.load_adapter("random-1", adapter_dir)
    settings = settings_for(
        postgres, tmp_path, engine="vllm", engine_url=vllm_server.url, model=str(model_dir), adapter="random-1",
        engine_timeout_seconds=100,
    )  # fmt: skip
    names = list(tools())[:10]
    with running(settings) as url, httpx.Client(base_url=url, timeout=300) as adapted:
        base = [call(client, "user-1", text, candidates=names, dry_run=True) for text in instructions()[:5]]
        other = [call(adapted, "user-1", text, candidates=names, dry_run=True) for text in instructions()[:5]]
    assert {answer["model"] for answer in base} == {"base"}
    assert {answer["model"] for answer in other} == {"random-1"}
    assert [answer["tool_call"] for answer in base] != [answer["tool_call"] for answer in other]


def test_a_missed_deadline_is_degraded_and_frees_the_engine(client: httpx.Client, vllm_server: VllmServer) -> None:
    answer = call(client, "user-0", timeout_seconds=0.03)
    assert answer["degraded_reason"]["reason"] == "engine_timeout"
    body = {"instruction": ASK, "timeout_seconds": 0.03, "allow_degraded": False}
    answer = problem(client.post("/users/user-0/tool-call", json=body), 503, "model-unavailable")
    vllm_server.wait_until_idle()


async def test_a_client_that_goes_away_frees_the_engine(client: httpx.Client, vllm_server: VllmServer) -> None:
    async def impatient(number: int) -> None:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=0.3) as one:
            with contextlib.suppress(httpx.ReadTimeout):
                await one.post(f"/users/nobody-{number}/tool-call", json={"instruction": f"{ASK} {number}" * 20})

    await asyncio.gather(*(impatient(number) for number in range(12)))
    await asyncio.to_thread(vllm_server.wait_until_idle)
    assert not call(client, "user-0")["degraded"]


async def test_a_killed_server_means_degraded_answers_or_503_and_then_recovery(
    client: httpx.Client, vllm_server: VllmServer
) -> None:
    async with httpx.AsyncClient(base_url=client.base_url, timeout=120) as many:

        def ask(number: int, allow_degraded: bool) -> Any:
            body = {"instruction": f"{ASK} {number}", "allow_degraded": allow_degraded}
            return many.post("/users/user-0/tool-call", json=body)

        asked = [asyncio.create_task(ask(number, number % 2 == 0)) for number in range(12)]
        await asyncio.sleep(0.4)
        vllm_server.kill()
        answers = await asyncio.gather(*asked)
    for number, answer in enumerate(answers):
        if answer.status_code == 200 and not answer.json()["degraded"]:
            continue
        if number % 2 == 0:
            assert ok(answer)["degraded_reason"]["reason"] == "engine_unavailable"
        else:
            assert int(answer.headers["Retry-After"]) >= 1
            problem(answer, 503, "model-unavailable")
    assert any(answer.status_code == 503 for answer in answers)
    assert call(client, "user-0")["degraded_reason"]["reason"] == "engine_unavailable"
    assert engine_state(client) == "unavailable"
    await asyncio.to_thread(vllm_server.start)
    deadline = time.monotonic() + 30
    while call(client, "user-0")["degraded"]:
        assert time.monotonic() < deadline, "the service did not find the server again"
        await asyncio.sleep(0.5)
    assert engine_state(client) == "ready"
