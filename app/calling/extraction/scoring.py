"""How well a span suits a parameter: what it is, what stands beside it, where it stands."""

from collections.abc import Mapping

from app.calling.extraction import codes, words
from app.calling.extraction.profile import Profile
from app.calling.extraction.spans import Span
from app.calling.extraction.text import Text, Token, stem
from app.calling.extraction.values import NUMERIC

REQUIRED_THRESHOLD = 40.0
OPTIONAL_THRESHOLD = 62.0
"""An optional parameter is filled only where the instruction clearly states it."""

_FITS: Mapping[str, Mapping[str, float]] = {
    "email": {"email": 88, "quoted": 60},
    "url": {"url": 88, "domain": 60, "quoted": 55},
    "domain": {"domain": 88, "url": 66, "quoted": 55},
    "ip": {"ip": 88, "quoted": 50},
    "phone": {"phone": 88, "number": 35, "quoted": 40},
    "latitude": {"latitude": 88, "number": 20},
    "longitude": {"longitude": 88, "number": 20},
    "coordinates": {"pair": 88, "quoted": 40},
    "zip": {"number": 25, "id": 25, "quoted": 45},
    "date": {"date": 80, "quoted": 15},
    "time": {"time": 80, "date": 10},
    "year": {"number": 20, "date": 70},
    "month": {"number": 10, "date": 70},
    "day": {"number": 10, "date": 70},
    "page": {"number": 8, "ordinal": 25},
    "offset": {"number": 5},
    "count": {"number": 20},
    "number": {"number": 42, "money": 50, "percent": 45, "ordinal": 15},
    "id": {"id": 62, "uuid": 80, "number": 42, "quoted": 52, "hex": 50, "handle": 30, "phone": 15, "file": 20},
    "ticker": {"capitals": 54, "company": 46, "quoted": 56, "proper": 30, "id": 30, "currency": 30},
    "airport": {"capitals": 68, "airport": 60, "quoted": 50},
    "user": {"handle": 84, "quoted": 54, "proper": 32, "email": 30, "id": 40},
    "hashtag": {"hashtag": 88, "quoted": 45},
    "color": {"hex": 66, "quoted": 30},
    "path": {"path": 72, "file": 80, "quoted": 52},
    "country": {"country": 80, "quoted": 40, "proper": 25},
    "language": {"language": 80, "quoted": 15},
    "currency": {"currency": 80, "money": 20, "quoted": 40},
    "state": {"state": 80, "proper": 35, "quoted": 35},
    "place": {"proper": 46, "country": 46, "state": 40, "quoted": 56, "address": 80, "street": 70, "joined": 80, "numbered": 30, "compass": 44, "number": 12, "capitals": 36, "zip": 20},
    "name": {"level": 10, "proper": 45, "quoted": 56, "file": 52, "capitals": 38, "id": 22, "country": 20, "domain": 20, "handle": 20, "number": 8, "url": 12},
    "query": {"quoted": 66, "clause": 38, "proper": 42, "capitals": 44, "country": 30, "url": 42, "id": 38, "ip": 42, "domain": 36, "email": 36, "hashtag": 55,
              "handle": 36, "file": 20, "language": 10, "currency": 10, "state": 20, "number": 14, "address": 45, "joined": 46},
    "text": {"quoted": 74, "clause": 64, "url": 14, "proper": 10, "number": 10},
    "option": {"quoted": 40, "number": 24},
    "string": {"level": 70, "quoted": 48, "proper": 35, "capitals": 37, "joined": 30, "id": 40, "number": 26, "file": 40, "path": 40, "url": 42, "domain": 42, "uuid": 42,
               "email": 40, "country": 38, "language": 30, "currency": 34, "state": 30, "date": 24, "hashtag": 30, "handle": 36, "hex": 30, "ip": 42,
               "phone": 30, "time": 16, "percent": 20, "money": 20},
    "secret": {"quoted": 18, "id": 18, "uuid": 18, "number": 0},
    "cursor": {"quoted": 10, "id": 10, "number": 0},
    "sort": {"quoted": 20},
    "timezone": {"path": 80, "quoted": 30},
    "array": {"quoted": 45, "number": 30, "id": 45, "proper": 35, "email": 50, "url": 50, "capitals": 45, "country": 40, "language": 40},
}  # fmt: skip


_ONE_PLACE = frozenset(map(stem, ("city", "town", "state", "county", "region")))


_STREET = frozenset(("street", "road"))


def score(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
    """Worth of filling the parameter with the span; compare with the thresholds. Below zero where they cannot meet."""
    fits = _FITS.get(profile.kind, _FITS["string"])
    base = fits.get(span.kind)
    if base is None:
        return -1.0
    if span.kind == "street" and not _STREET & set(profile.words):
        return -1.0
    cue = _cue(text, profile, span)
    total = base + cue + _role(text, profile, span) + _described(text, profile, span)
    if span.kind in NUMERIC:
        total += _numeric(text, profile, span, cue)
    elif span.kind in ("proper", "capitals", "country", "state"):
        total += _named(text, profile, span, tool_stems)
    elif span.kind == "id" and profile.kind == "zip":
        total += 20.0 if len(span.text) <= 8 and span.text.isupper() else 0.0
    elif span.kind == "address":
        total -= 45.0 if "street" in profile.words else 0.0
    elif span.kind == "joined":
        total -= 40.0 if profile.stems & _ONE_PLACE else 0.0
    elif span.kind == "level":
        total -= 0.0 if "price" in profile.words else 100.0
    elif span.kind == "quoted":
        total += _quoted(profile, span)
    return total


def _cue(text: Text, profile: Profile, span: Span) -> float:
    """The parameter's own name before the span, or right after it."""
    tokens = text.tokens
    index = span.first - 1
    steps = 0
    best = 0.0
    while index >= 0 and steps < 5 and tokens[index].sentence == tokens[span.first].sentence:
        token = tokens[index]
        if token.stem in profile.stems or token.stem in profile.all_stems:
            covered = sum(1 for each in tokens[max(0, index - 2) : index + 1] if each.stem in profile.all_stems)
            best = (34.0 if token.stem in profile.stems else 18.0) + 6.0 * min(2, covered - 1) - 2.0 * steps
            break
        if token.lower not in words.FILLERS:
            break
        index -= 1
        steps += 1
    return max(best, _cue_after(tokens, profile, span))


def _cue_after(tokens: list[Token], profile: Profile, span: Span) -> float:
    for distance in (1, 2):
        index = span.last + distance
        if index >= len(tokens) or not tokens[index].word or tokens[index].lower in words.STOP:
            return 0.0
        if tokens[index].stem in profile.stems:
            return 30.0 if distance == 1 else 20.0
    return 0.0


def _role(text: Text, profile: Profile, span: Span) -> float:
    if not profile.role:
        return 0.0
    role = span_role(text, span)
    if not role:
        return 0.0
    return 22.0 if role == profile.role else -45.0


def span_role(text: Text, span: Span) -> str:
    """start or end, by the words before: from, between, at least; to, until, at most; "A and B" after between."""
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


def _described(text: Text, profile: Profile, span: Span) -> float:
    """Words of the description beside the span."""
    tokens = text.tokens
    near = 0
    for token in (*tokens[max(0, span.first - 3) : span.first], *tokens[span.last + 1 : span.last + 3]):
        if token.word and len(token.lower) > 2 and token.lower not in words.STOP and token.stem in profile.described:
            near += 1
    return 6.0 * min(2, near)


def _numeric(text: Text, profile: Profile, span: Span, cue: float) -> float:
    unit = span.unit
    if unit == "house":
        return 40.0 if {"number", "house"} & set(profile.words) else -60.0
    total = 0.0
    if profile.units:
        total += 40.0 if unit in profile.units else 0.0
    if not (profile.units and unit in profile.units) and unit in words.MEASURES and span.kind == "number":
        total -= 30.0 if cue < 20 else 0.0
    special = _NUMBER_RULES.get(profile.kind)
    return total + (special(text, profile, span, cue) if special else 0.0)


def _count(text: Text, profile: Profile, span: Span, cue: float) -> float:
    tokens = text.tokens
    if not isinstance(span.value, int) or not 0 < span.value <= 10_000:
        return -40.0
    before = tokens[span.first - 1].lower if span.first else ""
    earlier = {token.lower for token in tokens[max(0, span.first - 3) : span.first]}
    if earlier & words.SKIP_CUES or before in ("page", "id", "number", "#", "between", "these", "those"):
        return -40.0
    total = 25.0 if before in words.COUNT_CUES else 0.0
    for token in tokens[span.last + 1 : span.last + 5]:
        if (
            token.lower in words.MEASURES
            or not token.word
            or token.lower == "page"
            or token.lower in ("and", "or", "of")
        ):
            break
        if token.lower.endswith("s") and len(token.lower) > 3 and token.lower not in words.STOP:
            return total + 44.0
    if tokens[span.last + 1 : span.last + 2] and tokens[span.last + 1].lower in (
        "is",
        "are",
        "will",
        "would",
        "per",
        "should",
    ):
        return total + 44.0
    return total + (10.0 if cue else 0.0)


def _page(text: Text, profile: Profile, span: Span, cue: float) -> float:
    beside = {
        token.lower
        for token in (*text.tokens[max(0, span.first - 2) : span.first], *text.tokens[span.last + 1 : span.last + 2])
    }
    return 40.0 if "page" in beside and text.tokens[min(span.last + 1, len(text.tokens) - 1)].lower != "per" else -20.0


def _offset(text: Text, profile: Profile, span: Span, cue: float) -> float:
    earlier = {token.lower for token in text.tokens[max(0, span.first - 4) : span.first]}
    return 65.0 if earlier & (words.SKIP_CUES | {"starting", "start"}) else -10.0


def _year(text: Text, profile: Profile, span: Span, cue: float) -> float:
    return 50.0 if isinstance(span.value, int) and 1850 <= span.value <= 2100 and len(span.text) == 4 else -60.0


def _zip(text: Text, profile: Profile, span: Span, cue: float) -> float:
    if span.unit in words.MEASURES:
        return -40.0
    return 45.0 if span.text.isdecimal() and 4 <= len(span.text) <= 6 else -20.0


def _phone(text: Text, profile: Profile, span: Span, cue: float) -> float:
    return 35.0 if span.text.isdecimal() and 8 <= len(span.text) <= 15 else -30.0


def _identifier(text: Text, profile: Profile, span: Span, cue: float) -> float:
    if span.kind == "number" and span.text.isdecimal():
        follows = text.tokens[span.last + 1].lower if span.last + 1 < len(text.tokens) else ""
        counted = follows.endswith("s") and len(follows) > 3 and follows not in words.STOP and cue < 20
        described = len(span.text) < 3 and cue < 18 and follows.isalpha() and follows not in words.STOP
        counted = counted or described
        return (12.0 if len(span.text) >= 5 else 0.0) - (25.0 if counted else 0.0)
    return -20.0 if cue < 20 else 0.0


def _coordinate(text: Text, profile: Profile, span: Span, cue: float) -> float:
    limit = 90 if profile.kind == "latitude" else 180
    if span.kind != profile.kind and "." not in span.text and cue < 20:
        return -60.0
    return 0.0 if isinstance(span.value, (int, float)) and abs(span.value) <= limit else -60.0


_NUMBER_RULES = {
    "count": _count, "page": _page, "offset": _offset, "year": _year, "zip": _zip, "phone": _phone, "id": _identifier,
    "latitude": _coordinate, "longitude": _coordinate,
}  # fmt: skip


_LANGUAGE_NAMES = frozenset(name.title() for name in codes.LANGUAGES)
_ACRONYMS = words.words_of(
    "ESG CEO CFO API APIs URL URLs ETF IPO GDP USA US UK EU ROI EPS JSON ISIN SKU ID IDs AI ZIP P/E"
)
_KITCHEN = frozenset(map(stem, ("food", "cuisine", "nationality", "dish")))


def _named(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
    total = 0.0
    tokens = text.tokens
    inside = tokens[span.first : span.last + 1]
    if all(token.stem in tool_stems for token in inside):
        total -= 45.0
    if text.opens_sentence(span.first):
        total -= 8.0 if span.first < span.last or inside[0].text.isupper() else 22.0
    before = tokens[span.first - 1].lower if span.first else ""
    if before in ("the", "a", "an") and span.first > 1:
        before = tokens[span.first - 2].lower
    if span.text in _ACRONYMS:
        total -= 30.0
    if (
        span.kind == "state"
        and span.last + 1 < len(tokens)
        and tokens[span.last + 1].capital
        and tokens[span.last + 1].start == span.end + 1
    ):
        total -= 40.0
    if profile.kind == "place" and profile.role and span.kind == "capitals" and len(span.text) == 3:
        total += 12.0
    if profile.kind in ("place", "country", "state") and before in words.PLACE_CUES:
        total += 18.0
    if span.text in _LANGUAGE_NAMES and profile.kind in ("name", "place", "string"):
        total += 26.0 if profile.stems & _KITCHEN else -20.0
    if profile.kind in ("query", "name") and before in words.TOPIC_CUES:
        total += 10.0
    if profile.kind in ("query", "name") and before in ("in", "at", "near"):
        total -= 14.0
    return total


def _quoted(profile: Profile, span: Span) -> float:
    length = len(span.text)
    if profile.kind in ("text", "query"):
        return 8.0 if " " in span.text else 0.0
    if profile.kind in ("id", "ticker", "user", "path") and (" " in span.text.strip() or length > 80):
        return -35.0
    if profile.kind == "id" and any(letter.isdigit() for letter in span.text):
        return 14.0
    return -10.0 if length > 60 and profile.kind in ("place", "name") else 0.0
