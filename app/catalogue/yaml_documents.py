"""Reads YAML as JSON values: keys are text, dates stay text, and aliases cannot multiply without end."""

import re
from collections.abc import Iterator

import yaml

from app.catalogue.checks import MAX_DEPTH
from app.domain import Json

MAX_VALUES = 2_000_000
"""Values of one document with its aliases followed: a few lines of aliases to aliases can stand for billions."""


class _Loader(yaml.SafeLoader):
    """Safe, with a date as the text it is in JSON, and only `true` and `false` as booleans (YAML 1.2)."""


_Loader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
    ]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def yaml_documents(text: str) -> Iterator[Json]:
    """The documents of a YAML text. Raises ValueError for what is not YAML, or has no place in JSON."""
    try:
        for document in yaml.load_all(text, _Loader):
            if document is not None:
                yield _Converter().convert(document, 0)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error


class _Converter:
    """Converts one document, and counts its values."""

    def __init__(self) -> None:
        self._values = 0

    def convert(self, value: Json, depth: int) -> Json:
        """The value as JSON. Raises ValueError beyond `MAX_VALUES` or `MAX_DEPTH`, or for what JSON does not have."""
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError("the YAML document is too large or too deep once its aliases are followed")
        if isinstance(value, dict):
            return {_key(key): self.convert(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list):
            return [self.convert(each, depth + 1) for each in value]
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError(f"the YAML document holds a {type(value).__name__}, which JSON does not have")


def _key(key: Json) -> str:
    """A key as JSON's text: status codes are written as numbers."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError("the YAML document has a key that is no text")
