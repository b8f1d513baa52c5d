"""Tools' documents in the prompt, from all there is to the bare minimum."""

import json
import weakref
from typing import Any

import pytest

from app.domain import Json, Parameter, Tool
from app.json_data.tool_names import alias
from app.prompting.documents import Detail, DocumentWriter
from app.prompting.formats import FORMATS, Listing, format_named
from app.prompting.text import SegmentEncoder
from tests.support.prompting_cases import FORECAST, parameters_of, tool
from tests.support.prompting_models import tokenizer_of

details = pytest.mark.parametrize("detail", Detail)
formats = pytest.mark.parametrize("name", FORMATS)


def words(number: int) -> str:
    return " ".join(f"word{each}" for each in range(number))


DEFAULT = " ".join(f"default{each}" for each in range(20))
MOOD = Parameter("mood", {"type": "string", "enum": [f"m{each}" for each in range(30)]}, False, words(40), DEFAULT)
RICH = tool(
    "Weather.Provider.Forecast",
    Parameter("city", {"type": "string"}, True, f"required {words(40)}"),
    MOOD,
    description=f"tool {words(80)}",
    response={f"field {each}": "str" for each in range(20)},
)


def writer(name: str) -> DocumentWriter:
    return DocumentWriter(SegmentEncoder(tokenizer_of("tiny"), 1_000_000), format_named(name))


def written(of: Tool, detail: Detail = Detail.FULL, name: str = "published-1") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(writer(name).segment(of, detail).text)
    return document


def levels_with(text: str) -> set[Detail]:
    return {detail for detail in Detail if text in json.dumps(written(RICH, detail))}


def test_each_level_of_detail_leaves_out_what_it_says() -> None:
    long = {Detail.FULL, Detail.WITHOUT_RESPONSES}
    short = {Detail.SHORT_OPTIONAL, Detail.SHORT}
    assert levels_with("field 19") == {Detail.FULL}
    assert levels_with("m29") == levels_with("default19") == long
    assert levels_with("word79") == long | {Detail.SHORT_OPTIONAL}
    assert levels_with("required word0") == long | short
    assert levels_with("tool word0") == long | short | {Detail.BRIEF}
    assert levels_with('"m0"') == long | short | {Detail.BRIEF}


@formats
@details
def test_names_types_and_required_marks_are_in_every_level(name: str, detail: Detail) -> None:
    document = written(RICH, detail, name)
    assert document["tool_name"] == RICH.name
    found = parameters_of(document)
    if format_named(name).listing is Listing.TERSE:
        # What values there are stands behind the type.
        (kind, required), members = found["mood"], [f"m{each}" for each in range(30)]
        assert kind in {"string"} | {f"string {'|'.join(members[:shown])}" for shown in (4, 8, 20, 30)}
        found["mood"] = "string", required
    assert found == {"city": ("string", True), "mood": ("string", False)}


@details
def test_the_terse_listing_has_of_a_document_its_parameters_as_type_and_description(detail: Detail) -> None:
    document = written(RICH, detail, "terse-1")
    assert list(document) == ["tool_name", "required", "optional"]
    kind, _, description = document["required"]["city"].partition("; ")
    assert kind == "string"
    assert len(description) <= 90
    described = detail not in (Detail.BRIEF, Detail.NAMES)
    assert description.startswith("required word0 word1" if described else "")
    assert bool(description) is described
    assert ("m0|m1|m2|m3" in document["optional"]["mood"]) is (detail is not Detail.NAMES)


@formats
def test_less_detail_has_fewer_tokens(name: str) -> None:
    tokens = [writer(name).segment(RICH, detail).tokens for detail in Detail]
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[-1] < tokens[0] / 4


def test_a_short_document_is_the_same_down_to_the_level_without_descriptions() -> None:
    same = {writer("labelled-1").segment(FORECAST, detail).text for detail in list(Detail)[:4]}
    assert len(same) == 1


def test_a_description_is_one_line_and_a_blank_one_is_left_out() -> None:
    assert written(tool("A.b.c", description="  two\n\n\tlines  "))["description"] == "two lines"
    assert "description" not in written(tool("A.b.c", description=" \n "))


def test_types_are_found_where_the_schema_has_them() -> None:
    schemas: dict[str, Json] = {
        "plain": {"type": "integer"},
        "several": {"type": ["string", "null"]},
        "choice": {"anyOf": [{"type": "string"}, {"type": "number"}, {"const": 1}]},
        "one": {"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "time"}]},
        "nothing": {},
        "junk": {"type": {"not": "a type"}},
        "long": {"type": "x" * 1_000},
        "none": {"type": [], "anyOf": "no list"},
    }
    of = tool("A.b.c", *(Parameter(name, schema) for name, schema in schemas.items()))
    for detail in (Detail.FULL, Detail.NAMES):
        types = {name: type_ for name, (type_, _) in parameters_of(written(of, detail)).items()}
        assert types == {
            "plain": "integer",
            "several": ["string", "null"],
            "choice": ["string", "number"],
            "one": "string",
            "nothing": "any",
            "junk": "any",
            "long": "x" * 19 + "…",
            "none": "any",
        }


def test_a_parameter_with_only_a_type_is_written_as_its_type() -> None:
    document = written(tool("A.b.c", Parameter("q", {"type": "string"}, True)), name="brief-1")
    assert document == {"tool_name": "A.b.c", "required": {"q": "string"}}


def test_nested_schemas_keep_their_structure_as_deep_as_there_is_room() -> None:
    inner = {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "number", "minimum": 0}}}}
    schema = {"type": "object", "properties": {"a": inner}, "required": ["a"], "title": "noise", "x-vendor": "noise"}
    of = tool("A.b.c", Parameter("body", schema, True))

    def body(detail: Detail) -> Json:
        return written(of, detail, "labelled-1")["required"]["body"]

    assert body(Detail.FULL) == {"type": "object", "properties": {"a": inner}, "required": ["a"]}
    assert body(Detail.BRIEF) == {"type": "object", "properties": {"a": {"type": "object"}}, "required": "…"}
    assert body(Detail.NAMES) == "object"


def test_a_schema_s_keyword_does_not_take_the_parameter_s_name() -> None:
    of = tool("A.b.c", Parameter("real", {"type": "string", "name": "fake", "required": True}, False))
    (entry,) = written(of)["optional_parameters"]
    assert entry["name"] == "real"
    assert list(written(of, name="labelled-1")["optional"]) == ["real"]


def test_schemas_nested_without_end_and_values_that_are_no_json_are_written() -> None:
    deep: Json = {"type": "object"}
    for _ in range(50_000):
        deep = {"type": "object", "properties": {"next": deep}, "anyOf": [deep]}
    odd = Parameter("odd", {"enum": [float("nan"), 10**5_000], "x": {1: {2, 3}}}, default=float("inf"))
    of = tool("A.b.c", Parameter("deep", deep, default=[[[[[[[[1]]]]]]]]), odd, response=deep)
    for detail in Detail:
        assert parameters_of(written(of, detail)) == {"deep": ("object", False), "odd": ("any", False)}


def test_tools_that_came_one_after_the_other_at_the_same_address_are_not_mixed_up() -> None:
    one = writer("labelled-1")
    names = {one.segment(tool(f"A.b.{number}"), Detail.FULL).text for number in range(1_000)}
    assert len(names) == 1_000


def test_tools_given_inline_are_not_held_without_bound() -> None:
    one = writer("labelled-1")
    # Short in the prompt, large in the memory: what the format leaves out counts too.
    given = [tool(f"A.b.{number}", response={"x": "y" * 1_000_000}) for number in range(200)]
    held = [weakref.ref(each) for each in given]
    for each in given:
        one.segment(each, Detail.FULL)
    newest = given[-1]
    assert one.cached(newest, Detail.FULL) is not None
    del given, each
    assert 1 < sum(each() is not None for each in held) < 70


def test_a_tool_too_large_to_be_held_is_written_each_time() -> None:
    one, huge = writer("labelled-1"), tool("A.b.c", response="y" * 70_000_000)
    assert one.segment(huge, Detail.FULL) == one.segment(huge, Detail.FULL)
    assert one.cached(huge, Detail.FULL) is None


@formats
@details
def test_names_that_no_grammar_can_write_have_their_alias_in_every_level(name: str, detail: Detail) -> None:
    odd = ["patternProperties", "a\x7fb", "\udc00"]
    of = tool("A.b.\x7f", *(Parameter(each, {"type": "string"}, number == 1) for number, each in enumerate(odd)))
    document = written(of, detail, name)
    assert document["tool_name"] == alias(of.name) != of.name
    assert set(parameters_of(document)) == {alias(each) for each in odd}
    assert set(parameters_of(document)).isdisjoint(odd)
