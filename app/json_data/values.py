"""JSON values: how prompts and answers write them, which of them can be stored, and the memory they take."""

import re
from collections.abc import Mapping

from app.domain import Json

SEPARATORS = (",", ":")
"""Separators for `json.dumps`, without spaces: the grammars allow none, so that a weak model cannot write spaces until
it is cut off. Prompts are written alike, so that what a model copies has the same tokens."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that UTF-8 or PostgreSQL cannot hold: halves of surrogate pairs, and NUL."""
_VALUE_BYTES = 64
"""Bytes of a Python object with its place in another one."""


def replace_unstorable(value: Json) -> Json:
    """The value with U+FFFD for each character that is `UNSTORABLE`."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [replace_unstorable(each) for each in value]
    if isinstance(value, dict):
        return {replace_unstorable(key): replace_unstorable(each) for key, each in value.items()}
    return value


def value_size(value: Json) -> int:
    """Bytes of memory, roughly, of a JSON value of any depth; an object that stands in it twice counts once."""
    total = 0
    seen: set[int] = set()
    left = [value]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += _VALUE_BYTES
        if isinstance(each, str):
            total += text_size(each)
        elif isinstance(each, int):
            total += each.bit_length() // 8
        elif isinstance(each, Mapping):
            left.extend(each.keys())
            left.extend(each.values())
        elif isinstance(each, list | tuple):
            left.extend(each)
    return total


def text_size(text: str) -> int:
    """Bytes of memory, roughly, of a text's characters, without the Python object around them."""
    return len(text) * (1 if text.isascii() else 4)
