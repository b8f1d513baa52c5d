"""RapidAPI documents become tools: a sample, the real ones where they are present, and each oddity alone."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from app.catalogue.checks import Refusal
from app.catalogue.parse import parse
from app.catalogue.rapidapi import parse_document, parse_documents
from app.domain import Json, Parameter, Tool, ToolSource
from app.errors import DocumentError
from tests.support.rapidapi import read_documents


def document(**changes: Json) -> dict[str, Json]:
    return {
        "category_name": "Weather",
        "tool_name": "Sky Watch ",
        "api_name": " /now|today.v2",
        "api_description": "Weather now",
        "required_parameters": [],
        "optional_parameters": [],
        "method": "GET",
    } | changes


def parameter(type_: Json = "STRING", description: Json = "", default: Json = "", name: str = "x") -> Parameter:
    entry = {"name": name, "type": type_, "description": description, "default": default}
    return parse_document(document(optional_parameters=[entry])).parameters[0]


@pytest.fixture(scope="module")
def real_documents(documents_folder: Path) -> list[dict[str, Json]]:
    return read_documents(documents_folder)


def test_every_real_document_is_imported_under_its_verbatim_name(
    real_documents: list[dict[str, Json]],
) -> None:
    batch = parse(ToolSource.RAPIDAPI, real_documents)
    assert not batch.rejections
    assert not batch.duplicates
    assert [index for index, _ in batch.tools] == list(range(len(real_documents)))
    for index, tool in batch.tools:
        raw = real_documents[index]
        assert tool.name == ".".join((raw["category_name"], raw["tool_name"], raw["api_name"]))
        assert tool.description == raw["api_description"]


def test_every_real_document_has_a_valid_schema_and_valid_defaults(
    real_documents: list[dict[str, Json]],
) -> None:
    checked: set[str] = set()
    for _, tool in parse(ToolSource.RAPIDAPI, real_documents).tools:
        schemas = {json.dumps(each.schema) for each in tool.parameters}
        if not schemas <= checked:
            Draft202012Validator.check_schema(tool.parameters_schema)
            checked |= schemas
        for each in tool.parameters:
            if each.default is not None:
                Draft202012Validator(each.schema, format_checker=FormatChecker()).validate(each.default)


def test_hardly_any_default_of_a_real_document_is_lost(real_documents: list[dict[str, Json]]) -> None:
    given = kept = 0
    for index, tool in parse(ToolSource.RAPIDAPI, real_documents).tools:
        raw = real_documents[index]
        first: dict[str, Json] = {}
        for entry in raw["required_parameters"] + raw["optional_parameters"]:
            first.setdefault(entry["name"], entry["default"])
        assert list(first) == [each.name for each in tool.parameters]
        given += sum(1 for default in first.values() if default != "")
        kept += sum(1 for each in tool.parameters if each.default is not None)
    assert kept / given > 0.99


def test_spaces_and_dots_inside_the_parts_of_a_name_stay() -> None:
    tool = parse_document(document())
    assert tool.name == "Weather.Sky Watch . /now|today.v2"
    assert (tool.category, tool.provider, tool.api) == ("Weather", "Sky Watch ", " /now|today.v2")


@pytest.mark.parametrize(
    ("declared", "default", "schema", "value"),
    [
        ("STRING", "10", {"type": "string"}, "10"),
        ("string", 10, {"type": "string"}, "10"),
        ("STRING", " ", {"type": "string"}, " "),
        ("NUMBER", "10", {"type": "number"}, 10),
        ("NUMBER", " -0.5 ", {"type": "number"}, -0.5),
        ("NUMBER", "ten", {"type": "number"}, None),
        ("NUMBER", "nan", {"type": "number"}, None),
        ("NUMBER", "1e999", {"type": "number"}, None),
        ("NUMBER", True, {"type": "number"}, None),
        ("NUMBER", "9" * 40, {"type": "number"}, None),
        ("INTEGER", "3.0", {"type": "integer"}, 3),
        ("INTEGER", "3.5", {"type": "integer"}, None),
        ("BOOLEAN", "False", {"type": "boolean"}, False),
        ("BOOLEAN", "1", {"type": "boolean"}, True),
        ("BOOLEAN", "checked", {"type": "boolean"}, None),
        ("DATE (YYYY-MM-DD)", "2020-02-29", {"type": "string", "format": "date"}, "2020-02-29"),
        ("DATE (YYYY-MM-DD)", "2021-02-29", {"type": "string", "format": "date"}, None),
        ("ARRAY", '["a", 2]', {"type": "array"}, ["a", 2]),
        ("LIST", "2", {"type": "array"}, None),
        ("OBJECT", '{"a": 1}', {"type": "object"}, {"a": 1}),
        ("MAP", "cities", {"type": "object"}, None),
        ("ENUM", "", {"type": "string"}, None),
        ("FILE", "", {"type": "string"}, None),
        ("GEOPOINT", "1,2", {"type": "string"}, "1,2"),
        ("SOMETHING NEW", "v", {"type": "string"}, "v"),
        (None, 7, {"type": "number"}, 7),
        (["STRING"], None, {"type": "string"}, None),
    ],
)
def test_a_messy_type_becomes_a_schema_and_its_default_a_value_of_it(
    declared: Json, default: Json, schema: dict[str, Json], value: Json
) -> None:
    found = parameter(declared, "", default)
    assert found.schema == schema
    assert found.default == value
    assert type(found.default) is type(value)


def test_a_time_is_hours_and_minutes() -> None:
    found = parameter("TIME (24-hour HH:MM)", "", "09:00")
    assert found.default == "09:00"
    assert not Draft202012Validator(found.schema).is_valid("24:00")


def test_of_two_parameters_with_one_name_the_required_one_stays() -> None:
    twice = document(
        optional_parameters=[
            {"name": "id", "type": "STRING", "default": "b"},
            {"name": "z", "type": "NUMBER"},
        ],
        required_parameters=[{"name": "id", "type": "NUMBER", "default": "1"}],
    )
    assert [(p.name, p.required, p.default) for p in parse_document(twice).parameters] == [
        ("id", True, 1),
        ("z", False, None),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tool_name": 7}, "tool_name is not text but int"),
        ({"api_name": "  "}, "api_name is blank"),
        ({"category_name": None}, "category_name is missing"),
        ({"api_name": "a\x00b"}, "NUL character"),
        ({"api_description": "half \ud83d"}, "surrogate"),
        ({"template_response": {"a": [float("nan")]}}, "NaN"),
        ({"template_response": {"a": 2**70}}, "64 bits"),
        ({"api_name": "n" * 513}, "at most 512"),
        ({"api_description": "d" * 32_769}, "at most 32768"),
        ({"required_parameters": [{"name": str(n), "type": "STRING"} for n in range(257)]}, "at most 256"),
        ({"required_parameters": [{"name": None}]}, "no name"),
        ({"required_parameters": ["q"]}, "not a JSON object"),
        ({"optional_parameters": {"q": 1}}, "not a list"),
    ],
)
def test_a_document_that_cannot_be_kept_is_rejected_with_the_reason(changes: Mapping[str, Json], reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        parse_document(document(**changes))


def test_blank_and_missing_fields_are_no_obstacle() -> None:
    tool = parse_document({"category_name": "A", "tool_name": "B", "api_name": "C", "api_description": None})
    assert tool == Tool("A.B.C", "A", "B", "C", "", ())


def toolbench_file(**changes: Json) -> dict[str, Json]:
    return {
        "tool_name": "Riddles",
        "tool_description": "All about riddles",
        "title": "Riddles API",
        "home_url": "https://example.org",
        "api_list": [
            {
                "name": "random",
                "url": "https://example.org/r",
                "description": "A riddle",
                "method": "GET",
                "required_parameters": [{"name": "n", "type": "NUMBER", "default": "1"}],
                "optional_parameters": [],
                "code": "import requests",
                "body": "",
                "headers": "",
                "schema": {"riddle": "str"},
            },
            {"name": 5},
            {"name": "all", "description": ""},
            "junk",
        ],
    } | changes


def test_a_toolbench_file_yields_a_tool_for_each_api_and_a_reason_for_each_broken_one() -> None:
    good, unnamed, plain, junk = parse_documents(toolbench_file(), category="Fun")
    assert isinstance(good, Tool)
    assert good.name == "Fun.Riddles.random"
    assert good.description == "A riddle\n\nAll about riddles"
    assert good.response_schema == {"riddle": "str"}
    assert good.parameters[0].default == 1
    assert isinstance(plain, Tool)
    assert plain.description == "All about riddles"
    assert isinstance(unnamed, Refusal)
    assert "api_name" in unnamed.reason
    assert isinstance(junk, Refusal)


def test_a_category_in_the_document_wins_over_its_folder() -> None:
    first = next(iter(parse_documents(toolbench_file(category_name="Games"), category="Fun")))
    assert first.name == "Games.Riddles.random"


def test_an_empty_api_list_is_refused() -> None:
    (refused,) = parse_documents(toolbench_file(api_list=[]))
    assert isinstance(refused, Refusal)
    assert refused.name == "Riddles"
