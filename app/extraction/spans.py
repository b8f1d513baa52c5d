"""Pieces of an instruction that their own form gives away: quoted text, numbers, dates, addresses, clauses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.extraction import codes
from app.extraction.dates import DATE_PATTERN, TIME_PATTERN, parse_date, parse_time
from app.extraction.numbers import (
    ORDINAL_PATTERN,
    WORD_PATTERN,
    parse_number,
    parse_ordinal,
    parse_words,
)
from app.extraction.words import Text


@dataclass(slots=True)
class Span:
    """A piece of the instruction: characters [start, end), tokens [first, last]."""

    kind: str
    """quoted, clause, url, email, uuid, ip, date, time, latitude, longitude, path, file, domain, hashtag, handle,
    phone, hex, money, percent, number, ordinal, id, word, address, street, proper, capitals, joined, numbered, compass,
    level, member, switch, topic, or a table of `app.extraction.codes`: country, language, currency, state, ..."""
    start: int
    end: int
    text: str
    value: Any = None
    """Parsed: a number, Moment, time, or code of a table; None where the text is the value."""
    first: int = 0
    last: int = 0
    unit: str = ""
    """The word or sign right after or before a number: km, minutes, $, %. `start` at a currency with an amount before
    it, `house` at a house number."""

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


_FILE = (
    r"(?:docx?|pdf|xlsx?|csv|txt|pptx?|vsdx?|png|jpe?g|gif|svg|webp|mp[34]|wav|mov|avi|zip|tar|gz|json|xml|html?|"
    r"md|psd|epub|odt|ods|jar|apk|exe|py|js|eml|msg|tiff?|bmp|webm|flv|dwg|one|mpp|vcf|ics|log|yaml|yml)\b"
)
_TLD = (
    r"(?:com|org|net|edu|gov|io|dev|app|co|ai|info|biz|me|tv|xyz|shop|store|online|tech|cloud|news|blog|site|de|fr|uk|us|"
    r"ca|au|es|it|nl|be|ch|at|se|no|dk|fi|pl|pt|ru|jp|cn|in|br|mx|ie|nz|za|eu|kr|sg|hk|tr|gr|cz|hu|ro|ua|id|vn|th|kz|by|ar|cl|gg|to|fm|ly|int|mil)\b"
)
_NUMBER = r"\d{1,3}(?:[,’]\d{3}){1,5}(?:\.\d{1,12})?(?!\w)|\d{1,30}(?:[.,]\d{1,20})?"
_UNIT_SUFFIX = (
    r"(?:km|kms|mi|cm|mm|kg|kgs|lbs?|oz|ft|px|min|mins|hrs?|secs?|mo|wk|yr|yrs?|ms|mb|gb|kb|°c|°f|[mhdswy])(?!\w)"
)
_DEGREES = r"[-+−]?\d{1,3}\.\d{1,15}"
_TYPED = re.compile(
    rf"""(?<![\w@])(?:
    (?P<url>https?://[^\s<>"“”«»]{{1,2000}}|www\.[^\s<>"“”«»]{{1,500}})
    |(?P<email>[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,5}})
    |(?P<uuid>[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}(?!\w))
    |(?P<ip>(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?:/\d{{1,2}})?(?![\w])|(?:[0-9a-f]{{1,4}}:){{3,7}}:?[0-9a-f]{{1,4}}(?!\w))
    |(?P<date>{DATE_PATTERN})
    |(?P<time>{TIME_PATTERN})
    |(?P<coordinate>{_DEGREES}\s?°?\s?[ns]?\b\s?(?:[,;/]|and)?\s?(?:lon(?:gitude)?\s)?{_DEGREES}\s?°?(?:\s?[ew]\b)?)
    |(?P<file>(?:/?[\w-]{{1,60}}/){{0,6}}[\w-]{{1,80}}(?:\.[\w-]{{1,20}}){{0,2}}\.{_FILE})
    |(?P<path>/[\w.-]{{1,80}}(?:/[\w.-]{{0,80}}){{0,8}}|[\w-]{{2,60}}/[\w-]{{2,60}}(?:/[\w.-]{{1,60}}){{0,6}})
    |(?P<domain>[a-z0-9][\w-]{{0,62}}(?:\.[\w-]{{1,63}}){{0,3}}\.{_TLD})
    |(?P<hashtag>\#\w{{1,100}})
    |(?P<hex>\#?(?=[0-9]{{0,5}}[a-f])(?=[a-f]{{0,5}}[0-9])[0-9a-f]{{6}}(?!\w))
    |(?P<phone>\+\d(?:[\ ().-]{{0,2}}\d){{6,14}}(?!\w)|\(\d{{3}}\)\ ?\d{{3}}-?\d{{4}}|\d{{3}}-\d{{3}}-\d{{4}}(?!\w))
    |(?P<money>(?:[$€£¥₹]|(?:usd|eur|gbp)\ )\s?(?:{_NUMBER})(?:\ ?(?:k|m|mn|bn|million|billion)\b)?
        |(?:{_NUMBER})\s?[€£])
    |(?P<percent>[-−]?(?:{_NUMBER})\s?(?:%|percent\b))
    |(?P<ordinal>{ORDINAL_PATTERN})
    |(?P<measure>[-−]?(?:{_NUMBER})\ ?{_UNIT_SUFFIX})
    |(?P<number>[-−+]?(?:{_NUMBER})(?:[kmb]|bn)?(?:(?![\w-]|\.\d)|(?=-[a-z]{{3,12}}\b))|{WORD_PATTERN})
    |(?P<id>(?!covid-)(?=[\w-]{{0,40}}\d)[a-z0-9][\w-]{{1,127}}={{0,2}})
    |(?P<handle>@[\w.]{{1,50}})
    )|(?<=\s)(?P<handle2>@\w[\w.]{{0,50}})|^(?P<handle3>@\w[\w.]{{0,50}})""",
    re.VERBOSE,
)  # fmt: skip
_QUOTES = re.compile(
    r"“([^“”]{1,8000})”|«\s?([^«»]{1,8000}?)\s?»|\"([^\"]{1,8000})\"|`([^`]{1,2000})`"
    r"|(?<!\w)['‘](?=\S)([^\n]{0,400}?(?<=\S))['’](?!\w)|„([^„“”]{1,8000})[“”]"
)
_MEASURE = re.compile(r"(.*?[\d])\s*([^\d\s.,]+)")
_LATITUDE_LONGITUDE = re.compile(rf"({_DEGREES})\s?°?\s?([NS])?\b.*?({_DEGREES})\s?°?\s?([EW])?\b", re.IGNORECASE)
# Matched against the lower-cased instruction: matching without regard to case takes three times as long.
_TRAILING = ".,;:!?)]}'’"


def quoted_spans(text: Text) -> list[Span]:
    """What stands in quotation marks or backticks."""
    spans = []
    for match in _QUOTES.finditer(text.raw):
        group = match.lastindex or 1
        content = match.group(group)
        if content.strip():
            spans.append(_span(text, "quoted", match.start(group), match.end(group), content.strip()))
    return spans


def typed_spans(text: Text, now: datetime, quoted: list[Span]) -> list[Span]:
    """Spans of numbers, dates, addresses and the like; within quotes, only one that is all that stands in them."""
    spans: list[Span] = []
    position = 0
    bounds = [(span.start, span.end) for span in quoted]
    for start, end in [*bounds, (len(text.raw), len(text.raw))]:
        for match in _TYPED.finditer(text.lowered, position, start):
            spans.extend(_typed(text, match, now))
        match_in = _TYPED.match(text.lowered, start, end)
        if match_in and match_in.end() == end and end > start:
            spans.extend(_typed(text, match_in, now))
        position = max(position, end)
    return spans


def _typed(text: Text, match: re.Match[str], now: datetime) -> Iterator[Span]:
    kind = (match.lastgroup or "").rstrip("23")
    start, end = match.start(), match.end()
    raw = text.raw[start:end]
    if kind in ("url", "path", "file", "domain", "handle", "id"):
        stripped = raw.rstrip(_TRAILING)
        end, raw = start + len(stripped), stripped
    if kind == "coordinate":
        yield from _coordinates(text, match)
        return
    value, unit, kind = _parse(kind, raw, now)
    if kind == "money" and raw[0] in codes.SYMBOLS:
        # The sign is a currency of its own: of $20, 20 is the amount and USD what it is in.
        sign = _span(text, "currency", start, start + 1, raw[0], unit)
        sign.unit = "start"
        yield sign
        start, raw = start + 1, raw[1:]
    if kind and raw:
        span = _span(text, kind, start, end, raw, value)
        span.unit = unit
        if not unit and kind in ("number", "ordinal"):
            span.unit = _next_word(text, span)
        yield span


def _next_word(text: Text, span: Span) -> str:
    if text.raw[span.end : span.end + 1] == "-":
        return text.tokens[span.last].lower.partition("-")[2] or ""
    return text.tokens[span.last + 1].lower if span.last + 1 < len(text.tokens) else ""


def _parse(kind: str, raw: str, now: datetime) -> tuple[Any, str, str]:
    """(value, unit, kind) of a match; an empty kind where its text turns out to be nothing of the sort."""
    value: Any = None
    unit = ""
    if kind == "date":
        value = parse_date(raw, now)
    elif kind == "time":
        value = parse_time(raw)
    elif kind == "money":
        digits = re.sub(
            r"[^\d.,’kmbn]", "", raw.lower().replace("million", "m").replace("billion", "bn").lstrip("usdergbp ")
        )
        value, unit = parse_number(digits), codes.SYMBOLS.get(raw[0], codes.SYMBOLS.get(raw[-1], raw[:3].upper()))
    elif kind == "percent":
        value, unit = parse_number(raw.lower().removesuffix("percent").rstrip("% ")), "%"
    elif kind == "ordinal":
        value = parse_ordinal(raw)
    elif kind == "measure":
        match = _MEASURE.fullmatch(raw)
        kind = "number"
        value, unit = (parse_number(match[1]), match[2].lower()) if match else (None, "")
    elif kind == "number":
        value = parse_number(raw) if any(letter.isdigit() for letter in raw) else parse_words(raw)
    else:
        return None, "", kind
    return (value, unit, kind) if value is not None else (None, "", "id" if kind == "number" else "")


def _coordinates(text: Text, match: re.Match[str]) -> Iterator[Span]:
    parts = _LATITUDE_LONGITUDE.match(match.group())
    if parts is None:
        return
    for group, kind, negative in ((1, "latitude", "S"), (3, "longitude", "W")):
        number = parse_number(parts[group])
        if number is None:
            continue
        if (parts[group + 1] or "").upper() == negative:
            number = -number
        start = match.start() + parts.start(group)
        yield _span(text, kind, start, match.start() + parts.end(group), parts[group].lstrip("+"), number)


def _span(text: Text, kind: str, start: int, end: int, content: str, value: Any = None) -> Span:
    first = text.index_at(start)
    return Span(kind, start, end, content, value, first, max(first, text.index_at(max(start, end - 1))))


_CLAUSE_CHARACTERS = 4000
"""Characters of an instruction in which clauses are searched: the patterns may look far ahead from each place."""
_COLON = re.compile(r":\s+(?=\S)")
_TRANSLATE = re.compile(
    r"\btranslate\s{1,3}(?:the\s(?:text|sentence|phrase|word|words)\s|this\s|that\s)?"
    r"(?!the following|this |it )(.{1,400}?)\s{1,3}(?:in)?to\s[A-Z]|\bsay\s{1,3}(.{1,200}?)\s{1,3}in\s[A-Z]"
)
_SAYING = re.compile(
    r"\b(?:saying|says|say|tell(?:ing)?\s(?:him|her|them|everyone)|reading|with the (?:text|message|body))\s{1,3}"
    r"(?:that\s)?(?!about\b|in\b)(.{1,600}?)(?:[.!?]?\s{0,3}$|\n)",
    re.IGNORECASE,
)


def clause_spans(text: Text) -> Iterator[Span]:
    """Longer text that is itself a value: behind a colon, what is to be translated, what a message is to say."""
    raw = text.raw[:_CLAUSE_CHARACTERS]
    if match := _COLON.search(raw):
        content = text.raw[match.end() :].strip()
        if " " in content and not content.startswith(("'", '"', "“")):
            yield _clause(text, match.end(), len(text.raw.rstrip()))
    lower_start = raw[:1].lower() + raw[1:]
    for pattern in (_TRANSLATE, _SAYING):
        if match := pattern.search(lower_start):
            group = match.lastindex or 1
            if match[group].strip():
                yield _clause(text, match.start(group), match.end(group))


def _clause(text: Text, start: int, end: int) -> Span:
    return _span(text, "clause", start, end, text.raw[start:end].strip())
