"""JSON values: how answers write them, what of them can be stored, what memory they take."""

import re
from collections.abc import Mapping

from app.domain import Json

SEPARATORS = (",", ":")
"""Between items and after keys, as `json.dumps` takes them: the grammars allow no space, so that a weak model
cannot write spaces until it is cut off. Prompts are written alike, so that what is copied has the same tokens."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What neither UTF-8 nor PostgreSQL can hold: half surrogate pairs and NUL."""
_VALUE_BYTES = 64
"""Of a Python object and the place it has in another one."""


def replace_unstorable(value: Json) -> Json:
    """The value with U+FFFD for what is `UNSTORABLE`."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [replace_unstorable(each) for each in value]
    if isinstance(value, dict):
        return {replace_unstorable(key): replace_unstorable(each) for key, each in value.items()}
    return value


def value_size(value: Json) -> int:
    """Bytes of memory, roughly, of a JSON value however deep it is; what stands in it twice counts once."""
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
    """Bytes of memory, roughly, without the object around them."""
    return len(text) * (1 if text.isascii() else 4)
