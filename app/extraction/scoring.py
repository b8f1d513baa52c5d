"""How well a span suits a parameter: what it is, what stands beside it, where it stands."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.extraction import codes, words
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.values import NUMERIC
from app.extraction.words import Text, Token, stem, word_set

_BASE_WORTH: dict[str, dict[str, float]] = {
    kind: {span: float(worth) for span, worth in (fit.split() for fit in fits.split(", "))}
    for kind, fits in {
        "email": "email 88, quoted 60",
        "url": "url 88, domain 60, quoted 55",
        "domain": "domain 88, url 66, quoted 55",
        "ip": "ip 88, quoted 50",
        "phone": "phone 88, quoted 40, number 35",
        "latitude": "latitude 88, number 20",
        "longitude": "longitude 88, number 20",
        "coordinates": "quoted 40",
        "zip": "quoted 45, number 25, id 25",
        "date": "date 80, quoted 15",
        "time": "time 80, date 10",
        "year": "date 70, number 20",
        "month": "date 70, number 10",
        "day": "date 70, number 10",
        "page": "ordinal 25, number 8",
        "offset": "number 5",
        "count": "number 20",
        "number": "money 50, percent 45, number 42, ordinal 15",
        "id": "uuid 80, id 62, quoted 52, hex 50, number 42, handle 30, file 20, phone 15",
        "ticker": "quoted 56, capitals 54, company 46, proper 30, id 30, currency 30",
        "airport": "capitals 68, airport 60, quoted 50",
        "user": "handle 84, quoted 54, id 40, proper 32, email 30",
        "hashtag": "hashtag 88, quoted 45",
        "color": "hex 66, quoted 30",
        "path": "file 80, path 72, quoted 52",
        "country": "country 80, quoted 40, proper 25",
        "language": "language 80, quoted 15",
        "currency": "currency 80, quoted 40, money 20",
        "state": "state 80, proper 35, quoted 35",
        "place": "address 80, joined 80, street 70, quoted 56, proper 46, country 46, compass 44, state 40, "
        "capitals 36, numbered 30, number 12",
        "name": "quoted 56, file 52, proper 45, capitals 38, id 22, country 20, domain 20, handle 20, url 12, "
        "level 10, number 8",
        "query": "quoted 66, hashtag 55, joined 46, address 45, capitals 44, proper 42, url 42, ip 42, clause "
        "38, id 38, domain 36, email 36, handle 36, country 30, file 20, state 20, number 14, "
        "language 10, currency 10",
        "text": "quoted 74, clause 64, url 14, proper 10, number 10",
        "option": "quoted 40, number 24",
        "string": "level 70, quoted 48, url 42, domain 42, uuid 42, ip 42, id 40, file 40, path 40, email 40, "
        "country 38, capitals 37, handle 36, proper 35, currency 34, joined 30, language 30, state "
        "30, hashtag 30, hex 30, phone 30, number 26, date 24, percent 20, money 20, time 16",
        "secret": "quoted 18, id 18, uuid 18, number 0",
        "cursor": "quoted 10, id 10, number 0",
        "sort": "quoted 20",
        "timezone": "path 80, quoted 30",
        "array": "email 50, url 50, quoted 45, id 45, capitals 45, country 40, language 40, proper 35, number 30",
    }.items()
}
"""By kind of parameter and of span: what the two alone are worth, before anything that stands beside the span."""

REQUIRED_THRESHOLD = 40.0
OPTIONAL_THRESHOLD = 62.0
"""The least score of a value: higher for an optional parameter, which is filled only where it is clearly stated."""
_ONE_PLACE = frozenset(map(stem, ("city", "town", "state", "county", "region")))
_PERIOD = re.compile(r"\d{1,4}[a-z]{1,2}")
_STREET = frozenset(("street", "road"))


def score(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
    """How well the span suits the parameter, to be compared with the thresholds; below zero where it never does."""
    base = _BASE_WORTH.get(profile.kind, _BASE_WORTH["string"]).get(span.kind)
    if base is None:
        return -1.0
    cue = _cue_worth(text, profile, span)
    total = base + cue + _role_worth(text, profile, span) + _description_worth(text, profile, span)
    if span.kind in NUMERIC:
        is_period = span.unit in words.PERIODS and _PERIOD.fullmatch(profile.example)
        return total + (38.0 if is_period else _number_worth(text, profile, span, cue))
    if span.kind in ("proper", "capitals", "country", "state"):
        return total + _name_worth(text, profile, span, tool_stems)
    if span.kind == "quoted":
        return total + _quote_worth(profile, span)
    return total + _special_worth(profile, span)


def _special_worth(profile: Profile, span: Span) -> float:
    """What is added for kinds of spans that only parameters of some names take."""
    own = set(profile.words)
    if span.kind == "street":
        return 0.0 if own & _STREET else -100.0
    if span.kind == "address":
        return -45.0 if own & _STREET else 0.0
    if span.kind == "level":
        return 0.0 if "price" in own else -100.0
    if span.kind == "joined":
        return -40.0 if profile.stems & _ONE_PLACE else 0.0
    if span.kind == "id" and profile.kind == "zip":
        return 20.0 if len(span.text) <= 8 and span.text.isupper() else 0.0
    return 0.0


def _cue_worth(text: Text, profile: Profile, span: Span) -> float:
    """What the parameter's own name adds, where it stands before the span or right after it."""
    tokens = text.tokens
    index = span.first - 1
    steps = 0
    best = 0.0
    while index >= 0 and steps < 5 and tokens[index].sentence == tokens[span.first].sentence:
        token = tokens[index]
        if token.stem in profile.stems or token.stem in profile.all_stems:
            covered = sum(1 for each in tokens[max(0, index - 4) : index + 1] if each.stem in profile.all_stems)
            best = (34.0 if token.stem in profile.stems else 18.0) + 6.0 * min(2, covered - 1) - 2.0 * steps
            break
        if token.lower not in words.FILLERS:
            break
        index -= 1
        steps += 1
    return max(best, _cue_worth_after(tokens, profile, span))


def _cue_worth_after(tokens: list[Token], profile: Profile, span: Span) -> float:
    for distance in (1, 2):
        index = span.last + distance
        if index >= len(tokens) or not tokens[index].word or tokens[index].lower in words.STOP:
            return 0.0
        if tokens[index].stem in profile.stems:
            return 30.0 if distance == 1 else 20.0
    return 0.0


def _role_worth(text: Text, profile: Profile, span: Span) -> float:
    if not profile.role:
        return 0.0
    role = span_role(text, span)
    if not role:
        return 0.0
    return 22.0 if role == profile.role else -45.0


def span_role(text: Text, span: Span) -> str:
    """start or end, by the words before the span (from, at least; to, until; B of "between A and B"); else empty."""
    tokens = text.tokens
    for steps, index in enumerate(range(span.first - 1, max(-1, span.first - 6), -1)):
        token = tokens[index]
        if token.lower == "least":
            return "start"
        if token.lower in ("most", "nothing"):
            return "end"
        if token.lower in ("and", "-", "–", "—") and steps == 0:
            before = [each.lower for each in tokens[max(0, index - 8) : index]]
            return "end" if "between" in before or token.lower != "and" else ""
        if token.lower in ("over", "more", "than") and "nothing" in (
            tokens[max(0, index - 1)].lower,
            tokens[index].lower,
        ):
            return "end"
        if token.lower == "than" and index > 0:
            return "start" if tokens[index - 1].lower in ("more", "greater", "higher", "longer", "later") else "end"
        if token.lower in words.START_CUES:
            return "start"
        if token.lower in words.END_CUES:
            return "end"
        if token.lower not in words.FILLERS and token.lower not in ("id", "station", "city", "date", "exactly"):
            return ""
    return ""


def _description_worth(text: Text, profile: Profile, span: Span) -> float:
    """What words of the parameter's description add, where they stand beside the span."""
    tokens = text.tokens
    near = 0
    for token in (*tokens[max(0, span.first - 3) : span.first], *tokens[span.last + 1 : span.last + 3]):
        if token.word and len(token.lower) > 2 and token.lower not in words.STOP and token.stem in profile.described:
            near += 1
    return 6.0 * min(2, near)


_LANGUAGE_NAMES = frozenset(name.title() for name in codes.LANGUAGES)
_ACRONYMS = word_set("ESG CEO CFO API APIs URL URLs ETF IPO GDP USA US UK EU ROI EPS JSON ISIN SKU ID IDs AI ZIP P/E")
_KITCHEN = frozenset(map(stem, ("food", "cuisine", "nationality", "dish")))


def _name_worth(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
    tokens = text.tokens
    inside = tokens[span.first : span.last + 1]
    total = 0.0
    if all(token.stem in tool_stems for token in inside):
        total -= 45.0
    if text.opens_sentence(span.first):
        total -= 8.0 if len(inside) > 1 or inside[0].text.isupper() else 22.0
    if span.text in _ACRONYMS:
        total -= 30.0
    after = tokens[span.last + 1] if span.last + 1 < len(tokens) else None
    if span.kind == "state" and after and after.capital and after.start == span.end + 1:
        total -= 40.0  # New York City is no state
    return total + _name_worth_by_kind(profile, span, _word_before(tokens, span))


def _word_before(tokens: list[Token], span: Span) -> str:
    """The word before a name, over an article."""
    at = span.first - 1
    if at > 0 and tokens[at].lower in ("the", "a", "an"):
        at -= 1
    return tokens[at].lower if at >= 0 else ""


def _name_worth_by_kind(profile: Profile, span: Span, before: str) -> float:
    total = 0.0
    if profile.kind == "place" and profile.role and span.kind == "capitals" and len(span.text) == 3:
        total += 12.0
    if profile.kind in ("place", "country", "state") and before in words.PLACE_CUES:
        total += 18.0
    if span.text in _LANGUAGE_NAMES and profile.kind in ("name", "place", "string"):
        total += 26.0 if profile.stems & _KITCHEN else -20.0
    if profile.kind in ("query", "name"):
        total += 10.0 if before in words.TOPIC_CUES else 0.0
        total -= 14.0 if before in ("in", "at", "near") else 0.0
    return total


def _quote_worth(profile: Profile, span: Span) -> float:
    length = len(span.text)
    if profile.kind in ("text", "query"):
        return 8.0 if " " in span.text else 0.0
    if profile.kind in ("id", "ticker", "user", "path") and (" " in span.text.strip() or length > 80):
        return -60.0
    if profile.kind == "id" and any(letter.isdigit() for letter in span.text):
        return 14.0
    return -10.0 if length > 60 and profile.kind in ("place", "name") else 0.0


# Which number is which: a count of results, a page, a year, an id, a measure with its unit.

_IMPOSSIBLE = -60.0
_NOT_COUNTED = frozenset(("page", "id", "number", "#", "between", "these", "those"))
_ENDS_COUNT = frozenset(("page", "and", "or", "of"))
_VERBS = frozenset(("is", "are", "will", "would", "per", "should"))
_CUED = 20.0
"""At least what is added where the parameter's own name stands by the number."""


@dataclass(slots=True)
class _NumberInPlace:
    """A number with its neighbours, the parameter that it may fill, and what cues have added."""

    text: Text
    profile: Profile
    span: Span
    cue: float

    def before(self, count: int) -> list[Token]:
        return self.text.tokens[max(0, self.span.first - count) : self.span.first]

    def after(self, count: int) -> list[Token]:
        return self.text.tokens[self.span.last + 1 : self.span.last + 1 + count]

    @property
    def next_word(self) -> str:
        return next((token.lower for token in self.after(1)), "")


def _number_worth(text: Text, profile: Profile, span: Span, cue: float) -> float:
    """What a number's unit and neighbours add for the parameter, or take away."""
    if span.unit == "house":
        return 40.0 if {"number", "house"} & set(profile.words) else _IMPOSSIBLE
    total = 0.0
    if span.unit in profile.units:
        total += 40.0
    elif span.unit in words.MEASURES and span.kind == "number" and cue < _CUED:
        total -= 30.0
    rule = _RULES.get(profile.kind)
    return total + (rule(_NumberInPlace(text, profile, span, cue)) if rule else 0.0)


def _count_worth(number: _NumberInPlace) -> float:
    value = number.span.value
    earlier = [token.lower for token in number.before(3)]
    if not isinstance(value, int) or not 0 < value <= 10_000:
        return -40.0
    if words.SKIP_CUES.intersection(earlier) or (earlier and earlier[-1] in _NOT_COUNTED):
        return -40.0
    total = 25.0 if earlier and earlier[-1] in words.COUNT_CUES else 0.0
    if number.next_word in _VERBS or _is_followed_by_plural(number):
        return total + 44.0
    return total + (10.0 if number.cue else 0.0)


def _is_followed_by_plural(number: _NumberInPlace) -> bool:
    """Whether a plural that is no measure follows: 5 results, 10 anime movies."""
    for token in number.after(4):
        if not token.word or token.lower in words.MEASURES or token.lower in _ENDS_COUNT:
            return False
        if _is_plural(token.lower):
            return True
    return False


def _is_plural(word: str) -> bool:
    return word.endswith("s") and len(word) > 3 and word not in words.STOP


def _page_worth(number: _NumberInPlace) -> float:
    beside = {token.lower for token in (*number.before(2), *number.after(1))}
    return 40.0 if "page" in beside and number.next_word != "per" else -20.0


def _offset_worth(number: _NumberInPlace) -> float:
    earlier = {token.lower for token in number.before(4)}
    return 65.0 if earlier & words.SKIP_CUES or earlier & {"starting", "start"} else -10.0


def _year_worth(number: _NumberInPlace) -> float:
    value = number.span.value
    return 50.0 if isinstance(value, int) and 1850 <= value <= 2100 and len(number.span.text) == 4 else _IMPOSSIBLE


def _zip_worth(number: _NumberInPlace) -> float:
    if number.span.unit in words.MEASURES:
        return -40.0
    return 45.0 if number.span.text.isdecimal() and 4 <= len(number.span.text) <= 6 else -20.0


def _phone_worth(number: _NumberInPlace) -> float:
    return 35.0 if number.span.text.isdecimal() and 8 <= len(number.span.text) <= 15 else -30.0


def _identifier_worth(number: _NumberInPlace) -> float:
    if number.span.kind != "number" or not number.span.text.isdecimal():
        return -20.0 if number.cue < _CUED else 0.0
    word = number.next_word
    small = len(number.span.text) < 3 and word.isalpha() and word not in words.STOP
    counted = number.cue < _CUED and (small or _is_plural(word))
    return (12.0 if len(number.span.text) >= 5 else 0.0) - (25.0 if counted else 0.0)


def _coordinate_worth(number: _NumberInPlace) -> float:
    if number.span.kind != number.profile.kind and "." not in number.span.text and number.cue < _CUED:
        return _IMPOSSIBLE
    limit = 90 if number.profile.kind == "latitude" else 180
    value = number.span.value
    return 0.0 if isinstance(value, (int, float)) and abs(value) <= limit else _IMPOSSIBLE


_RULES: dict[str, Callable[[_NumberInPlace], float]] = {
    "count": _count_worth,
    "page": _page_worth,
    "offset": _offset_worth,
    "year": _year_worth,
    "zip": _zip_worth,
    "phone": _phone_worth,
    "id": _identifier_worth,
    "latitude": _coordinate_worth,
    "longitude": _coordinate_worth,
}
