"""`ScriptedEngine` answers what it was told to; its smallest instances satisfy their schemas."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.answers.schema.answer import answer_schema
from app.catalogue.parse import parse
from app.domain import AnswerStyle, Json, ToolSource
from app.errors import EngineDown, EngineOverloaded, EngineRefused, EngineTimeout
from app.inference.engine import GenerationRequest
from app.json_data import json_schemas
from tests.support.rapidapi import read_documents
from tests.support.schema_instances import NoInstance, smallest_instance
from tests.support.scripted_engine import ScriptedEngine

REQUEST = GenerationRequest(prompt=[1, 2, 3], schema={"type": "string", "minLength": 8}, max_tokens=50, timeout=20.0)


async def test_answers_with_the_given_text_and_estimates_its_tokens() -> None:
    engine = ScriptedEngine(lambda request: f"{len(request.prompt)} tokens", base_model="fake")
    generation = await engine.generate(REQUEST)
    assert (generation.text, generation.model) == ("3 tokens", "fake")
    assert (generation.prompt_tokens, generation.completion_tokens) == (3, 2)
    assert generation.finished


async def test_raises_the_error_that_the_script_gives() -> None:
    engine = ScriptedEngine(lambda _: EngineOverloaded("busy", retry_after=3))
    with pytest.raises(EngineOverloaded, match="busy"):
        await engine.generate(REQUEST)


async def test_a_failure_holds_until_it_is_taken_back() -> None:
    engine = ScriptedEngine()
    engine.failure = EngineDown("gone")
    with pytest.raises(EngineDown, match="gone"):
        await engine.generate(REQUEST)
    assert not await engine.ready()
    engine.failure = None
    assert (await engine.generate(REQUEST)).text == '"aaaaaaaa"'
    assert await engine.ready()


async def test_remembers_what_it_was_asked() -> None:
    engine = ScriptedEngine()
    with pytest.raises(EngineRefused):
        await engine.generate(replace(REQUEST, adapter="nobody"))
    await engine.generate(REQUEST)
    assert [request.adapter for request in engine.requests] == ["nobody", None]


async def test_an_answer_is_cut_off_at_max_tokens() -> None:
    generation = await ScriptedEngine(lambda _: "x" * 100).generate(replace(REQUEST, max_tokens=5))
    assert (generation.text, generation.completion_tokens, generation.finished) == ("x" * 20, 5, False)


async def test_tells_of_the_labels_what_the_script_says_and_else_the_first_is_the_likeliest() -> None:
    labels = (30, 10, 20)
    told = (await ScriptedEngine().generate(replace(REQUEST, labels=labels))).label_logprobs
    assert told is not None
    assert sorted(told, key=lambda label: -told[label]) == [30, 10, 20]
    silent = ScriptedEngine(label_logprobs=lambda _: None)
    assert (await silent.generate(replace(REQUEST, labels=labels))).label_logprobs is None


async def test_latency_may_depend_on_the_request_and_a_timeout_ends_it() -> None:
    engine = ScriptedEngine(latency=lambda request: 60.0 if request.temperature else 0.0)
    await engine.generate(REQUEST)
    with pytest.raises(EngineTimeout):
        await engine.generate(replace(REQUEST, temperature=1.0, timeout=0.05))
    assert engine.running == 0


async def test_closing_ends_what_is_under_way() -> None:
    engine = ScriptedEngine(latency=60.0)
    task = asyncio.create_task(engine.generate(REQUEST))
    await asyncio.sleep(0.01)
    assert engine.running == 1
    await engine.close()
    with pytest.raises(EngineDown):
        await task


@pytest.mark.parametrize(
    ("schema", "smallest"),
    [
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"enum": ["b", "a"]}, "b"),
        ({"enum": ["x", 5], "type": "integer"}, 5),
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "aa"),
        ({"type": "string", "pattern": "^[0-9]{3}$"}, "000"),
        ({"type": "integer", "minimum": 3, "maximum": 9}, 3),
        ({"type": "integer", "maximum": -4}, -4),
        ({"type": "integer", "exclusiveMinimum": 2}, 3),
        ({"type": "integer", "minimum": 2.5, "multipleOf": 5}, 5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1}, 0.05),
        ({"type": ["null", "string"]}, None),
        ({"type": "boolean"}, False),
        ({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2}, [1, 1]),
        ({"type": "array", "prefixItems": [{"const": "a"}], "items": {"const": "b"}, "minItems": 3}, ["a", "b", "b"]),
        ({"type": "object", "properties": {"a": {}, "b": {"const": 1}}, "required": ["b"]}, {"b": 1}),
        ({"anyOf": [{"enum": []}, {"const": 2}]}, 2),
        ({"anyOf": [False, True]}, None),
        ({"properties": {"b": {"const": 1}, "a": {"const": 2}}, "required": ["a", "b"]}, {"b": 1, "a": 2}),
        (True, None),
    ],
    ids=repr,
)
def test_the_smallest_instance(schema: Json, smallest: Json) -> None:
    found = smallest_instance(schema)
    assert found == smallest
    assert json.dumps(found) == json.dumps(smallest)


@pytest.mark.parametrize(
    "schema",
    [
        *(False, {"enum": []}, {"not": {}}, {"type": "integer", "minimum": 3, "maximum": 1}, {"type": "banana"}),
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"$ref": "#/x"},
        {"anyOf": [{"enum": []}, False]},
        {"type": "string", "pattern": "^never to be guessed [a-z]{7}$"},
    ],
    ids=repr,
)
def test_what_allows_nothing_or_is_not_understood_has_no_instance(schema: Json) -> None:
    with pytest.raises(NoInstance):
        smallest_instance(schema)


async def test_a_schema_nested_without_end_is_refused() -> None:
    endless: dict[str, Any] = {"type": "array", "minItems": 1}
    endless["items"] = endless
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"type": "array", "minItems": 1, "items": deep}
    for schema in (endless, deep):
        with pytest.raises(EngineRefused, match="scripted"):
            await ScriptedEngine().generate(replace(REQUEST, schema=schema))


def test_the_parameters_of_all_real_tools_have_an_instance(documents_folder: Path) -> None:
    documents = read_documents(documents_folder)
    schemas = [tool.parameters_schema for _, tool in parse(ToolSource.RAPIDAPI, documents).tools]
    for schema in schemas:
        every = schema | {"required": list(schema["properties"])}
        validator = json_schemas.make_validator(every, formats=True)
        assert json_schemas.first_problem(validator, smallest_instance(every)) is None
    assert len(schemas) == len(documents)


async def test_ten_real_candidates_are_answered_with_the_first(documents_folder: Path) -> None:
    documents = read_documents(documents_folder)[:400]
    tools = [tool for _, tool in parse(ToolSource.RAPIDAPI, documents).tools]
    engine = ScriptedEngine()
    for start in range(0, len(tools) - 10, 10):
        candidates = tools[start : start + 10]
        schema = answer_schema(candidates, "ABCDEFGHIJ", AnswerStyle.LABELLED_NAME)
        request = replace(REQUEST, schema=schema, max_tokens=2000, labels=tuple(range(10)))
        generation = await engine.generate(request)
        answer = json.loads(generation.text)
        assert json_schemas.first_problem(json_schemas.make_validator(schema, formats=True), answer) is None
        assert answer["tool_name"].startswith("A ")
        told = generation.label_logprobs
        assert told is not None
        assert told[0] == max(told.values())
