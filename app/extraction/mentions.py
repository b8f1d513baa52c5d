"""Spans that only context gives away: capitalised names, addresses, plain words beside a parameter's name."""

import re
from collections.abc import Iterator

from app.extraction import words
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.text import Text, words_of

_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,5}[A-Za-z]?,? (?:[\w.'’-]{1,30} ){1,4}?(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Boulevard|Dr|Drive|Ln"
    r"|Lane|Way|Ct|Court|Pl|Place|Sq|Square|Pkwy|Parkway|Hwy|Highway|Terrace|Circle)\b\.?"
    r"(?:,? (?:[A-Z][\w.'’-]{0,30},? ?){0,5}(?:\d{5}(?:-\d{4})?)?)?"
)
_STREET = re.compile(r"\d{1,5}[A-Za-z]?,? ([^,]{1,100}?)(?:\.?(?:,.*| [A-Z]{2} \d{5}.*))?$", re.DOTALL)
_WORD_KINDS = words_of(
    "name place query string user id secret path sort state ticker timezone color country domain time"
)


def proper_spans(text: Text, taken: list[Span]) -> list[Span]:
    """Runs of capitalised words; `capitals` where the run is one word of capitals (TSLA, LIS)."""
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
        if not _capital(text, index) or index in blocked:
            index += 1
            continue
        last = _run_end(text, index, blocked)
        text_of = text.raw[tokens[index].start : tokens[last].end]
        if text_of.endswith(("'s", "’s")):
            text_of = text_of[:-2]
        single = index == last and 2 <= len(text_of) <= 8 and text_of.isupper()
        start = tokens[index].start
        spans.append(Span("capitals" if single else "proper", start, start + len(text_of), text_of, None, index, last))
        index = last + 1
    return spans


def _capital(text: Text, index: int) -> bool:
    token = text.tokens[index]
    if not token.word or not (token.capital or any(letter.isupper() for letter in token.text[1:])):
        return False
    if token.lower in words.NOT_NAMES and not (token.text.isupper() and token.lower == "us"):
        return False
    if text.opens_sentence(index) and not token.text[1:].isupper():
        return token.lower not in words.STOP and token.stem not in words.REQUESTS
    return token.lower not in words.STOP or len(token.lower) > 4


def _run_end(text: Text, index: int, blocked: set[int]) -> int:
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


def comma_places(text: Text, spans: list[Span]) -> list[Span]:
    """`Lisbon, Portugal` as one place, beside its two parts."""
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


def cued_spans(
    text: Text, profile: Profile, taken: list[Span], positions: dict[str, list[int]]
) -> Iterator[tuple[float, Span]]:
    """(score, span) for plain words after the parameter's name (`username is marta`) or before it (`the EU server`)."""
    if profile.kind not in _WORD_KINDS or profile.json_type != "string":
        return
    blocked = {index for span in taken for index in range(span.first, span.last + 1)}
    for name in sorted(profile.stems):
        for at in positions.get(name, ())[:20]:
            span, worth = _after(text, profile, at, blocked)
            if span is not None:
                yield worth, span
            span, worth = _before(text, profile, at, blocked)
            if span is not None:
                yield worth, span


def _after(text: Text, profile: Profile, at: int, blocked: set[int]) -> tuple[Span | None, float]:
    tokens = text.tokens
    index, assigned, fillers = at + 1, False, 0
    while (
        index < len(tokens)
        and fillers < 4
        and tokens[index].lower
        in (words.FILLERS | {"id", "name"}) - {"for", "to", "with", ",", "in", "on", "at", "that"}
    ):
        assigned = assigned or tokens[index].lower in words.ASSIGNING
        index += 1
        fillers += 1
    if index >= len(tokens) or index in blocked or tokens[index].sentence != tokens[at].sentence:
        return None, 0.0
    token = tokens[index]
    if not token.word or (token.lower in words.STOP and not token.capital) or token.stem in words.REQUESTS:
        return None, 0.0
    proper = token.capital or "-" in token.text or "_" in token.text or "." in token.text
    participle = token.lower.endswith(("ed", "ing", "ly"))
    plain = fillers == 0 and profile.kind != "place" and not participle and tokens[at].lower in profile.words
    if (token.stem in words.GENERIC_NOUNS and not assigned) or (participle and not token.capital):
        return None, 0.0
    if not (assigned or proper or plain) or (
        profile.kind in ("id", "secret", "cursor") and not assigned and not proper
    ):
        return None, 0.0
    last = _value_end(text, profile, index, blocked)
    worth = 50.0 + (22.0 if assigned else 0.0) + (14.0 if proper else 0.0)
    end = tokens[last].end
    return Span("word", token.start, end, text.raw[token.start : end], None, index, last), worth


def _value_end(text: Text, profile: Profile, index: int, blocked: set[int]) -> int:
    tokens = text.tokens
    if tokens[index].capital and profile.kind not in ("user", "id", "secret"):
        return _run_end(text, index, blocked)
    if profile.kind == "text":
        last = index
        while (
            last + 1 < len(tokens) and tokens[last + 1].sentence == tokens[index].sentence and last + 1 not in blocked
        ):
            last += 1
        return last if tokens[last].word or last == index else last - 1
    longest = 4 if profile.kind in ("query", "name", "place", "string") else 1
    last = index
    while last + 1 < len(tokens) and last + 1 - index < longest:
        token = tokens[last + 1]
        if last + 1 in blocked or not token.word or token.lower in words.STOP or token.stem in words.REQUESTS:
            break
        last += 1
    return last


def _before(text: Text, profile: Profile, at: int, blocked: set[int]) -> tuple[Span | None, float]:
    tokens = text.tokens
    index = at - 1
    if index < 1 or index in blocked or profile.kind in ("id", "secret", "query", "user"):
        return None, 0.0
    token = tokens[index]
    if not token.word or token.lower in words.STOP or token.stem in words.REQUESTS or token.stem in words.GENERIC_NOUNS:
        return None, 0.0
    if tokens[index - 1].lower not in ("the", "a", "an", "in", "our", "my", "any"):
        return None, 0.0
    return Span("word", token.start, token.end, token.text, None, index, index), 64.0 if tokens[
        index - 1
    ].lower == "the" else 46.0


def place_spans(text: Text) -> list[Span]:
    """`in the north`, and a house number with a name that no street word ends (6185 Gar)."""
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
        if token.text.isdecimal() and index + 1 < len(tokens) and _capital(text, index + 1) and len(token.text) < 6:
            last = _run_end(text, index + 1, set())
            end = tokens[last].end
            spans.append(Span("numbered", token.start, end, text.raw[token.start : end], None, index, last))
    return spans
