"""Texts as JSON and PostgreSQL can hold them, and names as both grammar libraries can write them."""

import re

from app.domain import Json
from app.tool_names import alias as alias
from app.tool_names import is_writable as is_writable

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Json) -> Json:
    """The value with U+FFFD for what neither UTF-8 nor PostgreSQL can hold: half surrogate pairs and NUL."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return value
