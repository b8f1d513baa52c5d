"""How well a span suits a parameter: what it is, what stands beside it, where it stands."""

import re

from app.extraction import codes, words
from app.extraction.fits import FITS
from app.extraction.numeric import numeric_worth
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.text import Text, Token, stem, words_of
from app.extraction.values import NUMERIC

REQUIRED_THRESHOLD = 40.0
OPTIONAL_THRESHOLD = 62.0
"""An optional parameter is filled only where the instruction clearly states it."""


_ONE_PLACE = frozenset(map(stem, ("city", "town", "state", "county", "region")))
_LASTING = re.compile(r"\d{1,4}[a-z]{1,2}")
_STREET = frozenset(("street", "road"))


def score(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
    """Worth of filling the parameter with the span; compare with the thresholds. Below zero where they cannot meet."""
    base = FITS.get(profile.kind, FITS["string"]).get(span.kind)
    if base is None:
        return -1.0
    cue = _cue(text, profile, span)
    total = base + cue + _role(text, profile, span) + _described(text, profile, span)
    if span.kind in NUMERIC:
        lasting = span.unit in words.PERIODS and _LASTING.fullmatch(profile.example)
        return total + (38.0 if lasting else numeric_worth(text, profile, span, cue))
    if span.kind in ("proper", "capitals", "country", "state"):
        return total + _named(text, profile, span, tool_stems)
    if span.kind == "quoted":
        return total + _quoted(profile, span)
    return total + _special(profile, span)


def _special(profile: Profile, span: Span) -> float:
    """What only a parameter of some names takes."""
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


def _cue(text: Text, profile: Profile, span: Span) -> float:
    """The parameter's own name before the span, or right after it."""
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


_LANGUAGE_NAMES = frozenset(name.title() for name in codes.LANGUAGES)
_ACRONYMS = words_of("ESG CEO CFO API APIs URL URLs ETF IPO GDP USA US UK EU ROI EPS JSON ISIN SKU ID IDs AI ZIP P/E")
_KITCHEN = frozenset(map(stem, ("food", "cuisine", "nationality", "dish")))


def _named(text: Text, profile: Profile, span: Span, tool_stems: frozenset[str]) -> float:
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
    return total + _named_as(profile, span, _word_before(tokens, span))


def _word_before(tokens: list[Token], span: Span) -> str:
    """The word before a name, over an article."""
    at = span.first - 1
    if at > 0 and tokens[at].lower in ("the", "a", "an"):
        at -= 1
    return tokens[at].lower if at >= 0 else ""


def _named_as(profile: Profile, span: Span, before: str) -> float:
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


def _quoted(profile: Profile, span: Span) -> float:
    length = len(span.text)
    if profile.kind in ("text", "query"):
        return 8.0 if " " in span.text else 0.0
    if profile.kind in ("id", "ticker", "user", "path") and (" " in span.text.strip() or length > 80):
        return -60.0
    if profile.kind == "id" and any(letter.isdigit() for letter in span.text):
        return 14.0
    return -10.0 if length > 60 and profile.kind in ("place", "name") else 0.0
