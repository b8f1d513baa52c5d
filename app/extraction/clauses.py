"""Longer text that is itself the value: what follows a colon, what is to be translated, what a message is to say."""

import re
from collections.abc import Iterator

from app.extraction.spans import Span
from app.extraction.text import Text

_READ = 4000
"""Characters that are searched: these patterns may look far ahead from each place."""
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
    raw = text.raw[:_READ]
    if match := _COLON.search(raw):
        content = text.raw[match.end() :].strip()
        if " " in content and not content.startswith(("'", '"', "“")):
            yield _span(text, match.end(), len(text.raw.rstrip()))
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
