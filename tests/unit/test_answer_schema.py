"""Under an answer's schema even a model that knows nothing writes a call to one of the tools, and comes to an end."""

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.reading import read_answer, write_answer
from app.answers.schema import answer as answer_schemas
from app.answers.schema.answer import LONGEST_BOUND, SHORTEST_BOUND, answer_schema, items_bound, text_bound
from app.answers.schema.patterns import REPETITIONS, bounded_pattern
from app.answers.validation import ProblemKind, value_problem
from app.catalogue.parse import parse
from app.domain import AnswerStyle, Parameter, Tool, ToolSource
from app.json_data import json_schemas
from app.json_data.tool_names import alias
from tests.support.grammars import accepts, complaints, longest, stubbornly, uniformly, written
from tests.support.rapidapi import read_documents

ROOT = Path(__file__).parents[2]
LABELS = "ABCDEFGHIJ"
NAME, LABELLED = AnswerStyle.NAME, AnswerStyle.LABELLED_NAME


def tool(*parameters: Parameter, name: str = "Weather.Sky.forecast") -> Tool:
    return Tool(name=name, category="", provider="", api="", description="", parameters=parameters)


def of(schema: Any, **given: str) -> dict[str, Any]:
    """The answer's schema for a tool with one required parameter x."""
    return answer_schema([tool(Parameter("x", schema, required=True))], ["A"], LABELLED, **given)


def allows(schema: Any, value: Any, **given: str) -> bool:
    call = write_answer(tool(Parameter("x", schema, required=True)), {"x": value}, "A", LABELLED)
    return accepts(of(schema, **given), call)


def problems_of_walks(schema: dict[str, Any], tools: Sequence[Tool], seeds: range) -> Iterator[tuple[str, str]]:
    """Kinds and reasons, of texts that chance and a stubborn model write."""
    limit = longest(schema)
    assert limit < math.inf
    for choose in [stubbornly, *map(uniformly, seeds)]:
        for problem in read_answer(written(schema, choose, limit), tools, LABELS).problems:
            yield problem.kind, problem.reason


def real_tools(folder: Path) -> list[Tool]:
    return [each for _, each in parse(ToolSource.RAPIDAPI, read_documents(folder)).tools]


def demo_tools() -> list[Tool]:
    files = sorted((ROOT / "app" / "demo" / "catalogue").glob("*.json"))
    return [each for file in files for _, each in parse(None, json.loads(file.read_text("utf-8"))).tools]


def openapi_tools() -> list[Tool]:
    library = yaml.safe_load((ROOT / "tests" / "data" / "library_openapi.yaml").read_text("utf-8"))
    parking = json.loads((ROOT / "tests" / "data" / "parking_openapi.json").read_text("utf-8"))
    return [each for document in (library, parking) for _, each in parse(None, [document]).tools]


def windows(tools: Sequence[Tool], size: int) -> Iterator[Sequence[Tool]]:
    for start in range(0, len(tools), size):
        yield tools[start : start + size]


def test_the_answer_names_the_tool_first_and_its_parameters_in_the_documents_order() -> None:
    schema = answer_schema([tool(Parameter("b", {"type": "boolean"}), Parameter("a", {"type": "null"}))], ["C"], NAME)
    assert list(schema["properties"]) == ["tool_name", "parameters"]
    assert list(schema["properties"]["parameters"]["properties"]) == ["b", "a"]
    assert accepts(schema, '{"tool_name":"Weather.Sky.forecast","parameters":{"b":true,"a":null}}')
    assert not accepts(schema, '{"tool_name":"Weather.Sky.forecast","parameters":{"a":null,"b":true}}')


@pytest.mark.parametrize(
    ("style", "name"), [(NAME, "Weather.Sky.forecast"), (LABELLED, "C Weather.Sky.forecast"), (AnswerStyle.LABEL, "C")]
)
def test_the_style_decides_how_the_tool_is_named(style: AnswerStyle, name: str) -> None:
    schema = answer_schema([tool()], ["C"], style)
    assert accepts(schema, json.dumps({"tool_name": name, "parameters": {}}, separators=(",", ":")))


def test_only_a_tools_own_parameters_go_with_its_name() -> None:
    one, other = tool(Parameter("a", {"type": "null"}), name="One"), tool(Parameter("b", {"type": "null"}), name="Two")
    schema = answer_schema([one, other], ["A", "B"], NAME)
    assert accepts(schema, '{"tool_name":"Two","parameters":{"b":null}}')
    assert not accepts(schema, '{"tool_name":"Two","parameters":{"a":null}}')
    assert not accepts(schema, '{"tool_name":"Three","parameters":{}}')


def test_a_required_parameter_cannot_be_left_out() -> None:
    assert not accepts(of({"type": "null"}), '{"tool_name":"A Weather.Sky.forecast","parameters":{}}')


@pytest.mark.parametrize(("tools", "labels"), [([], []), ([tool()], []), ([tool()], ["A", "B"])])
def test_tools_without_labels_are_refused(tools: list[Tool], labels: list[str]) -> None:
    with pytest.raises(ValueError, match="labels"):
        answer_schema(tools, labels, NAME)


def test_the_same_tools_give_the_same_bytes() -> None:
    def schema() -> str:
        return json.dumps(answer_schema(openapi_tools(), list(LABELS)[: len(openapi_tools())], LABELLED))

    assert schema() == schema()


def test_a_longer_instruction_allows_longer_texts_in_few_steps() -> None:
    assert {text_bound(length) for length in range(10_000)} == {256, 512, 1024, 2048}
    assert all(text_bound(length) >= length for length in range(LONGEST_BOUND))
    assert not allows({"type": "string"}, "x" * (SHORTEST_BOUND + 1))
    assert allows({"type": "string"}, "x" * (SHORTEST_BOUND + 1), instruction="i" * (SHORTEST_BOUND + 1))


def test_a_longer_instruction_allows_more_items_in_few_steps() -> None:
    assert {items_bound(length) for length in range(10_000)} == {16, 32, 64, 128}
    assert all(items_bound(length) >= length // 4 for length in range(512))
    array = {"type": "array", "items": {"type": "integer"}}
    assert not allows(array, [1] * 17)
    assert allows(array, [1] * 50, instruction="i" * 200)


@pytest.mark.parametrize("instruction", ["plain", 'say "hi"', "a\\b", "two\nlines"])
def test_texts_have_a_length_and_hold_any_character_whatever_the_instruction_holds(instruction: str) -> None:
    text = {"type": "string", "maxLength": 20}
    assert longest(of(text, instruction=instruction)) < math.inf
    assert allows(text, instruction, instruction=instruction)
    assert not allows(text, "x" * 21, instruction=instruction)


def test_a_tool_is_written_once_for_instructions_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_schemas, "_cache", answer_schemas._SchemaCache(10**6, 10**5))
    one, other = tool(Parameter("x", {"type": "string"})), tool(Parameter("x", {"type": "string"}))
    parts = [of_tool(one), of_tool(one, instruction="i"), of_tool(other), of_tool(one, instruction="i" * 300)]
    assert parts[0] is parts[1]
    assert parts[2] is not parts[0]
    assert parts[2] == parts[0] != parts[3]


def of_tool(given: Tool, **more: str) -> Any:
    return answer_schema([given], ["A"], LABELLED, **more)["properties"]["parameters"]


def test_schemas_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = answer_schemas._SchemaCache(50_000, 5_000)
    monkeypatch.setattr(answer_schemas, "_cache", kept)
    small = [tool(Parameter("x", {"enum": ["a" * 1_000, str(n)]})) for n in range(100)]
    schemas = [of_tool(each) for each in small]
    assert 1 < kept._entries.currsize <= 50_000
    assert of_tool(small[-1]) is schemas[-1]
    assert of_tool(small[0]) is not schemas[0]
    large = tool(Parameter("x", {"enum": ["a" * 6_000]}))
    assert of_tool(large) is not of_tool(large)


def test_tools_from_many_threads_get_their_own_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_schemas, "_cache", answer_schemas._SchemaCache(20_000, 5_000))

    def right(n: int) -> bool:
        # A tool that nobody else keeps, so that ids come again.
        return list(of_tool(tool(Parameter(f"p{n}", {"type": "null"})))["properties"]) == [f"p{n}"]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(2_000)))


def test_an_enum_makes_one_validator_however_many_members_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def counted(schema: dict[str, Any], *, formats: bool) -> Any:
        made.append(schema)
        return original(schema, formats=formats)

    original = json_schemas.make_validator
    monkeypatch.setattr(json_schemas, "make_validator", counted)
    words = [f"w{n}" for n in range(490)]
    assert of_tool(tool(Parameter("x", {"type": "string", "description": "d", "enum": [*words, 1]})))["properties"] == {
        "x": {"enum": words}
    }
    assert made == []
    assert of_tool(tool(Parameter("x", {"type": "string", "maxLength": 2, "enum": words})))["properties"] == {
        "x": {"enum": words[:10]}
    }
    assert made == [{"type": "string", "maxLength": 2}]


@given(
    st.lists(
        st.none()
        | st.booleans()
        | st.integers(-9, 9)
        | st.sampled_from(["", 0.5, 2.0, (), {}]).map(lambda each: [] if each == () else each),
        min_size=1,
    ),
    st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"]),
)
def test_members_are_those_that_the_type_allows(members: list[Any], kind: str) -> None:
    schema = {"type": kind, "enum": members}
    fitting = [value for value in members if value_problem(schema, value) is None]
    (written_as,) = of_tool(tool(Parameter("x", schema)))["properties"].values()
    assert all(any(value == each for each in written_as["enum"]) for value in fitting or members)
    if fitting:
        assert all(value_problem(schema, each) is None for each in written_as["enum"])


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"type": "string"}, ["", 'say "hi"\\\n\t', "日本 👋", "\x7f\x01 \u2028"], [1, None]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc", '""'], ["a", "abcd"]),
        ({"type": "string", "minLength": 300}, ["x" * 300, "x" * 600], ["x" * 299, "x" * 601]),
        ({"type": "string", "minLength": 300, "maxLength": 400}, ["x" * 300, "x" * 400], ["x" * 299, "x" * 401]),
        ({"type": "string", "enum": ["a", "b", 1]}, ["a", "b"], ["c", 1]),
        ({"enum": ["a", 1, 2.5, None, True, {"k": [1]}]}, ["a", 1, 2.5, None, True, {"k": [1]}], ["c", 2, False]),
        ({"const": "only"}, ["only"], ["other"]),
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 10}, [1, 9], [0, 10, 1.5]),
        ({"type": "integer", "minimum": 0.5, "maximum": 2.5}, [1, 2], [0, 3]),
        ({"type": "integer"}, [0, -(2**62), 1_740_000_000_000_000_001], [1.5]),
        ({"type": "number", "minimum": 0, "maximum": 1}, [0, 0.5, 1, 0.333333333], [1.5, -0.1, 0.3333333333]),
        ({"type": "number", "exclusiveMinimum": 0}, [0.5, 10**18], [0, -1]),
        ({"type": "boolean"}, [True, False], ["true", 1]),
        ({"type": ["integer", "null"], "exclusiveMinimum": 0}, [None, 1], [0, "1"]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
        ({"type": "array", "items": {"type": "null"}}, [[], [None] * 16], [[None] * 17, [1]]),
        ({"type": "array", "minItems": 20}, [["a"] * 20, ["a"] * 40], [["a"] * 19, ["a"] * 41]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"type": "null"}]}, [[1, None]], [[1], [None, 1]]),
        ({}, ["a", 1, 1.5, None, True], [[], {}]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, [1, None], ["a"]),
        ({"type": "string", "oneOf": [{"enum": ["a"]}, {"type": "integer"}]}, ["a"], ["b", 1]),
        ({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, ["a", "b"], ["c"]),
    ],
)
def test_values_are_those_of_the_document(schema: dict[str, Any], allowed: list[Any], refused: list[Any]) -> None:
    assert complaints(of(schema)) == []
    assert [value for value in allowed if not allows(schema, value)] == []
    assert [value for value in refused if allows(schema, value)] == []


def test_objects_are_closed_and_have_what_they_require() -> None:
    schema = {
        "type": "object",
        "properties": {"lat": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["lat", "undeclared"],
    }
    assert allows(schema, {"lat": 1.5, "tags": ["a"], "undeclared": "b"})
    assert not allows(schema, {"tags": ["a"], "undeclared": "b"})
    assert not allows(schema, {"lat": 1.5, "undeclared": "b", "more": 1})


def test_an_object_without_declared_properties_takes_a_few() -> None:
    assert allows({"type": "object"}, {"colour": "red", "size": 3})
    assert not allows({"type": "object"}, dict.fromkeys("abcde"))
    assert allows({"type": "object", "additionalProperties": False}, {})
    assert not allows({"type": "object", "additionalProperties": False}, {"a": 1})


FORMATS = {
    "date": (["2024-02-29", "2000-02-29", "0001-01-31"], ["2023-02-29", "1900-02-29", "2024-04-31", "0000-01-01"]),
    "time": (["09:30", "23:59:59", "12:00:00.5+02:00", "12:00Z"], ["24:00", "9:30", "12:60"]),
    "ipv4": (["127.0.0.1", "255.255.255.255"], ["256.0.0.1", "01.0.0.1", "1.2.3"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
    "email": (["ann@example.org", "é@b"], ["ann", "a b@c"]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_written_as_the_validator_wants_them(name: str) -> None:
    schema = {"type": "string", "format": name}
    allowed, refused = FORMATS[name]
    assert [value for value in allowed if not allows(schema, value) or value_problem(schema, value)] == []
    assert [value for value in refused if allows(schema, value)] == []
    assert list(problems_of_walks(of(schema), [tool(Parameter("x", schema))], range(30))) == []


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("^([01][0-9]|2[0-3]):[0-5][0-9]$", ["09:30"], ["9:30", "24:00"]),
        (r"^\+?[1-9]\d{1,14}$", ["+4912345", "12"], ["+0123", "1"]),
        ("^[a-z0-9-]+$", ["a-b", "x" * REPETITIONS], ["", "A"]),
        (r"^[^@\s]+@.+$", None, None),
        ("^[^@]{1,60}@[^@]{1,60}$", ["a@b", "é@é"], ["a", "@b", "a@b@c"]),
        (r"^(?:[A-Z]{3}|\d{2,})$", ["ABC", "12", "1" * REPETITIONS], ["AB", "1"]),
        (r"^a\.b/c\-d(e|f)*$", ["a.b/c-d", "a.b/c-deff"], ["axb/c-d"]),
        ("^.{0,99}$", ["", "anything"], ["two\nlines"]),
        ("^$", [""], ["a"]),
        # Left to the check afterwards.
        *[
            (p, None, None)
            for p in ("^.*$", "[a-z]+", "^a", "a$", "^a|b$", "^(?=a).$", r"^(a)\1$", "^(?i:a)$", "^a+?$")
        ],
        *[(p, None, None) for p in (r"^\bword$", r"^\p{L}+$", '^"$', r"^\\$", "^[^\\w]$", "^a\n$")],
        *[(p, None, None) for p in ("^(a{1,50}){1,50}$", "^a{300}$", "^a{3,1}$", "^(((a)$", "^[a$", "^" + "a" * 300)],
    ],
)
def test_a_documents_pattern_is_kept_where_it_can_be_followed(
    pattern: str, allowed: list[str] | None, refused: list[str] | None
) -> None:
    assert (bounded_pattern(pattern, 256) is None) == (allowed is None)
    schema = {"type": "string", "pattern": pattern}
    assert complaints(of(schema)) == []
    assert [value for value in allowed or ["anything"] if not allows(schema, value)] == []
    assert [value for value in refused or () if allows(schema, value)] == []
    if allowed is not None:
        assert list(problems_of_walks(of(schema), [tool(Parameter("x", schema))], range(10))) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1},
        {"type": "number", "minimum": 1, "maximum": 1},
        {"type": "number", "minimum": 10**17, "maximum": 10**17 + 16},
        {"type": "number", "minimum": 0.1, "maximum": 0.1000001},
        {"type": "number", "minimum": 1e-9, "maximum": 2e-9},
        {"type": "number", "minimum": 1e300, "maximum": 1e301},
        {"type": "integer", "minimum": 10**30},
        {"type": "string", "minLength": 9, "maxLength": 3},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**6},
        {"type": "object", "minProperties": 3, "maxProperties": 1},
        {"type": "string", "enum": []},
        {"type": "string", "enum": [1, 2]},
        {"enum": [1e300, "\ud800"]},
        {"enum": [str(n) for n in range(5000)]},
        {"enum": [{"type": "integer", "multipleOf": 2}, {"patternProperties": {}}]},
        {"not": {}},
        {"type": "nonsense"},
        {"type": []},
        {"$ref": "#/nowhere"},
        {"pattern": "("},
        {"type": "array", "items": False},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "properties": {"\ud800": {}, "patternProperties": {}}},
        {"anyOf": [False, {"type": "string"}]},
        {"type": "string", "anyOf": [{"type": "integer"}]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
    ],
)
def test_a_schema_that_hardly_any_value_meets_still_has_an_end(schema: dict[str, Any]) -> None:
    assert complaints(of(schema)) == []
    written(of(schema), uniformly(0), 10**5)


def nested(levels: int, width: int) -> dict[str, Any]:
    if levels == 0:
        return {"type": "string"}
    inner = {f"p{at}": nested(levels - 1, width) for at in range(width)}
    return {"type": "array", "items": {"type": "object", "properties": inner, "required": ["p0"]}}


@pytest.mark.parametrize(("levels", "width"), [(90, 1), (3, 13), (1, 3000)])
def test_a_schema_that_is_nested_deep_or_wide_is_cut(levels: int, width: int) -> None:
    answer = of(nested(levels, width))
    assert complaints(answer) == []
    assert len(json.dumps(answer)) < 200_000
    assert longest(answer) < math.inf


def test_what_a_grammar_cannot_say_is_left_to_the_validator() -> None:
    schema = {"type": "array", "items": {"type": "integer", "multipleOf": 2}, "uniqueItems": True}
    text = write_answer(tool(Parameter("x", schema)), {"x": [3, 3]}, "A", LABELLED)
    assert accepts(of(schema), text)
    problems = read_answer(text, [tool(Parameter("x", schema))], ["A"]).problems
    assert [problem.kind for problem in problems] == [ProblemKind.WRONG_VALUE]


def test_every_real_tool_has_a_grammar(documents_folder: Path) -> None:
    tools = real_tools(documents_folder)
    assert [each.name for each in tools if complaints(answer_schema([each], ["A"], NAME))] == []


def test_ten_real_tools_together_have_a_grammar(documents_folder: Path) -> None:
    every = [*real_tools(documents_folder), *demo_tools(), *openapi_tools()]
    for candidates in windows(every, 10):
        schema = answer_schema(candidates, LABELS[: len(candidates)], LABELLED)
        assert complaints(schema) == []


def test_what_chance_writes_for_real_tools_is_a_valid_call(documents_folder: Path) -> None:
    tools = real_tools(documents_folder)
    open_ended = 0
    for candidates in islice(windows(tools[::7], 5), 60):
        schema = answer_schema(candidates, LABELS[: len(candidates)], LABELLED)
        if longest(schema) == math.inf:
            open_ended += 1
            continue
        assert list(problems_of_walks(schema, candidates, range(2))) == []
    assert open_ended <= 2


@pytest.mark.parametrize("tools", [demo_tools()[::10], openapi_tools()], ids=["demo", "openapi"])
def test_what_chance_writes_for_our_documents_is_a_valid_call(tools: list[Tool]) -> None:
    for each in tools:
        schema = answer_schema([each], ["A"], LABELLED)
        assert list(problems_of_walks(schema, [each], range(3))) == []


def test_calls_with_the_documents_own_defaults_can_be_written(documents_folder: Path) -> None:
    refused = []
    for each in [*real_tools(documents_folder)[::2], *demo_tools()[::4]]:
        given = {p.name: p.default for p in each.parameters if p.default is not None}
        required = [p for p in each.parameters if p.required and p.name not in given]
        fits = all(value_problem(p.schema, p.default) is None for p in each.parameters if p.name in given)
        short = all(round(v, 9) == v if isinstance(v, float) else len(str(v)) <= SHORTEST_BOUND for v in given.values())
        if (
            fits
            and short
            and not required
            and not accepts(answer_schema([each], ["A"], LABELLED), write_answer(each, given, "A", LABELLED))
        ):
            refused.append((each.name, given))
    assert refused == []


names = st.text(max_size=20) | st.sampled_from(
    [
        "",
        '"',
        "\\",
        "\x00",
        "\ud800",
        "\udfff\ud800x",
        "$ref",
        "$defs",
        "type",
        "patternProperties",
        "é",
        "e\u0301",
        "\x7f",
    ]
)


@settings(max_examples=50, deadline=None)
@given(st.lists(names, min_size=1, max_size=4, unique=True), st.lists(names, max_size=4, unique=True))
def test_any_names_are_written_and_read_back_exactly(tool_names: list[str], parameter_names: list[str]) -> None:
    parameters = [Parameter(name, {"type": "null"}, required=True) for name in parameter_names]
    tools = [tool(*parameters, name=name) for name in tool_names]
    labels = LABELS[: len(tools)]
    for style in AnswerStyle:
        schema = answer_schema(tools, labels, style)
        assert complaints(schema) == []
        for each, label in zip(tools, labels, strict=True):
            text = write_answer(each, dict.fromkeys(parameter_names), label, style)
            assert accepts(schema, text)
            answer = read_answer(text, tools, labels, style=style)
            assert (answer.tool, answer.parameters) == (each, dict.fromkeys(parameter_names))
            assert answer.problems == ()


def test_only_names_that_no_grammar_can_write_have_an_alias() -> None:
    assert [alias(name) for name in ("", "a b", '"\\\x00👋')] == ["", "a b", '"\\\x00👋']
    assert alias("half \ud800") != alias("half \ud801")
    assert alias("half \ud800").startswith("half_")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
values = st.recursive(scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=3))
KEYWORDS = [
    *("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength"),
    *("maxLength", "pattern", "format", "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    *("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties", "not"),
    *("anyOf", "oneOf", "allOf", "if", "then", "dependentRequired", "propertyNames", "nullable", "$ref", "default"),
]
TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"]
junk = st.dictionaries(st.sampled_from(KEYWORDS), values, max_size=4)
counts = st.integers(0, 400)
bounds = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)


def sound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas that are valid, if seldom sensible."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, max_size=3),
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), bounds),
            **dict.fromkeys(
                ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), counts
            ),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=3),
            "properties": st.dictionaries(names, inner, max_size=3),
            "required": st.lists(names, max_size=3, unique=True),
            "additionalProperties": inner | st.booleans(),
            **dict.fromkeys(("anyOf", "oneOf", "allOf"), st.lists(inner, min_size=1, max_size=3)),
            "format": st.sampled_from(["date", "email", "uri", "x"]),
            "pattern": st.sampled_from(["^a+$", "x", "^[^b]*$", "^(a|b){2}$"]),
            "not": inner,
            "multipleOf": st.sampled_from([1, 2.5]),
        },
    )


schemas = (
    st.recursive(st.just({}) | sound(st.just({"type": "string"})), lambda inner: sound(inner), max_leaves=6) | junk
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(schemas, st.booleans()), min_size=1, max_size=3), st.integers(0, 99))
def test_whatever_a_document_says_its_tool_can_be_called(given: list[tuple[dict[str, Any], bool]], seed: int) -> None:
    called = tool(*(Parameter(f"p{at}", schema, required) for at, (schema, required) in enumerate(given)))
    schema = answer_schema([called], ["A"], LABELLED)
    assert complaints(schema) == []
    answer = read_answer(written(schema, uniformly(seed), min(longest(schema), 10**5)), [called], ["A"])
    assert {problem.kind for problem in answer.problems} <= {ProblemKind.WRONG_VALUE}
