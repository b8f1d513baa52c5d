"""Regular expressions of tool documents that a grammar can follow, with an end to every repetition.

vLLM's xgrammar and llguidance read different dialects, and a `+` lets a weak model write until it is cut off. What
is translated here means the same in both, in Python and in JSON Schema: literals, classes, groups, alternatives and
counted repetitions, anchored at both ends. All else is left to the check afterwards (`app.answers.validation`).
"""

import re
from dataclasses import dataclass

_SHORTHAND = {"d": "0-9", "w": "0-9A-Za-z_", "s": " "}
_QUANTIFIER = re.compile(r"\*|\+|\?|\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\}")
_GROUP = re.compile(r"\((?:\?:)?(?!\?)")
_SPECIAL = frozenset("\\^$.|?*+()[]{}/-")
# Written with an escape in JSON, which the libraries count and quote in different ways.
_IN_JSON = frozenset('"\\')
REPETITIONS = 128
"""Most repetitions of one piece: with more, xgrammar's compiler fails once its cache holds anything, as in vLLM."""
_GROUP_TIMES = 8
"""Most repetitions of a group that the pattern repeats without end."""
_SHARES = (1, 2, 4, 8)
"""An open repetition of one character gets the longest value divided by one of these: the first with which all fits."""
_MAX_PATTERN = 200
"""Characters of a pattern that is translated; a longer one is left to the check afterwards."""


class _Untranslatable(Exception):
    """The pattern uses what is not translated."""


class _TooLong(Exception):
    """The pattern's values may be longer than is allowed."""


@dataclass(frozen=True)
class _Piece:
    """A translated part of a pattern, and the characters of its longest match."""

    text: str
    longest: int


def bounded_pattern(pattern: str, longest: int) -> str | None:
    """The pattern as `^...$` without open repetitions, for values of at most `longest` characters.

    Every text it matches is one that the pattern matches. None where it is not anchored at both ends, uses what is
    not translated (lookarounds, back-references, flags, Unicode classes, what JSON escapes), or has no such value.
    """
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) <= _MAX_PATTERN):
        return None
    for share in _SHARES:
        translator = _Translator(pattern[1:-1], longest, longest // share)
        try:
            piece = translator.alternatives()
        except _TooLong:
            continue
        except (_Untranslatable, RecursionError):
            return None
        # In `^a|b$` each anchor holds for one alternative only.
        if translator.rest or translator.open_alternatives:
            return None
        if piece.longest <= longest:
            return f"^{piece.text}$"
    return None


class _Translator:
    """Reads a pattern from the front and translates it piece by piece; `rest` is what is left."""

    def __init__(self, text: str, longest: int, open_end: int) -> None:
        self.rest = text
        self.open_alternatives = False
        self._longest = longest
        self._open_end = open_end
        self._depth = 0

    def alternatives(self) -> _Piece:
        branches = [self._sequence()]
        while self.rest.startswith("|"):
            self.rest = self.rest[1:]
            self.open_alternatives = self.open_alternatives or self._depth == 0
            branches.append(self._sequence())
        return _Piece("|".join(each.text for each in branches), max(each.longest for each in branches))

    def _sequence(self) -> _Piece:
        text, longest = [], 0
        while self.rest and self.rest[0] not in "|)":
            piece = self._repeated(self._atom())
            text.append(piece.text)
            longest += piece.longest
        return _Piece("".join(text), longest)

    def _atom(self) -> _Piece:
        first = self.rest[0]
        if first == "(":
            return self._group()
        if first == "[":
            return _Piece(self._class(), 1)
        if first == "\\":
            return _Piece(self._escape(), 1)
        if first == ".":
            self.rest = self.rest[1:]
            return _Piece(r"[^\n]", 1)
        if first in "^$?*+{}]" or first in _IN_JSON or not first.isprintable():
            raise _Untranslatable
        self.rest = self.rest[1:]
        return _Piece(re.escape(first) if first in _SPECIAL - {"/", "-"} else first, 1)

    def _group(self) -> _Piece:
        opening = _GROUP.match(self.rest)
        if opening is None:
            raise _Untranslatable
        self.rest = self.rest[opening.end() :]
        self._depth += 1
        inner = self.alternatives()
        self._depth -= 1
        if not self.rest.startswith(")"):
            raise _Untranslatable
        self.rest = self.rest[1:]
        return _Piece(f"({inner.text})", inner.longest)

    def _escape(self) -> str:
        """One escaped character or shorthand outside a class."""
        if (char := self.rest[1:2]) in _SHORTHAND:
            self.rest = self.rest[2:]
            return f"[{_SHORTHAND[char]}]"
        if char not in _SPECIAL or char in _IN_JSON:
            raise _Untranslatable
        self.rest = self.rest[2:]
        return char if char in "/-" else f"\\{char}"

    def _class(self) -> str:
        end = _class_end(self.rest)
        body = self.rest[1:end]
        self.rest = self.rest[end + 1 :]
        negated = body.startswith("^")
        if negated:
            body = body[1:]
        members = re.findall(r"\\.|.", body, re.DOTALL)
        # Set operations of other dialects, and complements of what is Unicode elsewhere.
        if not members or "[" in members or any(each in body for each in ("&&", "~~", "--")):
            raise _Untranslatable
        if negated and any(each[1:] in _SHORTHAND for each in members if len(each) > 1):
            raise _Untranslatable
        return f"[{'^' if negated else ''}{''.join(_class_member(each) for each in members)}]"

    def _repeated(self, piece: _Piece) -> _Piece:
        found = _QUANTIFIER.match(self.rest)
        if found is None:
            return piece
        self.rest = self.rest[found.end() :]
        if self.rest[:1] in ("?", "+", "*", "{"):
            # Lazy, possessive or doubled.
            raise _Untranslatable
        least, most = _repetitions(found, self._open_end if piece.longest == 1 else _GROUP_TIMES)
        is_open = found[0] in "*+" or found[0].endswith(",}")
        if most > REPETITIONS and is_open and not piece.text.startswith("[^"):
            # Of a class that lists its members: a code, not a text, which may well be longer.
            most = REPETITIONS
        if least > most or most > REPETITIONS:
            raise _Untranslatable
        if most * piece.longest > self._longest:
            raise _TooLong
        return _Piece(f"{piece.text}{{{least},{most}}}", most * piece.longest)


def _class_end(text: str) -> int:
    at = 2 if text.startswith("[^") else 1
    while at < len(text) and text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise _Untranslatable
    return at


def _class_member(text: str) -> str:
    """A character, a range's hyphen or an escape within a class."""
    if len(text) == 1:
        if text in _IN_JSON or not text.isprintable():
            raise _Untranslatable
        return f"\\{text}" if text == "^" else text
    char = text[1]
    if char in _SHORTHAND:
        return _SHORTHAND[char]
    if char not in _SPECIAL or char in _IN_JSON:
        raise _Untranslatable
    return text


def _repetitions(found: re.Match[str], open_end: int) -> tuple[int, int]:
    signs = {"*": (0, open_end), "+": (1, open_end), "?": (0, 1)}
    if found[0] in signs:
        return signs[found[0]]
    least = int(found[1])
    if not found[2]:
        return least, least
    return least, int(found[3]) if found[3] else max(least, open_end)
