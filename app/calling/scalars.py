"""The schemas of single values in an answer, each with an end."""

from collections.abc import Mapping

from app.calling.bounds import INTEGER_LIMIT
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


class Scalars:
    def __init__(self, longest: int, *, escapes: bool) -> None:
        self.longest = longest
        """Characters of a text."""
        self._escapes = escapes

    def text(self, least: int, most: int) -> dict[str, Json]:
        """`least` to `most` characters; where texts may need escapes, any number.

        In xgrammar a text with a length holds no character that JSON escapes (quotes, backslashes, line ends), and a
        pattern that would allow both takes it seconds to compile, where it can (`patterns.REPETITIONS`).
        """
        if self._escapes:
            return {"type": "string"}
        return {"type": "string", **({"minLength": least} if least else {}), "maxLength": most}

    def format(self, name: str) -> dict[str, Json]:
        """A text of one of the `FORMATS`."""
        return {"type": "string", "pattern": FORMATS[name]}

    def integer(self, least: int, most: int) -> dict[str, Json]:
        return {"type": "integer", "minimum": least, "maximum": most}

    def number(self, bounds: Mapping[str, Json]) -> dict[str, Json]:
        return {"type": "number", **bounds}

    def scalar(self, longest: int) -> dict[str, Json]:
        """Any value that is no array and no object."""
        bounds = {"minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT}
        return {"anyOf": [self.text(0, longest), self.number(bounds), {"type": "boolean"}, {"type": "null"}]}
