"""An import answers for every document, whatever comes in; tools survive storage; formats are told apart."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.catalogue.openai import openai_name, parse_document, to_openai
from app.catalogue.parse import Import, ParsedBatch, detect_format, parse
from app.domain import Json, ToolSource
from app.errors import DocumentError
from app.json_data.tools import document_hash, tool_from_json, tool_to_json

WORDS = (
    *(
        "category_name",
        "tool_name",
        "api_name",
        "api_list",
        "name",
        "type",
        "description",
        "default",
        "function",
    ),
    *("required_parameters", "optional_parameters", "parameters", "properties", "required", "schema", "enum"),
    *(
        "openapi",
        "info",
        "title",
        "paths",
        "get",
        "/a",
        "in",
        "query",
        "responses",
        "200",
        "requestBody",
        "content",
    ),
    *(
        "application/json",
        "$ref",
        "#/paths",
        "#",
        "allOf",
        "items",
        "nullable",
        "components",
        "pattern",
        "example",
    ),
    *(
        "STRING",
        "string",
        "object",
        "3.0.0",
        "NUMBER",
        "exclusiveMinimum",
        "operationId",
        "patternProperties",
        "(",
    ),
)
TEXT = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=()), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=25,
)
SCHEMA = st.recursive(
    JSON | st.just({"type": "string"}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", "array", "string", "any", "dict"]) | JSON},
        optional={
            "properties": st.dictionaries(TEXT, inner, max_size=3),
            "items": inner,
            "allOf": st.lists(inner, max_size=3),
            "$ref": st.sampled_from(["#", "#/properties/a", "#/components/schemas/A", "other.json"]),
            "default": JSON,
            "required": JSON,
            "enum": JSON,
            "pattern": TEXT,
        },
    ),
    max_leaves=6,
)
RAPIDAPI = st.fixed_dictionaries(
    {
        "category_name": TEXT,
        "tool_name": TEXT,
        "api_name": TEXT,
        "required_parameters": st.lists(
            st.fixed_dictionaries({"name": TEXT, "type": TEXT | JSON, "description": TEXT, "default": JSON}),
            max_size=3,
        ),
    }
)
OPENAI = st.fixed_dictionaries({"type": st.just("function"), "name": TEXT, "parameters": SCHEMA})
OPENAPI = st.fixed_dictionaries(
    {
        "openapi": st.just("3.1.0"),
        "info": st.just({"title": "T"}),
        "paths": st.dictionaries(
            TEXT,
            st.fixed_dictionaries(
                {
                    "get": st.fixed_dictionaries(
                        {},
                        optional={
                            "operationId": TEXT,
                            "tags": JSON,
                            "parameters": st.lists(
                                st.fixed_dictionaries({"name": TEXT, "in": st.just("query"), "schema": SCHEMA}),
                                max_size=2,
                            ),
                            "requestBody": st.fixed_dictionaries(
                                {"content": st.fixed_dictionaries({"json": st.fixed_dictionaries({"schema": SCHEMA})})}
                            ),
                            "responses": JSON,
                        },
                    )
                }
            ),
            max_size=2,
        ),
        "components": st.fixed_dictionaries({"schemas": st.fixed_dictionaries({"A": SCHEMA})}),
    }
)
DOCUMENTS = st.lists(JSON | RAPIDAPI | OPENAI | OPENAPI, max_size=5)


def answered(batch: ParsedBatch) -> set[int]:
    return {
        *(index for index, _ in batch.tools),
        *(rejection.index for rejection in batch.rejections),
        *(index for index, _ in batch.duplicates),
    }


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.none() | st.sampled_from(ToolSource))
def test_any_json_is_answered_for_and_what_is_imported_can_be_stored(
    documents: list[Any], source: ToolSource | None
) -> None:
    batch = parse(source, documents)
    assert answered(batch) == set(range(len(documents)))
    assert len({tool.name for _, tool in batch.tools}) == len(batch.tools)
    for rejection in batch.rejections:
        assert rejection.reason
        assert "\x00" not in (rejection.name + rejection.reason)
        (rejection.name + rejection.reason).encode()
    for _, tool in batch.tools:
        stored = json.dumps(tool_to_json(tool), ensure_ascii=False, allow_nan=False)
        assert b"\x00" not in stored.encode()
        assert "\\u0000" not in stored
        assert tool_from_json(json.loads(stored)) == tool
        Draft202012Validator.check_schema(tool.parameters_schema)
        for each in tool.parameters:
            if each.default is not None:
                Draft202012Validator(each.schema).validate(each.default)


def rapidapi(name: str, description: str = "") -> dict[str, Json]:
    return {"category_name": "C", "tool_name": "T", "api_name": name, "api_description": description}


def test_the_same_document_again_counts_as_duplicate_and_another_content_is_rejected() -> None:
    batch = parse(ToolSource.RAPIDAPI, [rapidapi("a"), rapidapi("b"), rapidapi("a"), rapidapi("b", "other")])
    assert [index for index, _ in batch.tools] == [0, 1]
    assert batch.duplicates == ((2, "C.T.a"),)
    (rejection,) = batch.rejections
    assert (rejection.index, rejection.name) == (3, "C.T.b")
    assert rejection.reason == "same name as document #1 in this import, with other content"


def test_the_rest_of_an_import_goes_on_after_a_broken_document() -> None:
    batch = parse(None, [None, 7, rapidapi("a"), {"nothing": "known"}, [], rapidapi("b")])
    assert [tool.api for _, tool in batch.tools] == ["a", "b"]
    assert [rejection.index for rejection in batch.rejections] == [0, 1, 3, 4]


def test_a_document_nested_without_end_is_rejected() -> None:
    deep: Json = []
    for _ in range(100_000):
        deep = [deep]
    (rejection,) = parse(ToolSource.RAPIDAPI, [rapidapi("a") | {"template_response": deep}]).rejections
    assert "nested" in rejection.reason


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        (rapidapi("a"), ToolSource.RAPIDAPI),
        ({"tool_name": "T", "api_list": []}, ToolSource.RAPIDAPI),
        ({"type": "function", "function": {"name": "f"}}, ToolSource.OPENAI),
        ({"type": "function", "name": "f"}, ToolSource.OPENAI),
        ({"name": "f", "parameters": {}}, ToolSource.OPENAI),
        ({"openapi": "3.0.0"}, ToolSource.OPENAPI),
        ({"swagger": "2.0"}, ToolSource.OPENAPI),
    ],
)
def test_a_format_shows_in_a_document(raw: Json, source: ToolSource) -> None:
    assert detect_format(raw) is source


def test_a_format_that_does_not_show_is_an_error() -> None:
    with pytest.raises(DocumentError, match="RapidAPI"):
        detect_format({"a": 1})


def test_the_hash_follows_the_content_and_not_the_order_of_keys() -> None:
    def tool_of(schema: dict[str, Json]) -> str:
        return document_hash(parse_document({"name": "f", "parameters": {"properties": {"a": schema}}}))

    assert tool_of({"type": "integer", "minimum": 1}) == tool_of({"minimum": 1, "type": "integer"})
    assert tool_of({"type": "integer"}) != tool_of({"type": "number"})
    assert len(tool_of({})) == 64


TREE = {
    "type": "function",
    "function": {
        "name": "plant_tree",
        "description": "Plants",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "kind": {"$ref": "#/$defs/Kind", "description": "Which one"},
                "height": {"type": "float", "default": "1.5"},
                "roots": {"$ref": "#/$defs/Root"},
                "$ref": {"type": "string"},
                "anything": True,
            },
            "required": ["kind"],
            "$defs": {
                "Kind": {"type": "string", "enum": ["oak", "elm"], "default": "oak"},
                "Root": {"type": "object", "properties": {"deeper": {"$ref": "#/$defs/Root"}}},
            },
        },
    },
}


def test_an_openai_tool_keeps_its_schemas_without_references() -> None:
    tool = parse_document(TREE)
    found = {each.name: each for each in tool.parameters}
    assert tool.name == tool.api == "plant_tree"
    assert found["kind"].schema == {"type": "string", "enum": ["oak", "elm"]}
    assert (found["kind"].required, found["kind"].default, found["kind"].description) == (
        True,
        "oak",
        "Which one",
    )
    assert (found["height"].schema, found["height"].default) == ({"type": "number"}, 1.5)
    assert found["roots"].schema == {"type": "object", "properties": {"deeper": {}}}
    assert found["$ref"].schema == {"type": "string"}
    assert found["anything"].schema == {}


def test_the_bare_form_is_the_same_tool() -> None:
    bare = {"type": "function", **TREE["function"]}  # type: ignore[dict-item]
    assert parse_document(bare) == parse_document(TREE)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"type": "web_search"}, "not a function"),
        ({"type": "function", "function": {"name": ""}}, "name"),
        ({"name": "f", "parameters": {"type": "array"}}, "not one of an object"),
        ({"name": "f", "parameters": {"properties": {"a": {"type": "strnig"}}}}, "not valid"),
        ({"name": "f", "parameters": {"properties": {}, "required": ["a"]}}, "no schema: a"),
    ],
)
def test_an_openai_tool_that_is_none_is_rejected_with_the_reason(raw: Json, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        parse_document(raw)


def test_a_tool_goes_to_openai_and_back() -> None:
    tool = parse_document(TREE)
    assert parse_document(to_openai(tool)) == tool


@given(st.text(max_size=100))
def test_an_openai_name_is_acceptable_and_always_the_same(name: str) -> None:
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", openai_name(name))
    assert openai_name(name) == openai_name(name)


def test_openai_names_differ_where_names_do() -> None:
    assert openai_name("get_weather") == "get_weather"
    names = [
        "Weather.Sky.now",
        "Weather Sky now",
        "Weather.Sky.now ",
        "weather.sky.now",
        "天気",
        "天",
        "x" * 65,
        "x" * 66,
    ]
    assert len({openai_name(name) for name in names}) == len(names)
    assert openai_name("Weather.Sky.now").startswith("Weather_Sky_now_")


REMOTE = "http://127.0.0.1:1/x"


@pytest.mark.parametrize("reference", [REMOTE, "#/nope", "other.json"])
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef", "$schema"])
@pytest.mark.parametrize(
    "around",
    [
        *("items", "additionalItems", "unevaluatedItems", "unevaluatedProperties", "contentSchema", "x-own"),
        *("not", "if", "additionalProperties", "propertyNames"),
        *(["items"], ["additionalItems"], ["x-own"], ["anyOf"], ["prefixItems"]),
        *({"properties"}, {"dependentSchemas"}, {"dependencies"}, {"patternProperties"}, {"x-own"}),
    ],
)
def test_no_reference_survives_anywhere(
    monkeypatch: pytest.MonkeyPatch, around: Any, keyword: str, reference: str
) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr("urllib.request.urlopen", fetch)
    inner: Json = {keyword: reference}
    if isinstance(around, list):
        schema: Json = {around[0]: [inner]}
    elif isinstance(around, set):
        schema = {next(iter(around)): {"a": inner}}
    else:
        schema = {around: inner}
    for default in (["x"], {"a": 1}):
        function = {"name": "f", "parameters": {"properties": {"p": {**schema, "default": default}}}}
        (tool,) = [tool for _, tool in parse(ToolSource.OPENAI, [function]).tools]
        assert reference not in json.dumps(tool_to_json(tool))


def test_a_pattern_that_backtracks_without_end_costs_its_document_a_default_and_little_time() -> None:
    schemas = {f"p{n}": {"type": "string", "pattern": f"^(a|aa)+{n}$", "default": "a" * 60 + "!"} for n in range(100)}
    harmless = {"p": {"type": "string", "pattern": "^a+$", "default": "aa"}}
    batch = parse(
        ToolSource.OPENAI,
        [{"name": "f", "parameters": {"properties": schemas}}, {"name": "g", "parameters": {"properties": harmless}}],
    )
    (_, hostile), (_, fine) = batch.tools
    assert all(each.default is None for each in hostile.parameters)
    assert fine.parameters[0].default == "aa"


def test_batches_of_one_import_share_their_names() -> None:
    whole = Import(places=["a.jsonl:1", "a.jsonl:2"])
    assert len(parse(ToolSource.RAPIDAPI, [rapidapi("a"), rapidapi("b")], whole).tools) == 2
    whole.places = ["b.json", "c.json"]
    batch = parse(ToolSource.RAPIDAPI, [rapidapi("b"), rapidapi("a", "other")], whole)
    assert (batch.tools, batch.duplicates) == ((), ((0, "C.T.b"),))
    assert [each.reason for each in batch.rejections] == ["same name as a.jsonl:1 in this import, with other content"]
    assert len(parse(ToolSource.RAPIDAPI, [rapidapi("a", "other")]).tools) == 1
