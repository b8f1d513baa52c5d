"""OpenAPI documents become one tool an operation; two documents as they are in practice are in tests/data."""

from pathlib import Path

from app.catalogue.openapi import parse_documents
from app.catalogue.parse import parse
from app.catalogue.reader import SourceDocument, read_documents
from app.domain import Json, Parameter, Tool, ToolSource

DATA = Path(__file__).parents[1] / "data"


def read(name: str) -> Json:
    (document,) = read_documents(DATA / name)
    assert isinstance(document, SourceDocument)
    return document.raw


def tools(name: str) -> dict[str, Tool]:
    return {tool.api: tool for _, tool in parse(ToolSource.OPENAPI, [read(name)]).tools}


def parameters(tool: Tool) -> dict[str, Parameter]:
    return {each.name: each for each in tool.parameters}


def operation(**fields: Json) -> dict[str, Json]:
    return {"openapi": "3.0.1", "info": {"title": "T"}, "paths": {"/a": {"get": fields}}}


def test_operations_are_named_by_tag_title_and_id() -> None:
    assert [tool.name for tool in tools("library_openapi.yaml").values()] == [
        "Books.Lending Library.searchBooks",
        "Books.Lending Library.POST /books",
        "Books.Lending Library.replaceCover",
        "Lending Library.Lending Library.removeBook",
    ]


def test_deprecated_and_broken_operations_are_rejected_one_by_one() -> None:
    rejections = parse(ToolSource.OPENAPI, [read("library_openapi.yaml")]).rejections
    assert [(each.name.rsplit(".", 1)[1], each.index) for each in rejections] == [
        ("oldLoan", 0),
        ("broken", 0),
    ]
    assert rejections[0].reason == "deprecated"
    assert "'x' is not valid" in rejections[1].reason


def test_parameters_come_from_the_path_item_and_the_operation_without_keys() -> None:
    found = parameters(tools("library_openapi.yaml")["searchBooks"])
    assert list(found) == ["lang", "q", "limit", "published_after", "sort"]
    assert found["q"].required
    assert found["limit"].default == 20
    assert found["published_after"].default == "2001-01-01"
    assert found["sort"].schema == {"type": "string", "enum": ["title", "author", "year"]}
    assert found["lang"].default == "en"


def test_a_body_object_is_taken_apart_with_all_of_its_parts() -> None:
    found = parameters(tools("library_openapi.yaml")["POST /books"])
    assert list(found) == ["lang", "title", "copies"]
    assert found["title"].required
    assert not found["copies"].required


def test_a_body_that_is_no_object_is_one_parameter() -> None:
    (body,) = tools("parking_openapi.json")["reserve"].parameters
    assert body.name == "body"
    assert body.required
    assert body.schema["items"]["required"] == ["plate"]


def test_a_name_in_two_places_is_told_apart_by_its_place() -> None:
    assert list(parameters(tools("parking_openapi.json")["change"])) == ["id", "body.id", "plate", "from"]


def test_words_of_openapi_3_0_become_json_schema() -> None:
    found = parameters(tools("parking_openapi.json")["GET /garages/{garage}/spots"])
    assert found["level"].schema == {"type": ["integer", "null"], "exclusiveMinimum": 0}
    assert found["garage"].default == "P3"


def test_the_answer_of_success_is_the_response_schema_and_cycles_end() -> None:
    schema = tools("library_openapi.yaml")["searchBooks"].response_schema
    assert schema["items"]["properties"]["sequel"] == {}
    assert schema["items"]["required"] == ["id", "title"]


def test_documents_that_are_no_openapi_3_are_refused_with_what_to_do() -> None:
    for raw, reason in [
        ({"swagger": "2.0", "info": {"title": "Old"}}, "convert"),
        ({"openapi": "4.0", "info": {"title": "New"}}, "3.0 and 3.1"),
        ({"openapi": "3.0.0", "info": {}}, "info.title"),
        ({"openapi": "3.0.0", "info": {"title": "T"}, "paths": {}}, "no operations"),
        (operation(parameters=[{"name": "a"}]), "no name"),
        (operation(parameters="a"), "not a list"),
    ]:
        (refused,) = parse_documents(raw)
        assert not isinstance(refused, Tool)
        assert reason in refused.reason


def test_schemas_that_multiply_by_reference_stay_small() -> None:
    doubling = {
        f"S{n}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/components/schemas/S{n + 1}"} for side in "ab"},
        }
        for n in range(30)
    }
    raw = operation(
        responses={"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}}
    ) | {"components": {"schemas": doubling}}
    (tool,) = parse_documents(raw)
    assert isinstance(tool, Tool)
    assert len(str(tool.response_schema)) < 500_000
