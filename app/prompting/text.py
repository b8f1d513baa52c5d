"""Data as JSON text that nothing breaks out of, and long values cut short."""

import json
import math
import re
from collections.abc import Mapping
from itertools import islice

from app.domain import Json
from app.json_data.values import SEPARATORS

ELLIPSIS = "…"
_INTEGER_BITS = 512
"""A longer integer is no value that a model could read; Python refuses to print one beyond 4,300 digits."""

# Beyond what json escapes: other line ends, which would let data begin a line of its own, and lone surrogates, which
# no encoder takes.
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def json_text(value: Json) -> str:
    """`value` on one line, without white space and with readable Unicode; `json.loads` gives it back.

    That is how answers are written (`app.answers.reading`), so that what is copied has the same tokens.

    Raises ValueError or TypeError for what is no JSON: pass values that are not ours through `shortened`.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=SEPARATORS)
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def without_surrogates(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def cut(text: str, characters: int) -> str:
    """At most so many characters (one at least), the last an ellipsis where something is missing."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + ELLIPSIS


def one_line(text: str) -> str:
    """Runs of white space as one space: documents are laid out for web pages."""
    return " ".join(text.split())


def shortened(value: Json, *, characters: int, items: int, depth: int) -> Json:
    """The value with strings and keys cut to `characters`, containers to `items`, and nothing below `depth` levels.

    Whatever comes out can be written as JSON: numbers that JSON does not have become text.
    """
    if isinstance(value, str):
        return cut(value, characters)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _INTEGER_BITS else ELLIPSIS
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping | list | tuple):
        return _shortened_container(value, characters, items, depth)
    return cut(str(value), characters)


def _shortened_container(
    value: Mapping[str, Json] | list[Json] | tuple[Json, ...], characters: int, items: int, depth: int
) -> Json:
    if value and depth == 0:
        return ELLIPSIS
    more = len(value) > items
    if isinstance(value, Mapping):
        entries = {
            cut(str(key), characters): shortened(each, characters=characters, items=items, depth=depth - 1)
            for key, each in islice(value.items(), items)
        }
        return entries | {ELLIPSIS: ELLIPSIS} if more else entries
    members = [shortened(each, characters=characters, items=items, depth=depth - 1) for each in value[:items]]
    return [*members, ELLIPSIS] if more else members
