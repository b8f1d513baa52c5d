"""Counts and limits of a JSON Schema, as both grammar libraries can keep them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain import Json

INTEGER_LIMIT = 9 * 10**18
"""Most that an integer or a number may come to: 19 digits, exact as a float, within 64 bits."""
_BOUND_DECIMALS = 6
_SMALLEST_BOUND = 1e-6
"""Of a bound: numbers with bounds have no more decimals in xgrammar, which then finds nothing between two of them."""
_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


@dataclass(frozen=True)
class Limits:
    """Of what the document leaves without an end."""

    text: int
    """Characters of a text."""
    items: int
    """Items of an array."""


def counts(schema: Mapping[str, Json], what: str, *, longest: int, most_asked: int) -> tuple[int, int]:
    """Least and most of `what` (Length, Items, Properties): at most `longest`, or twice what the schema asks for.

    (0, longest) where the schema asks for more than `most_asked`, or for more than it allows.
    """
    least = _count(schema.get(f"min{what}"), 0)
    ours = max(longest, 2 * least)
    most = min(_count(schema.get(f"max{what}"), ours), ours)
    return (0, longest) if least > most or least > most_asked else (least, most)


def _count(value: Json, otherwise: int) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else otherwise


def _bound(schema: Mapping[str, Json], key: str) -> Json:
    """The number under the key, where there is one that the libraries can count with."""
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= INTEGER_LIMIT:
        return None
    return value


def integer_bounds(schema: Mapping[str, Json]) -> tuple[int, int]:
    """Least and most; our limits where the schema has none, or none that an integer meets."""
    low, above, high, below = (_bound(schema, key) for key in _BOUNDS)
    lows = [-INTEGER_LIMIT] + ([] if low is None else [math.ceil(low)])
    highs = [INTEGER_LIMIT] + ([] if high is None else [math.floor(high)])
    lows += [] if above is None else [math.floor(above) + 1]
    highs += [] if below is None else [math.ceil(below) - 1]
    least, most = max(lows), min(highs)
    return (least, most) if least <= most else (-INTEGER_LIMIT, INTEGER_LIMIT)


def number_bounds(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Bounds with at most six decimals; wider than the document's where it has more. The lower one first."""
    low, above, high, below = (_bound(schema, key) for key in _BOUNDS)
    open_low = above is not None and (low is None or above >= low)
    open_high = below is not None and (high is None or below <= high)
    least = _rounded(above if open_low else low, math.floor, -INTEGER_LIMIT)
    most = _rounded(below if open_high else high, math.ceil, INTEGER_LIMIT)
    if most - least < 10 * _SMALLEST_BOUND:
        open_low = open_high = False
    if least > most:
        least, most = -INTEGER_LIMIT, INTEGER_LIMIT
    return {_BOUNDS[open_low]: least, _BOUNDS[2 + open_high]: most}


def _rounded(value: Json, towards: Callable[[float], int], otherwise: int) -> int | float:
    if value is None:
        return otherwise
    if isinstance(value, int) or value.is_integer():
        return int(value)
    return round(towards(value / _SMALLEST_BOUND) * _SMALLEST_BOUND, _BOUND_DECIMALS)
