"""An instruction as tokens and sentences."""

import re
from bisect import bisect_right
from functools import cached_property, lru_cache
from typing import NamedTuple

import Stemmer

MAX_LENGTH = 10_000
"""Characters of an instruction that are read; what lies beyond cannot name a parameter's value."""

_TOKEN = re.compile(r"\w+(?:['’&.\-]\w+)*|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’»)]?\s+(?=[\"'“‘«(]?[A-Z0-9])|\n+")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Inc|Ltd|Co|vs|etc|e\.g|i\.e|No|approx)\.\s*$", re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ENGLISH = Stemmer.Stemmer("english")


def words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


@lru_cache(maxsize=32_768)
def stem(word: str) -> str:
    """The English Snowball stem of a lower-cased word."""
    if len(word) >= 40:
        return word
    try:
        return str(_ENGLISH.stemWord(word))
    except UnicodeEncodeError:  # half a surrogate pair
        return word


class Token(NamedTuple):
    text: str
    lower: str
    stem: str
    start: int
    end: int
    sentence: int

    @property
    def capital(self) -> bool:
        return self.text[0].isupper()

    @property
    def word(self) -> bool:
        return self.text[0].isalnum()


class Text:
    """The instruction with its tokens. Offsets are into `raw`, which is cut at `MAX_LENGTH` characters."""

    def __init__(self, instruction: str) -> None:
        self.raw = instruction[:MAX_LENGTH]
        lowered = self.raw.lower()
        # A few letters change length when lower-cased, which would shift every offset after them.
        self.lowered = lowered if len(lowered) == len(self.raw) else self.raw.translate(_ASCII_LOWER)
        breaks = self.sentence_starts
        self.tokens: list[Token] = []
        for match in _TOKEN.finditer(self.raw):
            word = match.group()
            lower = word.lower().replace("’", "'")
            start = match.start()
            base = lower.removesuffix("'s")
            self.tokens.append(Token(word, lower, stem(base), start, match.end(), bisect_right(breaks, start) - 1))
        self.starts = [token.start for token in self.tokens]

    @cached_property
    def sentence_starts(self) -> list[int]:
        """Offsets at which sentences begin; lines are sentences too."""
        ends = _SENTENCE_END.finditer(self.raw)
        return [0, *(match.end() for match in ends if not self._abbreviated(match.start()))]

    def _abbreviated(self, end: int) -> bool:
        return _ABBREVIATION.search(self.raw[max(0, end - 8) : end + 1]) is not None

    def index_at(self, offset: int) -> int:
        """Index of the token that holds the character at `offset`, or of the last one before it."""
        return max(0, bisect_right(self.starts, offset) - 1)

    def opens_sentence(self, index: int) -> bool:
        """Whether no word of its sentence stands before the token."""
        token = self.tokens[index]
        for before in range(index - 1, -1, -1):
            if self.tokens[before].sentence != token.sentence:
                return True
            if self.tokens[before].word:
                return False
        return True


_COMPOUND = re.compile(
    r"^(country|zip|postal|lang|language|currency|region|state|start|end|from|to|min|max|per|page|cur|current|"
    r"user|screen|price|first|last|file|check|search|sort|order|api|birth)"
    r"(code|date|time|page|size|name|id|num|number|key|by|in|out|term|query|price|day|year|length|text|range|level)$"
)
_MEASURE = re.compile(r"^(height|weight|length|duration|distance|radius)(?:in)?(feet|inches|kg|cm|lbs|minutes|km)$")
_NOT_AN_ID = words_of("covid android rapid liquid hybrid avoid solid valid grid paid void kid bid aid mid")


@lru_cache(maxsize=8192)
def name_words(name: str) -> tuple[str, ...]:
    """The lower-case words a parameter or tool name is made of: `fromDate`, `from_date`, `fromdate` -> from, date."""
    words: list[str] = []
    for part in _PARTS.findall(name[:200]):
        word = part.lower()
        compound = _COMPOUND.match(word)
        if compound:
            words.extend(compound.groups())
        elif measure := _MEASURE.match(word):
            words.extend(measure.groups())
        elif word.endswith("id") and len(word) > 4 and word not in _NOT_AN_ID:
            words.extend((word[:-2], "id"))
        elif word in ("latlng", "latlon", "latlong"):
            words.extend(("lat", "lng"))
        elif word in ("dateofbirth", "timeofbirth"):
            words.extend((word[:4], "birth"))
        else:
            words.append(word)
    return tuple(words)
