"""Defaults as documents write them, read as values of their schema's type."""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import cast

from app.domain import Json

_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def read_default(schema: Mapping[str, Json], raw: Json) -> Json:
    """The default as a value of the schema's type: "10" is 10 where a number is wanted.

    None where the document has no default (null, blank), or one that cannot be read as the type.
    """
    if raw is None or raw == "" or (isinstance(raw, str) and not raw.strip() and schema["type"] != "string"):
        return None
    value = _read(schema, raw)
    if "enum" in schema and value not in schema["enum"]:
        return None
    return value


def _read(schema: Mapping[str, Json], raw: Json) -> Json:
    kind = schema["type"]
    if kind == "string":
        return _read_text(schema, raw)
    if kind in ("array", "object"):
        return _read_structure(raw, list if kind == "array" else dict)
    return {"number": read_number, "integer": _read_integer, "boolean": _read_boolean}[kind](raw)


def _read_text(schema: Mapping[str, Json], raw: Json) -> str | None:
    if isinstance(raw, bool):
        raw = "true" if raw else "false"
    elif isinstance(raw, int | float):
        raw = str(raw)
    if not isinstance(raw, str):
        return None
    if schema.get("format") == "date" and not _is_date(raw):
        return None
    if "pattern" in schema and not re.search(schema["pattern"], raw):
        return None
    return raw


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def read_number(raw: Json) -> int | float | None:
    """The number, or the one that the whole text is; None unless it is finite, and an integer within 64 bits."""
    if isinstance(raw, str) and _NUMERAL.fullmatch(raw.strip()) and len(raw) < 400:
        raw = int(raw) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", raw) else float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    if isinstance(raw, int):
        return raw if abs(raw) < 2**63 else None
    return raw if abs(raw) < float("inf") else None


def _read_integer(raw: Json) -> int | None:
    value = read_number(raw)
    return int(value) if value is not None and value == int(value) else None


def _read_boolean(raw: Json) -> bool | None:
    if isinstance(raw, bool):
        return raw
    return _BOOLEANS.get(str(raw).strip().lower()) if isinstance(raw, str | int) else None


def _read_structure(raw: Json, kind: type[list[Json]] | type[dict[str, Json]]) -> Json:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    return cast(Json, raw) if isinstance(raw, kind) else None
