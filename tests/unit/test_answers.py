"""What models write is read as the call it means, or refused by one of the paper's names for what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.reading import ErrorType, read_answer, write_answer
from app.answers.validation import ProblemKind, parameter_problems
from app.decision.filling import repair_parameters
from app.domain import AnswerStyle, Parameter, Tool
from app.errors import InvalidAnswer
from app.json_data.values import replace_unstorable

LABELS = ("A", "B", "C")


def tool(name: str, *parameters: Parameter) -> Tool:
    return Tool(name=name, category="", provider="", api="", description="", parameters=parameters)


FORECAST = tool(
    "Weather.Open Sky.Daily forecast",
    Parameter("city", {"type": "string"}, required=True),
    Parameter("days", {"type": "integer", "minimum": 1}),
    Parameter("hourly", {"type": "boolean"}),
    Parameter("tags", {"type": "array", "items": {"type": "string"}}),
)
BOOKS = tool("Books.Porch.Free books", Parameter("query", {"type": "string"}, required=True))
CLOCK = tool("clock")
TOOLS = (FORECAST, BOOKS, CLOCK)

CLOCK_CALL = '{"tool_name": "clock", "parameters": {}}'
CALL = '{"tool_name": "B Books.Porch.Free books", "parameters": {"query": "volcanoes"}}'


def read(text: str, **given: AnswerStyle) -> tuple[str, dict[str, Any]]:
    answer = read_answer(text, TOOLS, LABELS, **given)
    assert answer.text == text
    return answer.tool.name, answer.parameters


def kind_of(text: str) -> str:
    with pytest.raises(InvalidAnswer) as caught:
        read_answer(text, TOOLS, LABELS)
    assert caught.value.text == text
    caught.value.detail.encode()
    return caught.value.kind


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"```json\n{CALL}\n```",
        f"```\n{CALL}```",
        f"Sure! Here is the call:\n\n{CALL}\n\nLet me know {{if}} it's good.",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f'<think>Maybe {{"tool_name": "clock", "parameters": {{}}}}?</think>\n{CALL}',
        f"I think {{so}} and {{'this': 1}}, it's {CALL}",
        f"[{CALL}]",
        f"{{{CALL}}}",
        f'{CALL}\n{{"tool_name": "clock", "parameters": {{}}}}',
        f'The format is {{"tool_name": ..., "parameters": {{...}}}}, so {CALL}',
        f'{{"weather": "mild"}} {CALL}',
        f"Let me see: {{draft}} {CLOCK_CALL} or not?</think>{CALL}",
        f"<think>a {{'b' and \"c</think>{CALL}",
        f"<think>a</think>b</think>{CALL}",
        "{'tool_name': 'Books.Porch.Free books', 'parameters': {'query': 'volcanoes'}}",
        '{"tool_name": "Books.Porch.Free books", "parameters": {"query": "volcanoes",},}',
        '{"tool": "B", "parameters": {"query": "volcanoes"}}',
        '{"name": "Books.Porch.Free books", "arguments": {"query": "volcanoes"}}',
        '{"name": "Books.Porch.Free books", "arguments": "{\\"query\\": \\"volcanoes\\"}"}',
        '{"type": "function", "function": {"name": "B", "arguments": "{\\"query\\": \\"volcanoes\\"}"}}',
        '{"tool_calls": [{"function": {"name": "B", "arguments": {"query": "volcanoes"}}}]}',
        '{"tool_name": "<Books>.<Porch>.<Free books>", "parameters": {"query": "volcanoes"}}',
        '{"tool_name": "BOOKS.porch.Ｆree  books", "parameters": {"query": "volcanoes"}}',
        '{"tool_name": "B. Books.Porch.Free books", "parameters": {"query": "volcanoes"}}',
        '{"tool_name": "[B] Books.Porch.Free books", "parameters": {"query": "volcanoes"}}',
        '{"tool_name": "B Books.Porch.Free bokks", "parameters": {"query": "volcanoes"}}',
        '{"tool_name": "B", "parameters": {"query": "ash", "query": "volcanoes"}}',
    ],
)
def test_a_call_is_found_in_what_models_write(text: str) -> None:
    assert read(text) == (BOOKS.name, {"query": "volcanoes"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I cannot help with that.",
        "clock",
        "null",
        "[1, 2]",
        '{"answer": 42}',
        '{"name": "clock"}',
        '{"tool_name": 3, "parameters": {}}',
        '{"tool_name": "clock", "parameters": [1]}',
        '{"tool_name": "clock", "parameters": "tomorrow"}',
        '<think>{"tool_name": "clock", "parameters": {}}',
        "{clock}",
    ],
)
def test_a_text_without_a_call_has_an_invalid_format(text: str) -> None:
    assert kind_of(text) == ErrorType.INVALID_FORMAT


@pytest.mark.parametrize("before", ["", "So: ", "<think>Hm.</think>", "Hm.</think>", f"{{a}} {CLOCK_CALL}</think>"])
@pytest.mark.parametrize("value", ["</think>", f"a</think>{CLOCK_CALL}", "<think>", "<think></think>b"])
def test_the_end_of_a_thought_within_a_value_is_part_of_it(before: str, value: str) -> None:
    text = write_answer(BOOKS, {"query": value}, "B", AnswerStyle.LABELLED_NAME)
    assert read(before + text) == (BOOKS.name, {"query": value})


def test_a_thoughts_end_in_a_call_that_is_cut_off_begins_no_other() -> None:
    value = f"a</think>{CLOCK_CALL}".replace('"', "'")
    whole = write_answer(BOOKS, {"query": value}, "B", AnswerStyle.LABELLED_NAME)
    assert kind_of(whole[:-2]) == ErrorType.INVALID_FORMAT


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("'it's ok'", "it's ok"),
        ("'it\\'s \"ok\"'", 'it\'s "ok"'),
        ('"it\\\'s ok"', "it's ok"),
        ("'caf\\xe9, {True, None,}\\n'", "café, {True, None,}\n"),
        ("[True, False, None, 1.5,]", [True, False, None, 1.5]),
        ("{'a': 'None', }", {"a": "None"}),
    ],
)
def test_python_values_are_read_exactly(written: str, value: Any) -> None:
    assert read(f"{{'tool_name': 'clock', 'parameters': {{'x': {written}}}}}") == ("clock", {"x": value})


@pytest.mark.parametrize(
    "written",
    [
        "'he said 'no', then left'",
        "'a' 'b'",
        "'rock 'n' roll'",
        "'the dogs' bowl'",
        "it's",
        "'\\q'",
        "1,,",
        "1 'y': 2",
        "1 2",
        '"say "hi" now"',
        '"a ", " b"',
        "0x1F",
        "(1, 2)",
        "1 # one",
    ],
)
def test_a_value_that_can_only_be_guessed_is_refused(written: str) -> None:
    assert kind_of(f"{{'tool_name': 'clock', 'parameters': {{'x': {written}}}}}") == ErrorType.INVALID_FORMAT


@given(st.text(max_size=12), st.text("ab'\" ,:}]{", max_size=12))
def test_what_python_prints_is_read_back_or_refused(one: str, other: str) -> None:
    given_parameters = {"x": one, "y": [other, True, None]}
    try:
        answer = read_answer(str({"tool_name": "clock", "parameters": given_parameters}), TOOLS, LABELS)
    except InvalidAnswer:
        return
    assert answer.parameters == replace_unstorable(given_parameters)


def test_a_call_that_is_cut_off_is_never_guessed() -> None:
    for end in range(1, len(CALL)):
        assert kind_of(CALL[:end]) == ErrorType.INVALID_FORMAT
        assert kind_of(CALL.replace('"', "'")[:end]) == ErrorType.INVALID_FORMAT


@pytest.mark.parametrize(
    "name",
    [
        "Weather.Closed Sky.Daily forecast",
        "Books.Porch.Free book",
        "D",
        "",
        "A tool for books",
        "A nice clock",
        "Open Sky",
        "C Books.Porch.Free books",
        "A clock",
        "x" * 10_000,
        "half \ud800",
    ],
)
def test_a_tool_that_is_no_candidate_is_a_hallucination(name: str) -> None:
    assert kind_of(json.dumps({"tool_name": name, "parameters": {}})) == ErrorType.TOOL_HALLUCINATION
    assert kind_of(str({"tool_name": name, "parameters": {}})) == ErrorType.TOOL_HALLUCINATION


def test_a_hallucinated_call_is_not_made_good_by_another() -> None:
    assert kind_of('{"tool_name": "Nobody.Nowhere", "parameters": {}} ' + CALL) == ErrorType.TOOL_HALLUCINATION


def test_names_that_differ_only_in_case_are_told_apart() -> None:
    tools, labels = [tool("Clock"), tool("clock")], ["A", "B"]
    assert read_answer('{"tool_name": "clock"}', tools, labels).tool is tools[1]
    with pytest.raises(InvalidAnswer):
        read_answer('{"tool_name": "CLOCK"}', tools, labels)


def test_of_tools_with_one_name_the_label_decides() -> None:
    tools = [tool("clock"), tool("clock", Parameter("zone", {}))]
    assert read_answer('{"tool_name": "B clock"}', tools, ["A", "B"]).tool is tools[1]


def test_where_a_text_is_one_tools_name_and_anothers_label_the_style_decides() -> None:
    tools, labels = [tool("B"), tool("other")], ["A", "B"]
    assert read_answer('{"tool_name": "B"}', tools, labels, style=AnswerStyle.NAME).tool is tools[0]
    assert read_answer('{"tool_name": "B"}', tools, labels, style=AnswerStyle.LABEL).tool is tools[1]


def test_the_answer_says_what_is_wrong_with_its_parameters() -> None:
    text = '{"tool_name": "A", "parameters": {"days": 0, "town": "Oslo"}}'
    problems = read_answer(text, TOOLS, LABELS).problems
    assert [(problem.name, problem.kind) for problem in problems] == [
        ("town", ProblemKind.NAME_MISMATCH),
        ("city", ProblemKind.MISSING_VALUE),
        ("days", ProblemKind.WRONG_VALUE),
    ]


def test_every_kind_of_problem_is_an_error_type() -> None:
    assert {kind.value for kind in ProblemKind} | {"invalid_format", "tool_hallucination"} == set(ErrorType)


@pytest.mark.parametrize("written", ["null", '""', '"null"', "{}"])
def test_no_parameters_are_an_empty_object(written: str) -> None:
    assert read(f'{{"tool_name": "clock", "parameters": {written}}}') == ("clock", {})
    assert read('{"tool_name": "clock"}') == ("clock", {})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("NaN", None),
        ("-Infinity", None),
        ("1e999", None),
        ("9" * 5_000, None),
        ("9" * 30, int("9" * 30)),
        ('"\\ud83d\\udc4b"', "👋"),
        ('"half \\ud83d"', "half \ufffd"),
        ('"nul \\u0000"', "nul \ufffd"),
        ('"two\nlines"', "two\nlines"),
        ('{"\\ud800": ["\\udfff"]}', {"\ufffd": ["\ufffd"]}),
    ],
)
def test_values_are_such_as_can_be_stored(written: str, value: Any) -> None:
    assert read(f'{{"tool_name": "clock", "parameters": {{"x": {written}}}}}') == ("clock", {"x": value})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{" * 100_000,
        "{" * 100_000 + "}" * 100_000,
        '{"a":' * 100_000,
        '{"a":"' * 100_000,
        "{'a':'" * 100_000,
        "{" + "'" * 1_000_000,
        '{"' * 100_000,
        "{ " * 300_000,
        "{a}" * 300_000,
        "{'a': 1,}" * 100_000,
        "{" + "'a' 'b'" * 100_000 + "}",
        '{"tool_name": "A", "parameters": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"tool_name": "A", "parameters": "' + "[" * 100_000 + '"}',
        "\\" * 1_000_000,
        "<think>" * 100_000,
        "</think>" * 100_000,
        '{"a"}' * 100_000 + "</think>",
        '{"' + '</think>{"' * 100_000,
        "{'a': '</think>'} " * 50_000,
    ],
    ids=lambda text: f"{text[:12]}…",
)
def test_hostile_texts_are_refused(text: str) -> None:
    assert kind_of(text) == ErrorType.INVALID_FORMAT


def test_a_call_after_much_text_is_found() -> None:
    assert read("x'\"[ " * 200_000 + CALL) == (BOOKS.name, {"query": "volcanoes"})


@given(st.text(max_size=60) | st.text("{}[]\"':,\\ \nabtool_name123", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        read_answer(text, TOOLS, LABELS)


def pieces() -> st.SearchStrategy[str]:
    return st.sampled_from(
        [CALL[at : at + 9] for at in range(0, len(CALL), 9)] + ["{", "}", "'", '"', "\\", "</think>"]
    )


@settings(max_examples=300)
@given(st.lists(pieces(), max_size=14).map("".join))
def test_a_call_in_pieces_is_read_or_refused(text: str) -> None:
    try:
        tool = read_answer(text, TOOLS, LABELS).tool
    except InvalidAnswer:
        return
    assert tool in TOOLS
    assert '{"tool_nam' in text


def texts() -> st.SearchStrategy[str]:
    # Without what cannot be stored.
    return st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(texts(), each, max_size=3),
)


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=4, unique=True),
    st.dictionaries(texts(), values, max_size=4),
    st.sampled_from(AnswerStyle),
    st.integers(0, 3),
)
def test_what_is_written_is_read_back(names: list[str], given: dict[str, Any], style: AnswerStyle, at: int) -> None:
    labels = ["A", "B", "C", "D"][: len(names)]
    tools = [tool(name, *(Parameter(key, {}) for key in sorted(given))) for name in names]
    at %= len(names)
    answer = read_answer(write_answer(tools[at], given, labels[at], style), tools, labels, style=style)
    assert (answer.tool, answer.parameters) == (tools[at], given)


def test_parameters_are_written_in_the_documents_order_and_unknown_ones_last() -> None:
    given = {"zone": 1, "tags": ["é"], "city": "Oslo"}
    text = write_answer(FORECAST, given, "A", AnswerStyle.LABEL)
    assert text == '{"tool_name":"A","parameters":{"city":"Oslo","tags":["é"],"zone":1}}'


def test_a_number_that_json_does_not_have_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_answer(CLOCK, {"x": float("nan")}, "C", AnswerStyle.NAME)


def mended(parameters: dict[str, Any], **extracted: Any) -> tuple[dict[str, Any], list[str]]:
    text = json.dumps({"tool_name": "A", "parameters": parameters})
    return repair_parameters(read_answer(text, TOOLS, LABELS), extracted)


def test_valid_parameters_stay_as_they_are_in_the_documents_order() -> None:
    assert mended({"days": 3, "city": "Oslo"}, city="Rome") == ({"city": "Oslo", "days": 3}, [])


def test_unknown_names_and_wrong_optional_values_are_dropped() -> None:
    assert mended({"city": "Oslo", "town": "Oslo", "days": 0, "tags": [1]}, days=3) == ({"city": "Oslo"}, [])


@pytest.mark.parametrize(
    ("name", "value", "read_as"),
    [
        ("days", "5", 5),
        ("days", " 5 ", 5),
        ("days", 5.0, 5),
        ("hourly", "True", True),
        ("hourly", "false", False),
        ("city", 5, "5"),
        ("city", 0.5, "0.5"),
        ("city", True, "true"),
        ("tags", '["a", "b"]', ["a", "b"]),
    ],
)
def test_values_of_another_json_type_are_read_without_loss(name: str, value: Any, read_as: Any) -> None:
    assert mended({"city": "Oslo", name: value})[0][name] == read_as


@pytest.mark.parametrize(
    ("name", "value"), [("days", "five"), ("days", "0"), ("days", 1.5), ("hourly", 1), ("tags", "a")]
)
def test_values_that_would_lose_something_are_not_read(name: str, value: Any) -> None:
    assert name not in mended({"city": "Oslo", name: value})[0]


@pytest.mark.parametrize("parameters", [{}, {"city": None}, {"city": ["Oslo"]}])
def test_a_required_value_comes_from_the_instruction_where_the_model_has_none(parameters: dict[str, Any]) -> None:
    assert mended(parameters, city="Rome") == ({"city": "Rome"}, [])
    assert mended(parameters, city=None) == ({}, ["city"])
    assert mended(parameters) == ({}, ["city"])


@given(st.dictionaries(st.sampled_from(["city", "days", "hourly", "tags", "x"]), values, max_size=5), values)
def test_mended_parameters_are_valid_but_for_what_is_missing(parameters: dict[str, Any], city: Any) -> None:
    kept, missing = mended(parameters, city=city)
    assert [(each.name, each.kind) for each in parameter_problems(FORECAST, kept)] == [
        (name, ProblemKind.MISSING_VALUE) for name in missing
    ]
