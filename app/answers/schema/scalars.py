"""The schemas of single values in an answer, each with an end."""

from collections.abc import Mapping

from app.answers.schema.bounds import INTEGER_LIMIT
from app.domain import Json

_DAYS = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]{0,1}[0-9])"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
FORMATS: Mapping[str, str] = {
    "date": f"^({_YEAR}-({_DAYS})|{_LEAP_YEAR}-02-29)$",
    "time": f"^{_CLOCK}(:[0-5][0-9](\\.[0-9]{{1,6}}){{0,1}}){{0,1}}(Z|[+-]{_CLOCK}){{0,1}}$",
    "ipv4": f"^({_OCTET}\\.){{3,3}}{_OCTET}$",
    "uuid": "^[0-9a-fA-F]{8,8}(-[0-9a-fA-F]{4,4}){3,3}-[0-9a-fA-F]{12,12}$",
    "email": "^[^@ ]{1,64}@[^@ ]{1,128}$",
}
"""Formats as patterns, which say what the validator says (dates: exactly) and end; the libraries' own do not."""


def text(least: int, most: int) -> dict[str, Json]:
    """`least` to `most` characters.

    llguidance (the local engine, and vLLM's `guidance` backend, which is the one to use) writes any characters in it.
    Under vLLM's `xgrammar` backend such a text holds nothing that JSON escapes (quotes, backslashes, line ends), and
    with a large vocabulary it takes seconds to compile.
    """
    return {"type": "string", **({"minLength": least} if least else {}), "maxLength": most}


def formatted(name: str) -> dict[str, Json]:
    """A text of one of the `FORMATS`."""
    return {"type": "string", "pattern": FORMATS[name]}


def integer(least: int, most: int) -> dict[str, Json]:
    return {"type": "integer", "minimum": least, "maximum": most}


def number(bounds: Mapping[str, Json]) -> dict[str, Json]:
    return {"type": "number", **bounds}


def scalar(longest: int) -> dict[str, Json]:
    """Any value that is no array and no object; a text of at most `longest` characters."""
    bounds = {"minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT}
    return {"anyOf": [text(0, longest), number(bounds), {"type": "boolean"}, {"type": "null"}]}
