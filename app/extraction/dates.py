"""Dates and times as people write them, and as a document wants them."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from dateutil.relativedelta import relativedelta

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs(?:day)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)\b"
_FULL_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
_COUNT = r"(?:\d{1,4}|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
_UNIT = r"(?:day|week|month|year)s?\b"

DATE_PATTERN = (
    r"\d{4}-\d{1,2}-\d{1,2}(?:[tT\ ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:[zZ]|[+-]\d{2}:?\d{2})?)?(?!\w)"
    r"|\d{4}[/.]\d{1,2}[/.]\d{1,2}(?!\w)|\d{1,2}[/.]\d{1,2}[/.]\d{4}(?!\w)|\d{1,2}-\d{1,2}-\d{4}(?!\w)"
    rf"|{_MONTH}\ \d{{1,2}}(?:st|nd|rd|th)?\b(?!:)(?:,?\ (?:of\ )?\d{{4}}\b)?"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\ (?:of\ )?{_MONTH}(?:,?\ \d{{4}}\b)?|{_MONTH}\ (?:of\ )?\d{{4}}\b"
    r"|(?:the\ )?day\ (?:after\ tomorrow|before\ yesterday)\b|today\b|tonight\b|tomorrow\b|yesterday\b"
    rf"|(?:next|last|this|coming|past)\ (?:{_DAY}|week(?:end)?\b|month\b|year\b)"
    rf"|(?:in|within)\ {_COUNT}\ {_UNIT}(?=\s*(?:[.?!,;]|$|from\b|time\b))"
    rf"|{_COUNT}\ {_UNIT}\ (?:ago|from\ now|from\ today)\b"
    rf"|{_FULL_DAY}"
)
TIME_PATTERN = (
    r"\d{1,2}:\d{2}(?::\d{2})?(?:\ ?[ap]\.?m\b\.?)?(?!\w)"
    r"|\d{1,2}\ ?[ap]\.?m\b\.?|\d{1,2}\ o['’]clock\b|noon\b|midnight\b"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a date expression means. `grain` is its precision: day, week, month or year; `clock` its time of day."""

    day: date
    grain: str = "day"
    clock: time | None = None
    explicit_year: bool = False

    @property
    def last_day(self) -> date:
        """The last day of the week, month or year that is meant."""
        step = {"week": relativedelta(days=6), "month": relativedelta(months=1, days=-1)}
        return self.day + step.get(
            self.grain, relativedelta(years=1, days=-1) if self.grain == "year" else relativedelta()
        )


_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ](.+))?")
_NUMERIC = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4})")
_NAMED = re.compile(
    rf"(?:(\d{{1,2}})\w{{0,2}} (?:of )?)?({_MONTH})(?: (\d{{1,2}})(?:st|nd|rd|th)?\b)?(?:,? (?:of )?(\d{{4}}))?", re.I
)
_AGO = re.compile(rf"(?:(in|within|last|past|next) )?({_COUNT}) (day|week|month|year)s?(?: (ago|from))?", re.I)
_NUMBERS = {
    word: value
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
}


def parse_date(text: str, now: datetime) -> Moment | None:
    """The day, week, month or year that the expression means at `now`; None where it is no date (31 February)."""
    try:
        return _absolute(text, now.date()) or _relative(text.lower(), now.date())
    except (ValueError, OverflowError):
        return None


def _absolute(text: str, today: date) -> Moment | None:
    if match := _ISO.match(text):
        clock = parse_time(match[4].split("+")[0].rstrip("Z").split(".")[0]) if match[4] else None
        return Moment(date(int(match[1]), int(match[2]), int(match[3])), clock=clock, explicit_year=True)
    if match := _NUMERIC.match(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        day_first = match[2] == "." or first > 12
        month, day = (second, first) if day_first else (first, second)
        return Moment(date(year, month, day), explicit_year=True)
    match = _NAMED.match(text)
    if match is None or not (match[1] or match[3] or match[4]):
        return None
    month = _MONTHS.index(match[2][:3].lower()) + 1
    number = match[1] or match[3]
    if number is None:
        return Moment(date(int(match[4]), month, 1), "month", explicit_year=True)
    year = int(match[4]) if match[4] else today.year
    return Moment(date(year, month, int(number)), explicit_year=bool(match[4]))


_FIXED = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}


def _relative(text: str, today: date) -> Moment | None:
    text = text.removeprefix("the ")
    if text in _FIXED:
        return Moment(today + timedelta(days=_FIXED[text]))
    if text.startswith("day "):
        return Moment(today + timedelta(days=2 if "after" in text else -2))
    match = _AGO.fullmatch(text) or _AGO.match(text)
    if match:
        number = int(match[2]) if match[2].isdecimal() else _NUMBERS.get(match[2], 1)
        past = match[4] == "ago" or match[1] in ("last", "past")
        return Moment(today + relativedelta(**{f"{match[3]}s": -number if past else number}))  # type: ignore[arg-type]
    words = text.split()
    return _weekday_or_period(words[0] if len(words) > 1 else "coming", words[-1], today)


def _weekday_or_period(which: str, unit: str, today: date) -> Moment | None:
    step = {"next": 1, "last": -1, "past": -1}.get(which, 0)
    monday = today - timedelta(days=today.weekday())
    if unit == "week":
        return Moment(monday + timedelta(weeks=step), "week")
    if unit == "weekend":
        return Moment(monday + timedelta(weeks=step, days=5))
    if unit == "month":
        return Moment(today.replace(day=1) + relativedelta(months=step), "month")
    if unit == "year":
        return Moment(date(today.year + step, 1, 1), "year")
    if unit[:3] not in _DAYS:
        return None
    ahead = (_DAYS.index(unit[:3]) - today.weekday()) % 7
    if step < 0:
        return Moment(today + timedelta(days=ahead - 7))
    # "next Friday" on a Friday is a week away; "Friday" and "this Friday" are the coming one.
    return Moment(today + timedelta(days=ahead or (7 if step > 0 else 0)))


def parse_time(text: str) -> time | None:
    """The time of day that `14:30`, `9am` or `noon` means; None where there is no such time."""
    lower = text.lower().replace(".", "").strip()
    if lower in ("noon", "midnight"):
        return time(12 if lower == "noon" else 0)
    match = re.match(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*([ap])?", lower)
    if match is None:
        return None
    hour = int(match[1])
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "p" else 0)
    try:
        return time(hour, int(match[2] or 0), int(match[3] or 0))
    except ValueError:
        return None


_FIELDS = (("yyyy", "%Y"), ("mm", "%m"), ("dd", "%d"), ("hh", "%H"), ("ss", "%S"))
_LAYOUT = re.compile(r"\b(?:y{4}|d{2}|m{2})([-/. ]?)(?:m{2}|d{2})\1(?:y{4}|d{2})(?:[T ]hh:mm(?::ss)?)?Z?", re.I)
_EXAMPLES = (
    ("%Y-%m-%d", re.compile(r"\d{4}-\d{2}-\d{2}")), ("%d.%m.%Y", re.compile(r"\d{2}\.\d{2}\.\d{4}")),
    ("%m/%d/%Y", re.compile(r"\d{1,2}/\d{1,2}/\d{4}")), ("%Y%m%d", re.compile(r"(?:19|20)\d{6}")),
    ("%d-%m-%Y", re.compile(r"\d{2}-\d{2}-\d{4}")), ("%Y/%m/%d", re.compile(r"\d{4}/\d{2}/\d{2}")),
    ("%Y-%m-%dT%H:%M:%SZ", re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z")),
    ("%Y-%m-%dT%H:%M:%S", re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")),
    ("%Y-%m-%dT%H:%M", re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}")),
    ("%Y-%m-%d %H:%M:%S", re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")),
    ("%Y-%m", re.compile(r"\d{4}-\d{2}")), ("unix", re.compile(r"1\d{9}")), ("unix_ms", re.compile(r"1\d{12}")),
)  # fmt: skip


@lru_cache(maxsize=2048)
def date_layout(schema_format: str, default: str, description: str) -> str:
    """The strftime layout, or `unix`, `unix_ms`, that a document asks for: by its example first, then by its words."""
    if schema_format == "date":
        return "%Y-%m-%d"
    if schema_format == "date-time":
        return "%Y-%m-%dT%H:%M:%SZ"
    example = default.strip("'\" ")
    for layout, pattern in _EXAMPLES:
        if pattern.fullmatch(example):
            return layout
    for text in (example, description[:2000]):
        if match := _LAYOUT.search(text):
            return _strftime(match.group())
    lower = description[:2000].lower()
    if re.search(r"\bunix|\bepoch|\btimestamp\b", lower):
        return "unix_ms" if "millisecond" in lower else "unix"
    return "%Y-%m-%dT%H:%M:%SZ" if "8601" in lower and "time" in lower else "%Y-%m-%d"


def _strftime(layout: str) -> str:
    day, separator, clock = layout.lower().partition(":")
    for letters, field in _FIELDS:
        day = day.replace(letters, field)
    return (
        day.replace("t%h", "T%H").replace("z", "Z")
        + separator
        + clock.replace("mm", "%M").replace("ss", "%S").replace("z", "Z")
    )


def format_date(moment: Moment, layout: str, *, last: bool = False) -> str | int:
    """The moment in a layout of `date_layout`: the first day of what it means, or with `last` the last one."""
    day = moment.last_day if last else moment.day
    at = datetime.combine(day, moment.clock or time(), tzinfo=UTC)
    if layout.startswith("unix"):
        return int(at.timestamp()) * (1000 if layout == "unix_ms" else 1)
    # strftime does not pad years before 1000 everywhere.
    return at.strftime(layout.replace("%Y", f"{day.year:04d}"))


def format_time(clock: time, example: str) -> str:
    """The time of day as HH:MM:SS where the document's example has seconds, else as HH:MM."""
    return clock.strftime("%H:%M:%S" if example.count(":") == 2 else "%H:%M")
