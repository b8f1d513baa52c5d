"""Whether a call's parameters are ones that its tool's document allows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from functools import lru_cache
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, SchemaError, validators
from jsonschema.exceptions import UnknownType, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from app.domain import Json, Tool

PATTERN_SECONDS = 0.02
"""A document's own pattern gets this long for one value; one that needs longer does not match."""
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
    name: str
    kind: ProblemKind
    reason: str
    """A sentence for people."""


def invalid_parameters(tool: Tool, parameters: Mapping[str, Json]) -> list[ParameterProblem]:
    """Everything wrong with a call's parameters, unknown names first; empty where they are valid.

    A schema that is itself not valid, or refers to something that is not in it, allows every value.
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
    """Why the value breaks the schema; None where it does not."""
    if not schema:
        return None
    validator = _validator(_key(schema))
    if validator is None:
        return None
    try:
        error: ValidationError | None = next(validator.iter_errors(value), None)
    except (UnknownType, Unresolvable, RecursionError):
        return None
    if error is None:
        return None
    return error.message if len(error.message) <= 300 else f"{_shown(value)} breaks its {error.validator}"


def _key(schema: Mapping[str, Json]) -> str:
    return json.dumps(dict(schema), default=str)


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


@lru_cache(maxsize=8192)
def _validator(schema_json: str) -> Validator | None:
    """None where the schema is not a valid one. References outside the schema are never fetched."""
    schema = json.loads(schema_json)
    try:
        _Draft.check_schema(schema)
    except SchemaError:
        return None
    return _Draft(schema, registry=Registry(), format_checker=_formats())  # type: ignore[no-any-return]


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Any:
    """jsonschema's keyword, with a time limit: a document's pattern is not ours and may backtrack without end."""
    if not isinstance(instance, str):
        return
    try:
        if not regex.search(pattern, instance, timeout=PATTERN_SECONDS):
            yield ValidationError(f"{_shown(instance)} does not match {_shown(pattern)}")
    except TimeoutError:
        yield ValidationError(f"{_shown(instance)} could not be matched against {_shown(pattern)} in time")
    except regex.error:
        return


_Draft: Any = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


@lru_cache(maxsize=1)
def _formats() -> FormatChecker:
    """The formats that are checked. `time` is RapidAPI's: HH:MM, with or without seconds."""
    checker = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))

    @checker.checks("time", raises=ValueError)
    def is_time(instance: object) -> bool:
        return not isinstance(instance, str) or time.fromisoformat(instance) is not None

    return checker
