"""Which number is which: a count of results, a page, a year, an id, a measure with its unit."""

from collections.abc import Callable
from dataclasses import dataclass

from app.extraction import words
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.text import Text, Token

_IMPOSSIBLE = -60.0
_NOT_COUNTED = frozenset(("page", "id", "number", "#", "between", "these", "those"))
_ENDS_COUNT = frozenset(("page", "and", "or", "of"))
_VERBS = frozenset(("is", "are", "will", "would", "per", "should"))
CUED = 20.0
"""A cue of this much: the parameter's own name stands by the number."""


@dataclass(slots=True)
class _Site:
    """A number where it stands, and the parameter it is weighed for."""

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


def numeric_worth(text: Text, profile: Profile, span: Span, cue: float) -> float:
    """What unit and neighbours add to a number's worth for the parameter, or take from it."""
    if span.unit == "house":
        return 40.0 if {"number", "house"} & set(profile.words) else _IMPOSSIBLE
    total = 0.0
    if span.unit in profile.units:
        total += 40.0
    elif span.unit in words.MEASURES and span.kind == "number" and cue < CUED:
        total -= 30.0
    rule = _RULES.get(profile.kind)
    return total + (rule(_Site(text, profile, span, cue)) if rule else 0.0)


def _count(site: _Site) -> float:
    value = site.span.value
    earlier = [token.lower for token in site.before(3)]
    if not isinstance(value, int) or not 0 < value <= 10_000:
        return -40.0
    if words.SKIP_CUES.intersection(earlier) or (earlier and earlier[-1] in _NOT_COUNTED):
        return -40.0
    total = 25.0 if earlier and earlier[-1] in words.COUNT_CUES else 0.0
    if site.next_word in _VERBS or _counts_things(site):
        return total + 44.0
    return total + (10.0 if site.cue else 0.0)


def _counts_things(site: _Site) -> bool:
    """Whether a plural that is no measure follows: 5 results, 10 anime movies."""
    for token in site.after(4):
        if not token.word or token.lower in words.MEASURES or token.lower in _ENDS_COUNT:
            return False
        if _plural(token.lower):
            return True
    return False


def _plural(word: str) -> bool:
    return word.endswith("s") and len(word) > 3 and word not in words.STOP


def _page(site: _Site) -> float:
    beside = {token.lower for token in (*site.before(2), *site.after(1))}
    return 40.0 if "page" in beside and site.next_word != "per" else -20.0


def _offset(site: _Site) -> float:
    earlier = {token.lower for token in site.before(4)}
    return 65.0 if earlier & words.SKIP_CUES or earlier & {"starting", "start"} else -10.0


def _year(site: _Site) -> float:
    value = site.span.value
    return 50.0 if isinstance(value, int) and 1850 <= value <= 2100 and len(site.span.text) == 4 else _IMPOSSIBLE


def _zip(site: _Site) -> float:
    if site.span.unit in words.MEASURES:
        return -40.0
    return 45.0 if site.span.text.isdecimal() and 4 <= len(site.span.text) <= 6 else -20.0


def _phone(site: _Site) -> float:
    return 35.0 if site.span.text.isdecimal() and 8 <= len(site.span.text) <= 15 else -30.0


def _identifier(site: _Site) -> float:
    if site.span.kind != "number" or not site.span.text.isdecimal():
        return -20.0 if site.cue < CUED else 0.0
    word = site.next_word
    small = len(site.span.text) < 3 and word.isalpha() and word not in words.STOP
    counted = site.cue < CUED and (small or _plural(word))
    return (12.0 if len(site.span.text) >= 5 else 0.0) - (25.0 if counted else 0.0)


def _coordinate(site: _Site) -> float:
    if site.span.kind != site.profile.kind and "." not in site.span.text and site.cue < CUED:
        return _IMPOSSIBLE
    limit = 90 if site.profile.kind == "latitude" else 180
    value = site.span.value
    return 0.0 if isinstance(value, (int, float)) and abs(value) <= limit else _IMPOSSIBLE


_RULES: dict[str, Callable[[_Site], float]] = {
    "count": _count,
    "page": _page,
    "offset": _offset,
    "year": _year,
    "zip": _zip,
    "phone": _phone,
    "id": _identifier,
    "latitude": _coordinate,
    "longitude": _coordinate,
}
