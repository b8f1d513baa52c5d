"""Values for the parameters of other people's documents, and the words for them."""

import re
from collections.abc import Mapping
from random import Random

from app.answers.validation import value_problem
from app.domain import Json, Parameter
from app.extraction.profile import parameter_kind
from app.retrieval.texts import split_name
from training.generators.values import Value, make_value

_KINDS: Mapping[str, str] = {
    "url": "url", "email": "email", "ip": "ip", "phone": "phone", "latitude": "latitude", "longitude": "longitude",
    "zip": "postal_code", "year": "year", "date": "date", "time": "time", "hashtag": "hashtag", "user": "username",
    "color": "color", "domain": "domain", "ticker": "ticker", "airport": "airport", "count": "count", "text": "text",
    "query": "topic", "place": "city", "currency": "currency",
}  # fmt: skip
"""Kinds of parameters (`app.extraction.profile`) by kinds of values."""
_CODES = {"language": ("language", "language_code"), "country": ("country", "country_code")}
_LABELS = {"q": "query", "s": "search term", "lang": "language", "num": "number", "cc": "country code", "dt": "date"}
_LONGEST_SAID = 80
_PATTERN = re.compile(r"(?:YYYY|YY|MM|DD)(?:[-/. ]?(?:YYYY|YY|MM|DD)){2}", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"<.*>|\{.*\}|string|text|none|null|n/a|x+", re.IGNORECASE)
_SHAPED = re.compile(r"[\w./:-]*\d[\w./:-]*")


def value_of(parameter: Parameter, random: Random) -> Value | None:
    """A value that the parameter's schema allows, and how a person says it; None where nothing suits."""
    schema = parameter.schema
    for value in (_made(parameter, random), _example(parameter, random), _default(parameter), _any(parameter, random)):
        if value is not None and value_problem(schema, value.value) is None and len(value.said) <= _LONGEST_SAID:
            return value
    return None


def is_known(parameter: Parameter) -> bool:
    """Whether the document shows what values it takes: an optional one that it does not is better left out."""
    return parameter.default is not None or "enum" in parameter.schema or bool(_KINDS.get(_kind(parameter)))


def label(parameter: Parameter) -> str:
    """The parameter's name as one would say it."""
    words = split_name(parameter.name).lower()
    return _LABELS.get(words, words) or parameter.name


def _made(parameter: Parameter, random: Random) -> Value | None:
    members = parameter.schema.get("enum")
    if isinstance(members, list) and members:
        return _plain(random.choice(members))
    if parameter.schema.get("type") == "boolean":
        return Value(True, "")
    kind = _kind(parameter)
    if kind == "date" and isinstance(parameter.default, str) and _PATTERN.fullmatch(parameter.default):
        return _dated(parameter.default, random)
    if kind in _CODES:
        name, code = _CODES[kind]
        kind = code if len(str(parameter.default or "")) == 2 else name
    else:
        kind = _KINDS.get(kind, "")
    if not kind or not _like(kind, parameter.default):
        return None
    made = make_value(kind, random)
    # Half of real documents declare numbers as text.
    return Value(str(made.value), made.said) if parameter.schema.get("type") == "string" else made


def _kind(parameter: Parameter) -> str:
    return parameter_kind(
        tuple(split_name(parameter.name).lower().split()),
        str(parameter.schema.get("type")),
        parameter.schema,
        parameter.description,
        "" if parameter.default is None else str(parameter.default),
    )


def _dated(pattern: str, random: Random) -> Value:
    """A day in the form that stands in place of an example: DD-MM-YYYY."""
    year, month, day = str(make_value("date", random).value).split("-")
    text = pattern.upper()
    for letters, digits in (("YYYY", year), ("YY", year[2:]), ("MM", month), ("DD", day)):
        text = text.replace(letters, digits)
    return _plain(text)


def _like(kind: str, default: Json) -> bool:
    """Whether the document's own example could be of this kind: what it shows wins over what a name suggests."""
    if default is None or not isinstance(default, str):
        return True
    if kind == "date":
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", default) is not None
    if kind in ("city", "country", "topic", "text"):
        return not any(character.isdigit() for character in default)
    if kind in ("ticker", "currency", "airport"):
        return default.isupper()
    if kind == "language":
        return len(default) > 3
    return True


def _example(parameter: Parameter, random: Random) -> Value | None:
    """The document's example with other digits: ids and codes keep their shape."""
    default = parameter.default
    if isinstance(default, bool) or default is None:
        return None
    if isinstance(default, int):
        return (
            _plain(max(1, round(default * random.uniform(0.5, 1.6))))
            if abs(default) < 10_000
            else _redrawn(default, random)
        )
    if isinstance(default, float):
        return _plain(round(default * random.uniform(0.6, 1.4), 2))
    if isinstance(default, str) and _SHAPED.fullmatch(default) and len(default) > 2:
        return _plain("".join(random.choice("123456789") if each.isdigit() else each for each in default))
    return None


def _redrawn(number: int, random: Random) -> Value:
    digits = "".join(random.choice("123456789") for _ in str(abs(number)))
    return _plain(int(digits))


def _default(parameter: Parameter) -> Value | None:
    default = parameter.default
    if not isinstance(default, str | int | float) or isinstance(default, bool):
        return None
    return None if _PLACEHOLDER.fullmatch(str(default).strip(" '\"")) or not str(default).strip() else _plain(default)


def _any(parameter: Parameter, random: Random) -> Value | None:
    """Something of the type; nothing for arrays and objects, of which a name says too little."""
    kind = {"integer": "count", "number": "count", "string": "id"}.get(str(parameter.schema.get("type")))
    return make_value(kind, random) if kind else None


def _plain(value: Json) -> Value:
    return Value(value, str(value))
