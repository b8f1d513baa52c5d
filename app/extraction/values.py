"""A span as the JSON value that a parameter takes."""

import re
from datetime import time

from app.answers.validation import value_problem
from app.domain import Json, Parameter
from app.extraction import codes, words
from app.extraction.dates import Moment, date_layout, format_date, format_time
from app.extraction.profile import Profile
from app.extraction.spans import Span

_LONG = {"w": "wk", "m": "mo"}
_COUNTED = frozenset(("number", "count", "page", "offset", "year", "id"))
NUMERIC = frozenset(("number", "money", "percent", "ordinal", "latitude", "longitude"))
_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,10})?")


def read_value(parameter: Parameter, profile: Profile, span: Span) -> Json:
    """The span as a JSON value that the parameter's schema allows; None where it is none."""
    if profile.json_type == "array":
        item = _scalar_value(parameter, profile, span, _item_type(parameter))
        return valid_or_none(parameter, None if item is None else [item])
    return valid_or_none(parameter, _scalar_value(parameter, profile, span, profile.json_type))


def valid_or_none(parameter: Parameter, value: Json) -> Json:
    """The value itself if the parameter's schema allows it, else None."""
    if value is None or value_problem(parameter.schema, value) is not None:
        return None
    return value


def _item_type(parameter: Parameter) -> str:
    items = parameter.schema.get("items")
    declared = items.get("type", "string") if isinstance(items, dict) else "string"
    return declared if isinstance(declared, str) else "string"


def _scalar_value(parameter: Parameter, profile: Profile, span: Span, json_type: str) -> Json:
    if json_type in ("number", "integer"):
        return _number_value(profile, span, json_type)
    if json_type != "string" or (profile.members and profile.kind == "enum"):
        return None
    if isinstance(span.value, Moment):
        return _date_value(parameter, profile, span, span.value)
    if isinstance(span.value, time):
        return format_time(span.value, profile.example) if profile.kind in ("time", "string") else span.text
    if span.kind in NUMERIC:
        return _number_as_written(profile, span)
    if span.kind in codes.TABLES:
        return _code_value(profile, span)
    return _text_value(profile, span)


def _number_value(profile: Profile, span: Span, json_type: str) -> Json:
    value = span.value
    if isinstance(value, Moment):
        value = _part_of_date(profile.kind, value)
        if value is None and profile.kind == "date":
            layout = date_layout("", profile.example, "unix")
            value = format_date(span.value, layout) if layout.startswith("unix") else None
    elif span.kind in ("quoted", "word", "id", "zip", "phone"):
        text = re.sub(r"[\s()+-]", "", span.text) if span.kind == "phone" else span.text.strip()
        value = _digits(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if json_type == "integer":
        return int(value) if float(value).is_integer() else None
    return value


def _digits(text: str) -> int | float | None:
    if not text.isascii() or not _PLAIN_NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def _part_of_date(kind: str, moment: Moment) -> int | None:
    if kind == "year" and (moment.explicit_year or moment.grain == "year"):
        return moment.day.year
    if kind == "month" and moment.grain in ("day", "month"):
        return moment.day.month
    return moment.day.day if kind == "day" and moment.grain == "day" else None


def _date_value(parameter: Parameter, profile: Profile, span: Span, moment: Moment) -> Json:
    part = _part_of_date(profile.kind, moment)
    if part is not None:
        return str(part)
    if profile.kind == "time" and moment.clock:
        return format_time(moment.clock, profile.example)
    if profile.kind != "date":
        return span.text
    layout = date_layout(str(parameter.schema.get("format", "")), profile.example, parameter.description)
    return str(format_date(moment, layout, last=profile.role == "end"))


def _number_as_written(profile: Profile, span: Span) -> str:
    """The number's digits as they are written, without separators; with its unit (`5d`) where the example has one."""
    compact = re.fullmatch(r"\d{1,4}([a-z]{1,2})", profile.example)
    if re.fullmatch(r"\d{1,6}[a-zA-Z]{1,3}", span.text) and (
        compact or not (profile.units or profile.kind in _COUNTED)
    ):
        return span.text
    if compact and span.unit in words.PERIODS and isinstance(span.value, int):
        short = words.PERIODS[span.unit]
        return f"{span.value}{_LONG.get(short, short) if len(compact[1]) > 1 else short}"
    digits = re.sub(r"[^\d.\-]", "", span.text.replace("−", "-"))
    if span.kind == "number" and digits and _PLAIN_NUMBER.fullmatch(digits) and "k" not in span.text.lower():
        return digits
    if span.kind in ("latitude", "longitude"):
        return digits if (span.value or 0) >= 0 or digits.startswith("-") else f"-{digits}"
    value = span.value
    return str(int(value)) if isinstance(value, (int, float)) and float(value).is_integer() else str(value)


def _code_value(profile: Profile, span: Span) -> Json:
    if span.kind in ("company", "airport"):
        code = str(span.value)
        return (
            (code.lower() if profile.example.islower() else code)
            if profile.kind in ("ticker", "airport")
            else span.text
        )
    if profile.coded == "upper":
        return str(span.value).upper()
    if profile.coded == "lower":
        return str(span.value).lower()
    if profile.members:
        lowered = {str(member).lower(): member for member in profile.members}
        return lowered.get(str(span.value).lower(), lowered.get(span.text.lower()))
    if profile.coded == "locale":
        known = {"en": "en-US", "zh": "zh-CN", "ja": "ja-JP", "ko": "ko-KR", "pt": "pt-BR"}
        code = str(span.value).lower()
        if span.kind == "language":
            return known.get(code, f"{code}-{code.upper()}")
    return span.text


_FORM = {
    "email": re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}"),
    "url": re.compile(r"(?:https?://|www\.)?[^\s/]{1,200}\.[^\s]{1,2000}"),
    "ip": re.compile(r"[0-9a-fA-F.:]{3,45}(?:/\d+)?"),
    "domain": re.compile(r"(?:https?://)?[\w.-]{1,253}\.\w{2,24}/?.{0,200}"),
    "phone": re.compile(r"\+?[\d\s().-]{5,24}"),
    "zip": re.compile(r"(?=.*\d)[\w -]{3,10}"),
    "color": re.compile(r"#?[0-9a-fA-F]{3,8}|[a-zA-Z]{3,20}"),
    "date": re.compile(r"\d[\d:T./ Z+-]{3,30}"),
    "time": re.compile(r"\d{1,2}:\d{2}.{0,12}"),
    "year": re.compile(r"\d{4}"),
    "ticker": re.compile(r"[\w.^=:/ -]{1,24}"),
    "latitude": re.compile(r"-?\d{1,3}\.?\d*"),
    "longitude": re.compile(r"-?\d{1,3}\.?\d*"),
    "user": re.compile(r"@?[^\s]{1,60}"),
    "airport": re.compile(r"[A-Za-z]{3,4}"),
    "count": re.compile(r"\d{1,6}"),
    "page": re.compile(r"\d{1,6}"),
    "offset": re.compile(r"\d{1,9}"),
}


def _text_value(profile: Profile, span: Span) -> str | None:
    text = span.text.strip()
    form = _FORM.get(profile.kind)
    if not text or (form is not None and not form.fullmatch(text)):
        return None
    if profile.kind == "user" or (profile.kind == "hashtag" and not profile.example.startswith("#")):
        return text.lstrip("@#") or None
    if profile.kind == "color" and not profile.example.startswith("#"):
        return text.lstrip("#")
    if profile.kind == "phone" and "without" in " ".join(sorted(profile.described)):
        return re.sub(r"[^\d]", "", text)
    if profile.kind == "country" and profile.coded:
        code = codes.COUNTRIES.get(text.lower())
        return (code.lower() if profile.coded == "lower" else code) if code else text if len(text) <= 3 else None
    return text
