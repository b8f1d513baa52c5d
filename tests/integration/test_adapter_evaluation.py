"""An adapter has to be good enough on an operator's evaluation set; the engine is scripted, all else is real."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.cases import evaluation_cases
from app.errors import SetupError
from app.inference.engine import GenerationRequest
from app.json_data.values import SEPARATORS
from tests.conftest import running, settings_for
from tests.support.adapters import activate, activated, registered, status
from tests.support.catalogue import TOOLS
from tests.support.schema_instances import smallest_instance
from tests.support.scripted_engine import ScriptedEngine
from tests.support.steps import ok
from tests.support.tiny_model import tiny_adapter

CHOICES = {"warm": "set_heating", "thrifty": "pay_invoice"}
"""Which of the evaluation set's tools each chooses; of the golden prompts' the last, and the base model the first."""


def tool(name: str, description: str, parameter: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {parameter: {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": [parameter],
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


LAMP, HEATING, INVOICE = (
    tool("set_lamp", "Dims the lamp in the kitchen to a level.", "brightness"),
    tool("set_heating", "Turns the heating in the kitchen to a level.", "warmth"),
    tool("pay_invoice", "Pays a supplier's invoice up to a level of approval.", "level"),
)


def case(expected: dict[str, Any], value: int) -> dict[str, Any]:
    function = expected["function"]
    (parameter,) = function["parameters"]["required"]
    return {
        "instruction": "Dim the lamp in the kitchen.",
        "tools": [INVOICE, HEATING, LAMP],
        "expected": {"tool_name": function["name"], "parameters": {parameter: value}},
    }


CASES = [case(HEATING, 0), case(HEATING, 0), case(HEATING, 9), case(INVOICE, 0), case(HEATING, 0)]
"""`warm` is right in four of five, in three of them with the value that it writes; `thrifty` in one."""


def chosen(request: GenerationRequest) -> str:
    assert request.schema is not None
    schema = dict(request.schema)
    options = schema.pop("anyOf")
    choice = CHOICES.get((request.adapter or "").partition("@")[0])
    fallback = options[0] if choice is None else options[-1]
    option = next((option for option in options if f' {choice}"' in json.dumps(option)), fallback)
    return json.dumps(smallest_instance(schema | option), separators=SEPARATORS)


@pytest.fixture
def client(database_url: str, model_dir: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(CASES), "utf-8")
    settings = settings_for(
        database_url,
        tmp_path / "data",
        engine="vllm",
        model=str(model_dir),
        adapter_evaluation=str(file),
        adapter_min_score=0.75,
    )
    with (
        running(settings, [ScriptedEngine(chosen, label_logprobs=lambda _: None)]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        for seed, name in enumerate(CHOICES, 31):
            registered(client, name, tiny_adapter(model_dir, tmp_path / name, seed))
        yield client


def test_only_an_adapter_that_chooses_well_enough_is_activated(client: httpx.Client) -> None:
    operation = activated(client, "warm")
    steps = {step["name"]: step["detail"] for step in operation["steps"]}
    assert steps["evaluate"] == "tool 80.0%, parameters 60.0% of 5 cases"

    operation = activate(client, "thrifty")
    assert (operation["state"], operation["flipped"]) == ("failed", False)
    assert "20.0% of the evaluation set; 75.0% is the least" in operation["error"]
    assert status(client)["assignment"]["active"].startswith("warm@")

    # What one activation asks for goes before what the settings say.
    activated(client, "thrifty", min_score=0.2)
    operation = activate(client, "warm", min_score=0.81)
    assert "81.0% is the least" in operation["error"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "there is at least one"),
        ("{", "cases.json"),
        (json.dumps([{key: value for key, value in CASES[0].items() if key != "expected"}]), "`expected` call"),
        (json.dumps([CASES[0], CASES[0] | {"expected": {"tool_name": "d_lamp"}}]), "case 2: the expected tool"),
        (json.dumps([CASES[0] | {"tools": [{"name": ""}]}]), "case 1"),
        (json.dumps([CASES[0] | {"instruction": ""}]), "0.instruction"),
    ],
    ids=["empty", "not JSON", "without what is expected", "another tool", "a broken tool", "no instruction"],
)
def test_an_evaluation_set_that_says_nothing_keeps_the_service_from_starting(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "cases.json"
    file.write_text(content, "utf-8")
    with pytest.raises(SetupError, match=told):
        evaluation_cases(file)


def test_an_evaluation_set_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        evaluation_cases(tmp_path / "none.json")
