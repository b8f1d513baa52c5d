"""Checks whether a tool's document allows a call's parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from jsonschema.protocols import Validator

from app.domain import Json, Tool
from app.json_data import json_schemas

_SHOWN = 80


class ProblemKind(StrEnum):
    """The paper's error types that concern parameters."""

    NAME_MISMATCH = "parameter_name_mismatch"
    """The tool has no such parameter."""
    MISSING_VALUE = "missing_value"
    """A required parameter is not there."""
    WRONG_VALUE = "wrong_value"
    """The value breaks the parameter's JSON Schema."""


@dataclass(frozen=True)
class ParameterProblem:
    """What is wrong with one parameter of a call."""

    name: str
    kind: ProblemKind
    reason: str
    """A sentence for people."""


def parameter_problems(tool: Tool, parameters: Mapping[str, Json]) -> list[ParameterProblem]:
    """Everything that is wrong with a call's parameters, unknown names first; empty where they are valid.

    A parameter whose schema is itself not valid, or holds a reference, takes every value.
    """
    known = {parameter.name: parameter for parameter in tool.parameters}
    problems = [
        ParameterProblem(name, ProblemKind.NAME_MISMATCH, f"{tool.name} has no parameter {_shown(name)}")
        for name in parameters
        if name not in known
    ]
    for name, parameter in known.items():
        if name not in parameters:
            if parameter.required:
                problems.append(ParameterProblem(name, ProblemKind.MISSING_VALUE, f"{name} is required"))
            continue
        reason = value_problem(parameter.schema, parameters[name])
        if reason is not None:
            problems.append(ParameterProblem(name, ProblemKind.WRONG_VALUE, f"{name}: {reason}"))
    return problems


def value_problem(schema: Mapping[str, Json], value: Json) -> str | None:
    """Why the value breaks the schema; None where it fits, or the schema cannot be used."""
    if not schema:
        return None
    validator = _validator(json.dumps(dict(schema), default=str))
    return None if validator is None else json_schemas.first_problem(validator, value)


@lru_cache(maxsize=8192)
def _validator(schema_json: str) -> Validator | None:
    """The schema's validator; None where the schema is not valid, or holds a reference."""
    schema = json.loads(schema_json)
    if json_schemas.schema_problem(schema) is not None:
        return None
    return json_schemas.make_validator(schema, formats=True)


def _shown(value: Json) -> str:
    """The value as a Python literal of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
