"""The `$defs` of an answer's schema: values that many parameters have, each written and compiled once."""

from collections.abc import Mapping

from app.calling.bounds import DECIMALS, INTEGER_LIMIT, SMALLEST
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
    "email": "^[^@ ]{1,64}@[^@ ]{1,190}$",
}
"""Formats as patterns, which say what the validator says (dates: exactly) and end; the libraries' own do not."""


class Definitions:
    """The `$defs` that the schemas of one tool refer to, so that equal values are compiled once."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        """Characters of a text."""
        self.schemas: dict[str, Json] = {}

    def text(self, least: int, most: int) -> dict[str, Json]:
        # Not maxLength: in xgrammar it rules out every character that JSON escapes (quotes, line ends).
        return self._reference(f"text_{least}_{most}", {"type": "string", "pattern": f"^[\\s\\S]{{{least},{most}}}$"})

    def format(self, name: str) -> dict[str, Json]:
        """A text of one of the `FORMATS`."""
        return self._reference(name, {"type": "string", "pattern": FORMATS[name]})

    def integer(self, least: int, most: int) -> dict[str, Json]:
        return self._reference(f"integer_{least}_{most}", {"type": "integer", "minimum": least, "maximum": most})

    def number(self, bounds: Mapping[str, Json]) -> dict[str, Json]:
        name = "_".join(["number", *(f"{key[:2]}{value}" for key, value in bounds.items())])
        # llguidance needs multipleOf to end the decimals. xgrammar ends them by itself; vLLM refuses the keyword
        # beside a type, but not beside a reference, where xgrammar ignores it.
        whole = self._reference(name, {"type": "number", **bounds})
        return self._reference(f"{name}_{DECIMALS}", {**whole, "multipleOf": SMALLEST})

    def scalar(self, longest: int) -> dict[str, Json]:
        """Any value that is no array and no object."""
        bounds = {"minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT}
        any_of = [self.text(0, longest), self.number(bounds), {"type": "boolean"}, {"type": "null"}]
        return self._reference(f"scalar_{longest}", {"anyOf": any_of})

    def _reference(self, name: str, schema: dict[str, Json]) -> dict[str, Json]:
        self.schemas[name] = schema
        return {"$ref": f"#/$defs/{name}"}
