"""RapidAPI's parameter types as JSON Schemas, and its defaults as values of them."""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import cast

from app.domain import Json

_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

_SCHEMAS: Mapping[str, Mapping[str, Json]] = {
    "NUMBER": {"type": "number"},
    "FLOAT": {"type": "number"},
    "DOUBLE": {"type": "number"},
    "DECIMAL": {"type": "number"},
    "INTEGER": {"type": "integer"},
    "INT": {"type": "integer"},
    "LONG": {"type": "integer"},
    "BOOLEAN": {"type": "boolean"},
    "BOOL": {"type": "boolean"},
    "DATE": {"type": "string", "format": "date"},
    # JSON Schema's own `time` format wants seconds and an offset.
    "TIME": {"type": "string", "pattern": _TIME},
    "ARRAY": {"type": "array"},
    "LIST": {"type": "array"},
    "OBJECT": {"type": "object"},
    "MAP": {"type": "object"},
    "JSON": {"type": "object"},
    # Text by any name: files go as URL or base64, a geographic point as "latitude,longitude".
    **{name: {"type": "string"} for name in ("STRING", "TEXT", "ENUM", "FILE", "BINARY", "GEOPOINT", "CREDENTIALS")},
}
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


def type_name(declared: Json) -> str:
    """`DATE` of "DATE (YYYY-MM-DD)": the bare upper-case word of a declared type; empty if there is none."""
    found = re.match(r"\s*([A-Za-z]+)", declared) if isinstance(declared, str) else None
    return found[1].upper() if found else ""


def schema_of(declared: Json, default: Json) -> dict[str, Json]:
    """The JSON Schema of a parameter of the declared type.

    An unknown or missing type is what its default shows it to be, if that is no string; otherwise a string,
    as every value of a query is in the end.
    """
    known = _SCHEMAS.get(type_name(declared))
    if known is not None:
        return dict(known)
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int | float):
        return {"type": "number"}
    if isinstance(default, list | dict):
        return {"type": "array" if isinstance(default, list) else "object"}
    return {"type": "string"}


def default_of(schema: Mapping[str, Json], raw: Json) -> Json:
    """The default as a value of the schema's type: "10" is 10 where a number is wanted.

    None where the document has none (null, blank), or one that cannot be read as the type.
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
        return _text(schema, raw)
    if kind in ("array", "object"):
        return _structure(raw, list if kind == "array" else dict)
    return {"number": _number, "integer": _integer, "boolean": _boolean}[kind](raw)


def _text(schema: Mapping[str, Json], raw: Json) -> str | None:
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


def _number(raw: Json) -> int | float | None:
    """Finite, and an integer of at most 64 bits: what JSON readers agree on."""
    if isinstance(raw, str) and _NUMERAL.fullmatch(raw.strip()) and len(raw) < 400:
        raw = int(raw) if re.fullmatch(r"\s*[+-]?[0-9]+\s*", raw) else float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    if isinstance(raw, int):
        return raw if abs(raw) < 2**63 else None
    return raw if abs(raw) < float("inf") else None


def _integer(raw: Json) -> int | None:
    value = _number(raw)
    return int(value) if value is not None and value == int(value) else None


def _boolean(raw: Json) -> bool | None:
    if isinstance(raw, bool):
        return raw
    return _BOOLEANS.get(str(raw).strip().lower()) if isinstance(raw, str | int) else None


def _structure(raw: Json, kind: type[list[Json]] | type[dict[str, Json]]) -> Json:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    return cast(Json, raw) if isinstance(raw, kind) else None


def number_of(text: str) -> int | float | None:
    """The number that the whole text is, if it is one."""
    return _number(text)
