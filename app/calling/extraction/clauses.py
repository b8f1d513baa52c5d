"""Longer text that is itself the value: what follows a colon, what is to be translated, what a message is to say."""

import re
from collections.abc import Iterator

from app.calling.extraction.spans import Span
from app.calling.extraction.text import Text

_COLON = re.compile(r":\s+(?=\S)")
_TRANSLATE = re.compile(
    r"\btranslate\s+(?:the\s+(?:text|sentence|phrase|word|words)\s+|this\s+|that\s+)?(?!the following|this |it )(.{1,400}?)\s+(?:in)?to\s+[A-Z]|\bsay\s+(.{1,200}?)\s+in\s+[A-Z]"
)
_SAYING = re.compile(
    r"\b(?:saying|says|say|tell(?:ing)?\s+(?:him|her|them|everyone)|reading|with the (?:text|message|body))\s+(?:that\s+)?(?!about\b|in\b)(.{1,600}?)(?:[.!?]?\s*$|\n)",
    re.IGNORECASE,
)


def clause_spans(text: Text) -> Iterator[Span]:
    raw = text.raw
    if match := _COLON.search(raw):
        content = raw[match.end() :].strip()
        if " " in content and not content.startswith(("'", '"', "“")):
            yield _span(text, match.end(), len(raw.rstrip()))
    lower_start = raw[:1].lower() + raw[1:]
    for pattern in (_TRANSLATE, _SAYING):
        if match := pattern.search(lower_start):
            group = match.lastindex or 1
            if match[group].strip():
                yield _span(text, match.start(group), match.end(group))


def _span(text: Text, start: int, end: int) -> Span:
    return Span(
        "clause",
        start,
        end,
        text.raw[start:end].strip(),
        None,
        text.index_at(start),
        text.index_at(max(start, end - 1)),
    )
