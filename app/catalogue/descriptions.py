"""Finds the allowed values and bounds that a parameter's description states in words.

A wrong list forbids right calls, so nothing is found unless the list is plain: something announces it, every entry can
be read, and nothing hints at further values, at several values in one, or at mere examples.
"""

import html
import re
from collections.abc import Iterable

from app.domain import Json

_MAX_MEMBERS = 200
"""Members of a list; a longer one is not taken."""
_MAX_MEMBER_LENGTH = 64
"""Characters of a member; a list with a longer one is not taken."""
_MAX_TEXT = 6_000
"""Characters of a description; a longer one is a manual, and is not read: this bounds the time of the patterns."""

_DOUBT = re.compile(
    r"comma|multiple|separat|delimit|e\.\s?g|i\.e|\bex\s*[.:]|\bexamples?\b|such as|\betc\b|\.\.\.|…"
    r"|suggest|at least|(?<!empty )\bor one of|\bmore\b|\blike\b|\bany\b|or use|as well as|full list|list of"
    r"|combin|and so on|\bothers\b|several|one or"
    r"|https?:|not limited|includ|among|\bsome\b|usually|typical|not supported|except",
    re.IGNORECASE,
)
# Plurals above all; but "is allowed" has no noun in it.
_NOUN = r"(?!(?:is|as|was|has)\b)(?:value|option|type|name|format|mode|unit|choice|setting|order|period|\w+s)\b"
_CUE = re.compile(
    rf"""(?<!\bor\ )\b(?:
        (?P<list>(?:one|1)\ of(?:\ the|\ these|\ this)?(?:\ following)?(?:\ {_NOUN})?
          (?:\ (?:is|are)\ allowed)?\ *:?
        |(?:valid|allowed|possible|accepted|acceptable|available|supported|permitted|expected)
          (?:\ \w+){{0,2}}(?:\ are\ *:?|\ *:)
        |{_NOUN}\ accepted\ *:
        |(?:enum|enums|values|options)(?:\ available|\ for(?:\ \w+){{1,3}})?\s*:
        |following\ {_NOUN}\ *:
        |(?:one|1)\ \w+\ from\ below\ *:)
        |(?P<loose>(?:must|should)\ be\ either|(?:can|may|must|should)\ be(?:\ set\ to|\ either)?)
    )\ *""",
    re.IGNORECASE | re.VERBOSE,
)
_MARKED = r"(?:`\s*(?P<a>[^`\n]+?)\s*`|\*\*(?P<b>[^*\n]+?)\*\*|\"(?P<c>[^\"\n]+?)\"|(?<!\w)'(?P<d>[^'\n]+?)'(?!\w))"
_BARE = r"(?P<t>[A-Za-z0-9_+%#/\-]+(?:[.:][A-Za-z0-9_+%#/\-]+)*)"
_LINE_BARE = r"(?P<t>[A-Za-z0-9_+%#/\-]+(?:\.[A-Za-z0-9_+%#/\-]+)*)"
_ENTRY = re.compile(rf"{_MARKED}(?P<gloss>\s+[-–—=]\s.*)?|{_BARE}", re.DOTALL)
_LINE = re.compile(
    rf"(?P<bullet>(?:[-*•●+]\s+)?)"
    rf"(?:{_MARKED}[,;.]?(?P<gloss>\s*$|\s*[-–—:=(].*)|{_LINE_BARE}(?:[,;.]?\s*$|\s*[:=]\s+.*|\s+[-–—=:]\s.*))"
)
_BREAK = re.compile(r"\s*[,;]\s*(?:(?:or|and)\b\s*)?|\s+(?:or|and)\s+|\s+/\s+")
# What kind of value is meant, not the value: "can be a username or id".
_KINDS = re.compile(
    r"(?:.*[_-])?(?:id|ids|uid|uuid|name|username|url|uri|email|ip|phone|text|string|number|integer|float|boolean|date|"
    r"address|domain|code|null|empty|blank|none|zero|positive|negative|required|optional|uppercase|lowercase)",
    re.IGNORECASE,
)

# Ranges, formats of dates, and names of types stand for values without being ones.
_PLACEHOLDERS = re.compile(
    r"\d+(?:\.\d+)?-\d+(?:\.\d+)?|(?=.*(?:yy|mm|dd|hh))[ymdhst:/.\-]+|string|number|integer|float|boolean|array|object",
    re.IGNORECASE,
)


def find_members(description: str, declared: bool, default: Json) -> list[str]:
    """The values that a description lists as the allowed ones, in its order; empty where there is doubt.

    `declared` says that the document calls the parameter an enumeration, `default` is its default or None. With either,
    plainer forms of a list count, too; a default that is not in a list disproves it.
    """
    text = _clean(description[: _MAX_TEXT + 1])
    if len(text) > _MAX_TEXT or _DOUBT.search(text):
        return []
    for cue in _CUE.finditer(text):
        said = cue[0].lower()
        # "one of id or slug" may name parameters; "one of the following: id, slug" names values.
        prose = said.rstrip().endswith("either") if cue["loose"] else not re.search(":|following|value", said)
        found = _list_after(text[cue.end() :], marked_only=cue["list"] is None and not prose, prose=prose)
        if _is_plausible(found, default):
            return found
    for found in (_in_parentheses(text), _unannounced(text, declared, default)):
        if _is_plausible(found, default):
            return found
    return []


def _clean(text: str) -> str:
    text = html.unescape(text).replace("\r\n", "\n").replace("\t", " ")
    text = re.sub(r"(?<!\\)\\{1,64}([\"'_])", r"\1", text)
    text = re.sub(r"([\"'`])\*\*([^*\n]+)\*\*\1", r"\1\2\1", text)
    text = re.sub("[“”]", '"', re.sub("[‘’]", "'", text)).replace("：", ":")
    # Bold over several lines is layout, not a mark of each.
    if re.search(r"\*\*(?=\S)[^*\n]*[,\n][^*]*(?<=\S)\*\*", text):
        text = text.replace("**", "")
    return text


def _is_plausible(found: list[str], default: Json) -> bool:
    """Whether the list holds values, neither too many nor too long, and the default among them."""
    if not 2 <= len(found) <= _MAX_MEMBERS or any(len(member) > _MAX_MEMBER_LENGTH for member in found):
        return False
    if any(_PLACEHOLDERS.fullmatch(member) for member in found):
        return False
    return default is None or default in found


def _without_repeats(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _member(match: re.Match[str]) -> str:
    return next(match[group] for group in "abcdt" if match[group] is not None).strip()


def _list_after(rest: str, marked_only: bool, prose: bool) -> list[str]:
    """The members of the list that starts here: in the line itself, or in the lines below it.

    After a loose announcement ("can be ...") only quoted values count, or plain ones after "must be either".
    """
    line, _, below = rest.partition("\n")
    if not line.strip(" :*_-"):
        found = _list_in_lines(below)
        return found or _list_in_line(below.strip().partition("\n")[0], marked_only)
    found = _list_in_line(line, marked_only)
    return [] if prose and any(_KINDS.fullmatch(member) for member in found) else found


def _list_in_line(line: str, marked_only: bool) -> list[str]:
    """The members of a list within one sentence: `a`, b or c (glosses in parentheses do not count)."""
    line = re.sub(r"\s*\([^()]*\)", "", line)
    line = re.split(r"\.(?=\s|$)|[)\]\n]", line.strip(" :"))[0].strip()
    if "|" in line:
        parts = line.split("|")
    else:
        parts = [part for part in _BREAK.split(line) if part]
        if len(parts) == 1:
            parts = parts[0].split("/")
    members = []
    for part in parts:
        entry = _ENTRY.fullmatch(part.strip())
        if entry is None or (marked_only and entry["t"] is not None):
            return []
        members.append(_member(entry))
    return _without_repeats(members)


def _list_in_lines(text: str) -> list[str]:
    """The members of a list with one entry a line, each perhaps with a gloss; [] where a line is no entry.

    The list ends at a blank line that prose follows. Where the values are quoted, lines without are glosses.
    """
    members: list[str] = []
    quoted, blank = False, False
    for line in text.split("\n"):
        stripped = line.strip().strip("[]").strip()
        if not stripped:
            blank = True
            continue
        entry = _LINE.fullmatch(stripped)
        if entry is not None and not (quoted and entry["t"] is not None):
            members.append(_member(entry))
            quoted = quoted or (len(members) == 1 and entry["t"] is None)
        elif (entry is not None and entry["bullet"]) or not members or not (quoted or blank):
            return []
        elif blank and not quoted:
            break
        blank = False
    return _without_repeats(members)


def _in_parentheses(text: str) -> list[str]:
    """`(asc|desc)`, or (`asc` or `desc`): no announcement is needed where nothing else can be meant."""
    for inner in re.findall(r"\(([^()]+)\)", text):
        if re.fullmatch(r"[\w.\-]+(?:\s?\|\s?[\w.\-]+)+", inner):
            return _list_in_line(inner, marked_only=False)
        if re.search(r"[`\"']\s*,?\s+or\s", inner) and (found := _list_in_line(inner, marked_only=True)):
            return found
    return []


def _unannounced(text: str, declared: bool, default: Json) -> list[str]:
    """The members of a list that nothing announces, where the declared type or the default vouches for it."""
    text = text.strip()
    quoted = _list_in_line(text, marked_only=True) if re.match(r"[`\"']", text) and " or " in text else []
    if quoted:
        return quoted
    if not declared and default is None:
        return []
    head, _, below = text.partition("\n")
    if head.rstrip(" *").endswith(":") and below:
        return _list_in_lines(below)
    if ":" in head and not below and (found := _list_in_line(head.split(":", 1)[1], marked_only=False)):
        # "Quality: High or Low" is prose: the values may be spelled otherwise.
        return found if all(member == member.lower() for member in found) else []
    if declared and text.count("\n") >= 2:
        return _list_in_lines(text)
    if re.fullmatch(r"[a-z0-9_]+(?:,? or [a-z0-9_]+)+", text):
        return _list_in_line(text, marked_only=False)
    return []


_NUMBER = r"[`*\s]*(-?\d+(?:\.\d+)?)[`*]*"
_END = r"(?=\s*(?:[.,;)\n]+(?:\s|$)|[.)]*$|\(?(?:both )?inclusive))"
_BETWEEN = re.compile(
    rf"\b(?:between|in the range(?: of)?|range:?){_NUMBER}\s*(?:and|to|-|–|~|～){_NUMBER}{_END}", re.I
)
_QUALIFIER = r"(?:\s+(?:value|number|limit|allowed)\b)*(?:\s+(?:is|of))?\s*[:=]?"
_MAXIMUM = re.compile(rf"\bmax(?:imum|\.)?{_QUALIFIER}{_NUMBER}{_END}", re.I)
_MINIMUM = re.compile(rf"\bmin(?:imum|\.)?{_QUALIFIER}{_NUMBER}{_END}", re.I)
_OPEN = re.compile(r"exclusive|for example|e\.g|usually|recommend|depend|plan\b|tier|if ", re.IGNORECASE)


def find_bounds(description: str) -> tuple[int | float | None, int | float | None]:
    """(minimum, maximum) that a description states for a number, both inclusive; None for what it does not state."""
    text = html.unescape(description[: _MAX_TEXT + 1])
    if len(text) > _MAX_TEXT or _OPEN.search(text):
        return None, None
    if between := {(_value(low), _value(high)) for low, high in _BETWEEN.findall(text)}:
        low, high = next(iter(between))
        return (low, high) if len(between) == 1 and low < high else (None, None)
    lows = {_value(low) for low in _MINIMUM.findall(text)}
    highs = {_value(high) for high in _MAXIMUM.findall(text)}
    low_only = lows.pop() if len(lows) == 1 else None
    high_only = highs.pop() if len(highs) == 1 else None
    if low_only is not None and high_only is not None and low_only > high_only:
        return None, None
    return low_only, high_only


def _value(text: str) -> int | float:
    return float(text) if "." in text else int(text)
