"""Tool calls that a language model answers; the engine is the scripted one, all else is real."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import EngineDown, EngineError, EngineOverloaded, EngineRefused
from app.inference.engine import GenerationRequest
from tests.conftest import running, settings_for
from tests.support.catalogue import MIRANDEX_WEATHER, QUIET_WEATHER, TINKLE_WEATHER, TOOLS
from tests.support.scripted_engine import ScriptedEngine, first_label_likeliest, smallest_answer
from tests.support.steps import ASK, add_history, call, feedback, history, interaction, ok, problem


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="module")
def service_with_engine(
    engine: ScriptedEngine, postgres: str, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    settings = settings_for(postgres, tmp_path_factory.mktemp("engine"), engine="vllm", model=str(model_dir))
    with running(settings, [engine]) as url:
        ok(httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60))
        yield url


@pytest.fixture
def client(service_with_engine: str, engine: ScriptedEngine) -> Iterator[httpx.Client]:
    engine.answer, engine.failure, engine.latency = smallest_answer, None, 0.0
    engine.label_logprobs = first_label_likeliest
    engine.requests.clear()
    with httpx.Client(base_url=service_with_engine, timeout=30) as client:
        yield client


def call_of(request: GenerationRequest, tool: str) -> Any:
    """What the schema says of a call of this tool; of the only tool there is, if there is but one."""
    assert request.schema is not None
    options = request.schema.get("anyOf", [request.schema])
    named = [option for option in options if option["properties"]["tool_name"]["const"].endswith(tool)]
    return {**(named or options)[0], "$defs": request.schema.get("$defs", {})}


def says(tool: str, parameters: Any) -> Any:
    """A script that chooses this tool whatever is asked."""

    def answer(request: GenerationRequest) -> str:
        name = call_of(request, tool)["properties"]["tool_name"]["const"]
        return json.dumps({"tool_name": name, "parameters": parameters})

    return answer


def test_the_models_call_is_the_answer(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    names = [item["tool_name"] for item in call(client, user)["candidates"]]
    for name in names[:3]:
        engine.answer = partial(smallest_of, name)
        answer = call(client, user)
        assert answer["tool_call"]["tool_name"] == name
        assert answer["decided_by"] == "model"
        assert answer["engine"] == answer["model"] == "scripted"
        assert not answer["degraded"]
        assert answer["problems"] == []


def smallest_of(tool: str, request: GenerationRequest) -> str:
    """The smallest valid call of one candidate."""
    text = smallest_answer(replace(request, schema=call_of(request, tool)))
    assert isinstance(text, str)
    return text


def test_usage_tells_tokens_by_part(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    add_history(
        client, user, *(interaction(QUIET_WEATHER, "liked", f"2026-03-0{day}T00:00:00Z") for day in (1, 2, 3, 4))
    )
    usage = call(client, user)["usage"]
    parts = usage["prompt"]
    assert parts["history_kept"] == 4
    assert parts["history_dropped"] == 0
    assert sum(parts[name] for name in ("template", "format", "history", "candidates", "instruction")) == parts["total"]
    assert parts["total"] == usage["prompt_tokens"] == len(engine.requests[-1].prompt) <= parts["budget"]
    assert min(parts[name] for name in ("format", "history", "candidates", "instruction")) > 0


def test_the_prompt_holds_instruction_history_and_all_candidates(
    client: httpx.Client, user: str, engine: ScriptedEngine, model_dir: Path
) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, "disliked"))
    answer = call(client, user, "Will it snow in Tromsø on Friday?")
    from tokenizers import Tokenizer

    text = Tokenizer.from_file(str(model_dir / "tokenizer.json")).decode(list(engine.requests[-1].prompt))
    assert "Will it snow in Tromsø on Friday?" in text
    assert f"Something done with {QUIET_WEATHER}" in text
    assert all(candidate["tool_name"] in text for candidate in answer["candidates"])


def test_probabilities_of_the_candidates_add_up_to_one(client: httpx.Client, user: str) -> None:
    told = [candidate["probability"] for candidate in call(client, user)["candidates"]]
    assert sum(told) == pytest.approx(1, abs=1e-3)
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (EngineDown("gone", retry_after=3), "engine_unavailable"),
        (EngineOverloaded("full", retry_after=2), "engine_overloaded"),
        (EngineRefused("no such adapter"), "engine_refused"),
    ],
)
def test_without_the_engine_the_ladder_answers_or_the_caller_hears_why(
    client: httpx.Client, user: str, engine: ScriptedEngine, failure: EngineError, reason: str
) -> None:
    engine.failure = failure
    answer = call(client, user)
    assert answer["degraded_reason"]["reason"] == reason
    assert answer["decided_by"] == "ranker"
    assert answer["tool_call"]["tool_name"] == answer["candidates"][0]["tool_name"]
    refused = client.post(f"/users/{user}/tool-call", json={"instruction": ASK, "allow_degraded": False})
    problem(refused, 503, "model-unavailable")
    assert refused.headers["Retry-After"] == str(failure.retry_after)


def test_a_missed_deadline_is_degraded(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    engine.latency = 30.0
    answer = call(client, user, timeout_seconds=0.2)
    assert answer["degraded_reason"]["reason"] == "engine_timeout"
    assert engine.running == 0


def test_an_answer_that_is_no_call_is_kept_named_and_replaced(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    engine.answer = lambda _: "I would rather not.\x00"
    answer = call(client, user)
    assert answer["degraded_reason"]["reason"] == "invalid_answer"
    assert [item["kind"] for item in answer["problems"]] == ["invalid_format"]
    assert answer["tool_call"]["tool_name"] == answer["candidates"][0]["tool_name"]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["prompt"]["total"] > 0
    stored = decisions(client, user)[0]
    assert stored["raw_output"].startswith("I would rather not.")
    assert stored["problems"][0][0] == "invalid_format"
    body = {"instruction": ASK, "allow_degraded": False}
    wrong = problem(client.post(f"/users/{user}/tool-call", json=body), 502, "invalid-answer")
    assert wrong["error_type"] == "invalid_format"


def test_a_tool_that_is_no_candidate_is_a_hallucination(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    engine.answer = lambda _: '{"tool_name": "Weather.Nobody.Nothing", "parameters": {}}'
    answer = call(client, user)
    assert answer["degraded_reason"]["reason"] == "invalid_answer"
    assert [item["kind"] for item in answer["problems"]] == ["tool_hallucination"]


def test_invalid_parameters_are_mended_and_told(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    engine.answer = says(TINKLE_WEATHER, {"city": ["a", "list"], "town": "Lisbon"})
    answer = call(client, user)
    assert answer["tool_call"] == {"tool_name": TINKLE_WEATHER, "parameters": {"city": "Lisbon"}}
    assert answer["decided_by"] == "model"
    assert answer["degraded_reason"]["reason"] == "invalid_parameters"
    assert {(item["kind"], item["parameter"]) for item in answer["problems"]} == {
        ("parameter_name_mismatch", "town"),
        ("wrong_value", "city"),
    }
    body = {"instruction": ASK, "allow_degraded": False}
    wrong = problem(client.post(f"/users/{user}/tool-call", json=body), 502, "invalid-answer")
    assert wrong["error_type"] == "parameter_name_mismatch"


def test_what_cannot_be_stored_is_replaced(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    for text in ("Lis\x00bon", "Lis\ud800bon"):
        engine.answer = says(QUIET_WEATHER, {"city": text})
        answer = call(client, user)
        assert answer["tool_call"]["parameters"] == {"city": "Lis\ufffdbon"}
        assert not answer["degraded"]


def test_fused_follows_the_ranker_where_the_model_is_unsure(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    names = [QUIET_WEATHER, TINKLE_WEATHER, MIRANDEX_WEATHER]
    add_history(client, user, *(interaction(TINKLE_WEATHER, "liked", f"2026-03-0{day}T00:00:00Z") for day in (1, 2, 3)))
    assert call(client, user, candidates=names, decision="fused")["tool_call"]["tool_name"] == TINKLE_WEATHER
    engine.answer = says(MIRANDEX_WEATHER, {"city": "Lisbon"})
    engine.requests.clear()
    engine.label_logprobs = lambda request: dict.fromkeys(request.labels, -1.0)
    fused = call(client, user, candidates=names, decision="fused")
    assert fused["tool_call"]["tool_name"] == TINKLE_WEATHER


def test_fused_keeps_the_models_answer_where_it_cannot_ask_again(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    names = [QUIET_WEATHER, TINKLE_WEATHER]
    add_history(client, user, *(interaction(TINKLE_WEATHER, "liked", f"2026-03-0{day}T00:00:00Z") for day in (1, 2, 3)))
    answers = iter([says(QUIET_WEATHER, {"city": "Lisbon"}), lambda _: EngineDown("gone")])
    engine.answer = lambda request: next(answers)(request)
    engine.label_logprobs = lambda request: dict.fromkeys(request.labels, -1.0)
    answer = call(client, user, candidates=names, decision="fused")
    assert answer["tool_call"] == {"tool_name": QUIET_WEATHER, "parameters": {"city": "Lisbon"}}
    assert answer["decided_by"] == "model"
    assert not answer["degraded"]


def test_log_probabilities_that_contradict_the_choice_are_not_told(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    engine.label_logprobs = lambda request: {label: -float(at == 0) for at, label in enumerate(request.labels)}
    answer = call(client, user)
    assert [candidate["probability"] for candidate in answer["candidates"]] == [None] * len(answer["candidates"])
    assert not answer["degraded"]


def test_a_long_instruction_leaves_room_for_an_answer_that_repeats_it(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    short = call(client, user)["usage"]["prompt"]
    room = engine.requests[-1].max_tokens
    long = call(client, user, "Translate this into French: " + "a quiet night by the sea, " * 40)["usage"]["prompt"]
    assert engine.requests[-1].max_tokens - room == long["instruction"] - short["instruction"]
    assert len(engine.requests[-1].prompt) + engine.requests[-1].max_tokens <= 4000 + 320


def test_a_served_model_call_becomes_history_with_feedback(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    engine.answer = says(MIRANDEX_WEATHER, {"city": "Lisbon"})
    answer = call(client, user)
    assert history(client, user) == []
    feedback(client, answer["call_id"], "liked")
    assert [item["tool_call"] for item in history(client, user)] == [answer["tool_call"]]
    assert call(client, user)["usage"]["prompt"]["history_kept"] == 1


def test_an_instruction_too_long_for_the_prompt_is_refused(client: httpx.Client, user: str) -> None:
    refused = client.post(f"/users/{user}/tool-call", json={"instruction": "ж" * 7000})
    body = problem(refused, 422, "prompt-too-long")
    assert body["part"] == "instruction"
    assert body["tokens"] > body["budget"]


def test_candidates_without_room_are_left_out_the_least_wanted_first(client: httpx.Client, user: str) -> None:
    answer = call(client, user, tools=[wide_tool(number) for number in range(12)], n_candidates=12)
    assert answer["decided_by"] == "model", answer["degraded_reason"]
    dropped = answer["usage"]["candidates_dropped"]
    assert 0 < dropped < 12
    assert len(answer["candidates"]) == 12 - dropped
    scores = [candidate["score"] for candidate in answer["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["usage"]["prompt_tokens"] <= 4000
    assert answer["decided_by"] == "model"


def wide_tool(number: int) -> Any:
    """A tool with so many parameters that only a few such tools fit a prompt."""
    properties = {f"measurement_{number}_{at}_of_the_weather_station": {"type": "string"} for at in range(60)}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": f"station_{number}", "description": "", "parameters": schema}}


def test_a_client_that_goes_away_ends_the_models_work_and_leaves_nothing(
    client: httpx.Client, user: str, engine: ScriptedEngine
) -> None:
    engine.latency = 60.0
    for headers in ({}, {"Idempotency-Key": f"key-{user}"}):
        asked = len(engine.requests)
        with contextlib.suppress(httpx.ReadTimeout):
            client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=headers, timeout=1.0)
        assert len(engine.requests) == asked + 1
        wait_until(lambda: engine.running == 0)
    # And the key is free again for the retry.
    engine.latency = 0.0
    key = {"Idempotency-Key": f"key-{user}"}
    ask = {"instruction": ASK}
    wait_until(lambda: client.post(f"/users/{user}/tool-call", json=ask, headers=key).status_code == 200)
    assert len(decisions(client, user)) == 1


def test_more_calls_than_the_engine_takes_are_degraded_and_none_fails(
    postgres: str, model_dir: Path, tmp_path: Path, user: str
) -> None:
    narrow = ScriptedEngine(latency=0.3, max_concurrency=2, max_waiting=1)
    settings = settings_for(postgres, tmp_path, engine="vllm", model=str(model_dir))
    with running(settings, [narrow]) as url, httpx.Client(base_url=url, timeout=30) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(call(client, user))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reasons = [answer["degraded_reason"] and answer["degraded_reason"]["reason"] for answer in answers]
    assert len(answers) == 10
    assert set(reasons) == {None, "engine_overloaded"}


def test_metrics_and_readiness_tell_of_the_engine(client: httpx.Client, user: str, engine: ScriptedEngine) -> None:
    call(client, user)
    assert ok(client.get("/readyz"))["engine"] == "ready"
    text = client.get("/metrics").text
    assert 'petool_engine_tokens_total{kind="prompt"}' in text
    assert "petool_engine_ready 1.0" in text
    engine.failure = EngineDown("gone")
    assert ok(client.get("/readyz"))["engine"] == "unavailable"
    assert "petool_engine_ready 0.0" in client.get("/metrics").text


def wait_until(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass within 10 seconds")


def decisions(client: httpx.Client, user: str) -> list[Any]:
    lines = [json.loads(line) for line in client.get(f"/users/{user}/export").text.splitlines()]
    return [line for line in lines if line.get("kind") == "call"]
