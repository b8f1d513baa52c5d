"""vLLM's grammar backends take the schemas of real tools, and let the right calls be written under them."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.answers.reading import write_answer
from app.answers.schema.answer import answer_schema
from app.answers.validation import value_problem
from app.domain import AnswerStyle, Parameter, Tool
from tests.unit.test_answer_schema import LABELS, demo_tools, openapi_tools, real_tools, tool, windows
from tests.vllm.conftest import PYTHON

SCRIPT = Path(__file__).parent / "xgrammar_accepts.py"
STYLE = AnswerStyle.LABELLED_NAME


def failures(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = "".join(f"{json.dumps(case)}\n" for case in cases)
    done = subprocess.run([PYTHON, SCRIPT], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *failed, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["cases"] == len(cases)
    return failed


def case(tools: Sequence[Tool], *given: dict[str, Any]) -> dict[str, Any]:
    """The tools' schema, and a call to each with these parameters."""
    labels = LABELS[: len(tools)]
    calls = zip(tools, given, labels, strict=True)
    return {
        "schema": answer_schema(tools, labels, STYLE, instruction="i" * 2_000),
        "texts": [write_answer(each, parameters, label, STYLE) for each, parameters, label in calls],
    }


def example(parameter: Parameter) -> Iterator[Any]:
    """Values to try, the document's own first."""
    yield from ([] if parameter.default is None else [parameter.default])
    yield from parameter.schema.get("enum", ())
    yield from ("it's 日本 👋/", 1, True, [], {}, None, "2024-02-29", "09:30", [{"plate": "x"}])


def call_of(called: Tool) -> dict[str, Any]:
    fitting = {p.name: [v for v in example(p) if value_problem(p.schema, v) is None] for p in called.parameters}
    # xgrammar ends a number after six decimals.
    return {
        name: round(values[0], 6) if isinstance(values[0], float) else values[0]
        for name, values in fitting.items()
        if values
    }


def test_vllm_takes_the_schemas_of_all_real_tools_and_lets_the_right_calls_be_written(shared: Path) -> None:
    every = [*real_tools(shared), *demo_tools(), *openapi_tools()]
    failed = failures([case(window, *map(call_of, window)) for window in windows(every, 10)])
    # Some documents' own values hold line ends and quotes.
    assert [each for each in failed if each.get("backend") != "xgrammar" or "\\" not in each.get("text", "")] == []


def test_objects_that_differ_in_the_order_or_names_of_their_properties_are_told_apart() -> None:
    cases = []
    for names in [("title", "x"), ("x", "description"), ("default", "examples"), ("type", "enum")]:
        one, other = (Parameter(name, {"type": "null"}) for name in names)
        tools = [tool(), tool(one, name="One"), tool(one, other, name="Two"), tool(other, one, name="Turned")]
        both = dict.fromkeys(names)
        cases.append(case(tools, {}, {names[0]: None}, both, both))
    assert failures(cases) == []


def test_names_of_any_characters_can_be_written() -> None:
    names = ["", '"', "\\", "\x00\n", "é 👋\u2028", "\ud800", "\x7f", "$ref", "patternProperties", "properties", "::="]
    cases = []
    for at, name in enumerate(names):
        given = dict.fromkeys((name, names[at - 1]))
        tools = [tool(*(Parameter(each, {"type": "null"}) for each in given), name=name), tool(name=names[at - 2])]
        cases.append(case(tools, given, {}))
    assert failures(cases) == []


def test_a_text_holds_any_character_and_under_xgrammar_any_that_json_does_not_escape() -> None:
    text = tool(Parameter("x", {"type": "string"}))
    plain, escaped = case([text], {"x": "it's 日本 👋/" + "x" * 200}), case([text], {"x": 'two\nlines of "text" \\'})
    failed = failures([plain, escaped])
    assert [(each["case"], each["backend"], each["text"]) for each in failed] == [(1, "xgrammar", escaped["texts"][0])]


def test_bounds_that_a_document_asks_for_are_kept_by_both() -> None:
    schemas = [
        {"type": "string", "minLength": 300},
        {"type": "string", "minLength": 4_096},
        {"type": "array", "items": {"type": "integer"}, "minItems": 128},
    ]
    tools = [tool(Parameter("x", schema, required=True), name=f"t{at}") for at, schema in enumerate(schemas)]
    given: list[dict[str, Any]] = [{"x": "x" * 600}, {"x": "x" * 8_192}, {"x": [1] * 256}]
    assert failures([case(tools, *given)]) == []
