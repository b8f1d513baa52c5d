"""Names in an instruction: countries, languages and currencies, runs of capitalised words, places and addresses."""

import re

from app.extraction import codes, words
from app.extraction.spans import Span
from app.extraction.words import Text

_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,5}[A-Za-z]?,? (?:[\w.'’-]{1,30} ){1,4}?(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Boulevard|Dr|Drive|Ln"
    r"|Lane|Way|Ct|Court|Pl|Place|Sq|Square|Pkwy|Parkway|Hwy|Highway|Terrace|Circle)\b\.?"
    r"(?:,? (?:[A-Z][\w.'’-]{0,30},? ?){0,5}(?:\d{5}(?:-\d{4})?)?)?"
)
_STREET = re.compile(r"\d{1,5}[A-Za-z]?,? ([^,]{1,100}?)(?:\.?(?:,.*| [A-Z]{2} \d{5}.*))?$", re.DOTALL)


def coded_name_spans(text: Text) -> list[Span]:
    """Names that `app.extraction.codes` knows, with their codes, and codes that stand in capitals themselves."""
    spans = []
    tokens = text.tokens
    for index, token in enumerate(tokens):
        if token.lower.removesuffix("'s") not in codes.FIRST_WORDS:
            if token.text.isupper() and (token.text in codes.CURRENCY_CODES or token.text in codes.STATE_CODES):
                kind = "currency" if token.text in codes.CURRENCY_CODES else "state"
                unit = "start" if index and tokens[index - 1].lower[0].isdigit() else ""
                spans.append(Span(kind, token.start, token.end, token.text, token.text, index, index, unit))
            continue
        for length in range(min(codes.LONGEST_NAME, len(tokens) - index), 0, -1):
            last = index + length - 1
            phrase = text.raw[token.start : tokens[last].end]
            phrase = phrase[:-2] if phrase.endswith(("'s", "’s")) else phrase
            found = codes.find_codes(phrase)
            if found:
                end = token.start + len(phrase)
                unit = "start" if index and tokens[index - 1].lower[0].isdigit() else ""
                spans.extend(Span(kind, token.start, end, phrase, code, index, last, unit) for kind, code in found)
                break
    return spans


def capitalised_spans(text: Text, taken: list[Span]) -> list[Span]:
    """Runs of capitalised words, of kind `proper`; `capitals` where it is one word in capitals (TSLA, LIS).

    Words of the `taken` spans do not count, unless they are names or ordinals themselves.
    """
    tokens = text.tokens
    blocked = {
        index
        for span in taken
        if span.kind not in ("country", "state", "language", "currency", "ordinal")
        for index in range(span.first, span.last + 1)
    }
    spans: list[Span] = []
    index = 0
    while index < len(tokens):
        if not _opens_name(text, index) or index in blocked:
            index += 1
            continue
        last = name_end(text, index, blocked)
        content = text.raw[tokens[index].start : tokens[last].end]
        if content.endswith(("'s", "’s")):
            content = content[:-2]
        single = index == last and 2 <= len(content) <= 8 and content.isupper()
        start = tokens[index].start
        spans.append(Span("capitals" if single else "proper", start, start + len(content), content, None, index, last))
        index = last + 1
    return spans


def _opens_name(text: Text, index: int) -> bool:
    """Whether a name may begin at the token."""
    token = text.tokens[index]
    if not token.word or not (token.capital or any(letter.isupper() for letter in token.text[1:])):
        return False
    if token.lower in words.NOT_NAMES and not (token.text.isupper() and token.lower == "us"):
        return False
    if text.opens_sentence(index) and not token.text[1:].isupper():
        return token.lower not in words.STOP and token.stem not in words.REQUESTS
    return token.lower not in words.STOP or len(token.lower) > 4


def name_end(text: Text, index: int, blocked: set[int]) -> int:
    """Index of the last token of the name that begins at token `index`; `blocked` tokens are in no name."""
    tokens = text.tokens
    last = index
    while last + 1 < len(tokens) and last - index < 8:
        following = last + 1
        if (
            tokens[following].lower in words.CONNECTORS
            and following + 1 < len(tokens)
            and tokens[following].lower not in ("in", "and")
        ):
            following += 1
        adjacent = tokens[following].start - tokens[following - 1].end <= 1
        if following in blocked or not adjacent or not tokens[following].word or not tokens[following].capital:
            break
        if tokens[following].lower in words.NOT_NAMES:
            break
        last = following
    return last


def joined_place_spans(text: Text, spans: list[Span]) -> list[Span]:
    """Places of two parts (`Lisbon, Portugal`), of kind `joined`."""
    joined = []
    names = [span for span in spans if span.kind in ("proper", "country", "state", "capitals")]
    starts = {span.start: span for span in names}
    for span in names:
        other = starts.get(span.end + 2)
        if span.kind == "proper" and other and text.raw[span.end : other.start] == ", ":
            joined.append(
                Span("joined", span.start, other.end, text.raw[span.start : other.end], None, span.first, other.last)
            )
    return joined


def address_spans(text: Text) -> list[Span]:
    """Postal addresses with a house number, and the street in each."""
    spans = []
    for match in _ADDRESS.finditer(text.raw) if any(map(str.isdigit, text.raw)) else ():
        content = match.group().rstrip(", ")
        end = match.start() + len(content)
        first, last = text.index_at(match.start()), text.index_at(end - 1)
        spans.append(Span("address", match.start(), end, content, None, first, last))
        if street := _STREET.match(content):
            start = match.start() + street.start(1)
            spans.append(
                Span(
                    "street",
                    start,
                    match.start() + street.end(1),
                    street[1],
                    None,
                    first + 1,
                    first + len(street[1].split()),
                )
            )
    return spans


def place_spans(text: Text) -> list[Span]:
    """Points of the compass (`in the north`), price levels, and house numbers before a bare name (6185 Gar)."""
    spans = []
    tokens = text.tokens
    for index, token in enumerate(tokens):
        if (
            token.lower in words.COMPASS
            and index > 1
            and tokens[index - 1].lower in ("the", "in")
            and not token.capital
        ):
            spans.append(Span("compass", token.start, token.end, token.text, None, index, index))
        if token.lower in words.PRICE_LEVELS:
            spans.append(Span("level", token.start, token.end, token.text, None, index, index))
        if token.text.isdecimal() and index + 1 < len(tokens) and _opens_name(text, index + 1) and len(token.text) < 6:
            last = name_end(text, index + 1, set())
            end = tokens[last].end
            spans.append(Span("numbered", token.start, end, text.raw[token.start : end], None, index, last))
    return spans
