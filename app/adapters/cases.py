"""Cases that an adapter is tried on: the golden prompts that ship, and an operator's evaluation set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.catalogue.parse import parse
from app.domain import HistorySetting, Interaction, Json, Rating, Tool, ToolCall
from app.errors import SetupError


@dataclass(frozen=True)
class Case:
    """An instruction of a user with a history, and candidates."""

    instruction: str
    setting: HistorySetting
    history: tuple[Interaction, ...]
    tools: tuple[Tool, ...]
    expected: ToolCall | None
    """None where only the answer's form is of interest."""


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tool_name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Past(BaseModel):
    model_config = ConfigDict(extra="forbid")

    instruction: str
    tool_call: _Call
    rating: Rating | None = None
    occurred_at: AwareDatetime


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1)
    history_setting: HistorySetting = HistorySetting.NONE
    history: list[_Past] = Field(default_factory=list)
    tools: list[Any] = Field(min_length=1, max_length=50)
    expected: _Call | None = None


_cases = TypeAdapter(list[_Case])


def golden_cases() -> list[Case]:
    """What ships: calls of few and bounded parameters, so that even a model that knows nothing ends its answer."""
    return _parsed(files("app.adapters").joinpath("golden.json").read_bytes(), "golden.json")


def evaluation_cases(path: Path) -> list[Case]:
    """An operator's file: a JSON array like golden.json's, each case with the `expected` call.

    SetupError tells what is wrong with it.
    """
    try:
        cases = _parsed(path.read_bytes(), str(path))
    except OSError as error:
        raise SetupError(f"PETOOL_ADAPTER_EVALUATION={path} cannot be read: {error.strerror}.") from error
    if not cases or any(case.expected is None for case in cases):
        raise SetupError(f"{path}: every case of an evaluation set has an `expected` call, and there is at least one.")
    return cases


def _parsed(content: bytes, name: str) -> list[Case]:
    try:
        return [_case(given, f"{name}, case {number}") for number, given in enumerate(_cases.validate_json(content), 1)]
    except ValidationError as error:
        fault = error.errors()[0]
        raise SetupError(f"{name}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}.") from error


def _case(given: _Case, name: str) -> Case:
    tools = _tools(given.tools, name)
    expected = None if given.expected is None else ToolCall(given.expected.tool_name, given.expected.parameters)
    if expected is not None and expected.tool_name not in {tool.name for tool in tools}:
        raise SetupError(f"{name}: the expected tool {expected.tool_name!r} is none of its tools.")
    history = [
        Interaction(past.instruction, ToolCall(past.tool_call.tool_name, past.tool_call.parameters),
                    past.occurred_at.astimezone(UTC), past.rating)
        for past in given.history
    ]  # fmt: skip
    return Case(
        given.instruction,
        given.history_setting,
        tuple(sorted(history, key=_when)),
        tuple(tools),
        expected,
    )


def _when(interaction: Interaction) -> datetime:
    return interaction.occurred_at


def _tools(documents: Sequence[Json], name: str) -> list[Tool]:
    parsed = parse(None, documents)
    if parsed.rejections:
        raise SetupError(f"{name}: {json.dumps(parsed.rejections[0].name)}: {parsed.rejections[0].reason}")
    return [tool for _, tool in parsed.tools]
