"""Checks schemas and values that others wrote by JSON Schema (Draft 2020-12): nothing is fetched, nothing runs long."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import time
from functools import lru_cache
from time import perf_counter
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, SchemaError, validators
from jsonschema.exceptions import UnknownType, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from app.domain import Json

PATTERN_SECONDS = 0.02
"""Most seconds for one pattern and one text; where it takes longer, the text does not match."""
VALUE_SECONDS = 0.1
"""Most seconds for all patterns together, for one value."""
MAX_PATTERN = 2_000
"""Characters of a pattern that is checked; a longer pattern matches every text."""
SCHEMA = frozenset(
    {
        *("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"),
        *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
    }
)
"""Keywords whose value is a schema."""
SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""
SCHEMA_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose value is an object of schemas."""
REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id"})
"""Keywords that make a validator look elsewhere, or change its rules."""
_SHOWN = 80
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_REGISTRY: Registry[Any] = Registry()


def schema_problem(schema: Json) -> str | None:
    """Why values cannot be checked against the schema: it is not valid, or holds a reference; None where they can.

    Raises RecursionError for a schema that is nested too deep.
    """
    if _holds_reference(schema):
        return "it holds a reference"
    if _is_surely_valid(schema):
        return None
    # The meta-schema takes several hundred times as long, and tells what is wrong.
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return error.message
    return None


def make_validator(schema: Mapping[str, Json], *, formats: bool) -> Validator:
    """The validator of a schema without a `schema_problem`; with `formats`, it checks `format`, too.

    It leaves out `unevaluatedItems` and `unevaluatedProperties`, as their cost grows without bound.
    """
    checker = _format_checker() if formats else None
    return _Draft(schema, registry=_REGISTRY, format_checker=checker)  # type: ignore[no-any-return]


def first_problem(validator: Validator, value: Json) -> str | None:
    """The first reason why the value breaks the schema, or cannot be checked; None where it fits."""
    try:
        with _value_allowance():
            error: ValidationError | None = next(validator.iter_errors(value), None)
        if error is None:
            return None
        return error.message if len(error.message) <= 300 else f"{_shown(value)} breaks its {error.validator}"
    except _OutOfTime as out_of_time:
        return str(out_of_time)
    except (ArithmeticError, ValueError):
        return "a number in it is too large to be checked"
    except RecursionError:
        return "it is nested too deep to be checked"
    except (UnknownType, Unresolvable):
        return None


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


# Whether a schema is valid: as the meta-schema says, in a fraction of its time.


def _holds_reference(schema: Json) -> bool:
    if not isinstance(schema, dict):
        return False
    return not REFERENCES.isdisjoint(schema) or any(
        _holds_reference(inner) for key, value in schema.items() for inner in _subschemas(key, value)
    )


def _subschemas(key: str, value: Json) -> Iterator[Json]:
    """The schemas in the value of a schema's keyword."""
    if key in SCHEMA:
        yield value
    elif key in SCHEMA_LISTS and isinstance(value, list):
        yield from value
    elif key in SCHEMA_MAPS and isinstance(value, dict):
        yield from value.values()


def _is_surely_valid(schema: Json) -> bool:
    """Whether the schema is surely valid; False also for some valid ones, with keywords that documents rarely have."""
    if isinstance(schema, bool):
        return True
    return isinstance(schema, dict) and all(
        isinstance(key, str)
        and (key not in _KEYWORDS or _KEYWORDS[key](value))
        and all(_is_surely_valid(inner) for inner in _subschemas(key, value))
        for key, value in schema.items()
    )


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_boolean(value: Json) -> bool:
    return isinstance(value, bool)


def _is_list(value: Json) -> bool:
    return isinstance(value, list)


def _is_non_empty_list(value: Json) -> bool:
    return isinstance(value, list) and len(value) > 0


def _is_map(value: Json) -> bool:
    return isinstance(value, dict)


def _are_names(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value) and len(set(value)) == len(value)


def _is_type(value: Json) -> bool:
    names = [value] if isinstance(value, str) else value
    return _are_names(names) and len(names) > 0 and _TYPES.issuperset(names)


def _is_regex(value: Json) -> bool:
    return isinstance(value, str) and is_pattern(value)


def is_pattern(text: str) -> bool:
    """Whether the text is a regular expression that Python can read."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


_KEYWORDS: Mapping[str, Callable[[Json], bool]] = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _is_count),
    **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("title", "description", "format", "contentMediaType", "contentEncoding", "$comment"), _is_text),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _is_boolean),
    **dict.fromkeys(("enum", "examples"), _is_list),
    **dict.fromkeys(SCHEMA_LISTS, _is_non_empty_list),
    **dict.fromkeys(SCHEMA_MAPS, _is_map),
    "patternProperties": lambda value: isinstance(value, dict) and all(_is_regex(each) for each in value),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "pattern": _is_regex,
    "required": _are_names,
    "type": _is_type,
    "dependentRequired": lambda value: isinstance(value, dict) and all(_are_names(each) for each in value.values()),
    # Left to the meta-schema.
    **dict.fromkeys(("$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "dependencies"), lambda _: False),
}


# Patterns with a time limit.


class _OutOfTime(Exception):
    """The patterns of a value took too long."""


@dataclass
class _Allowance:
    """The time that is left for patterns."""

    seconds: float


_allowance: ContextVar[_Allowance | None] = ContextVar("pattern time", default=None)


@contextmanager
def limit_pattern_seconds(seconds: float) -> Iterator[None]:
    """Limits the time for patterns of all values checked inside, beside the limit of each one (`VALUE_SECONDS`)."""
    token = _allowance.set(_Allowance(seconds))
    try:
        yield
    finally:
        _allowance.reset(token)


@contextmanager
def _value_allowance() -> Iterator[None]:
    shared = _allowance.get()
    own = _Allowance(VALUE_SECONDS if shared is None else min(VALUE_SECONDS, shared.seconds))
    granted = own.seconds
    token = _allowance.set(own)
    try:
        yield
    finally:
        _allowance.reset(token)
        if shared is not None:
            shared.seconds -= granted - own.seconds


def _matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text; a pattern that `regex` cannot read is found in every text.

    Raises _OutOfTime where the time for patterns is used up.
    """
    allowance = _allowance.get() or _Allowance(PATTERN_SECONDS)
    if len(pattern) > MAX_PATTERN:
        return True
    late = f"{_shown(text)} could not be matched against {_shown(pattern)} in time"
    if allowance.seconds <= 0:
        # Reading the pattern would take time, too.
        raise _OutOfTime(late)
    started = perf_counter()
    try:
        return regex.search(pattern, text, timeout=min(PATTERN_SECONDS, allowance.seconds)) is not None
    except TimeoutError:
        raise _OutOfTime(late) from None
    except (regex.error, RecursionError):
        return True
    finally:
        allowance.seconds -= perf_counter() - started


def _check_pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{_shown(instance)} does not match {_shown(pattern)}")


def _check_pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _check_additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict) or allowed is True:
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name not in named and not any(_matches(pattern, name) for pattern in patterns):
            if allowed is False:
                yield ValidationError(f"Additional properties are not allowed ({_shown(name)} was unexpected)")
            else:
                yield from validator.descend(value, allowed, path=name)


def _check_unique_items(_validator: Any, unique: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list):
        seen = {json.dumps(_canonical(item), sort_keys=True) for item in instance}
        if len(seen) < len(instance):
            yield ValidationError(f"{_shown(instance)} has non-unique elements")


def _canonical(value: Json) -> Json:
    """The value with 1.0 as 1, which are equal to JSON Schema wherever they stand."""
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_nothing(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Iterator[ValidationError]:
    yield from ()


_Draft: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _check_pattern,
        "patternProperties": _check_pattern_properties,
        "additionalProperties": _check_additional_properties,
        "uniqueItems": _check_unique_items,
        "unevaluatedItems": _check_nothing,
        "unevaluatedProperties": _check_nothing,
    },
)


@lru_cache(maxsize=1)
def _format_checker() -> FormatChecker:
    """The formats that are checked; `time` is RapidAPI's, HH:MM with or without seconds."""
    checker = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))

    @checker.checks("time", raises=ValueError)
    def is_time(instance: object) -> bool:
        return not isinstance(instance, str) or time.fromisoformat(instance) is not None

    return checker
