"""The members of an enumeration, and what people call them."""

import re

from app.domain import Json
from app.extraction.text import stem

Aliases = tuple[tuple[tuple[str, ...], Json], ...]
"""Stems of what a member is called, and the member."""

_BULLET = re.compile(r"^\s*[-*•]\s*[`'\"*]{1,3}([\w.\-]{1,32})[`'\"*]{1,3}(?=\s*(?:[:,.;(=-]|$))", re.MULTILINE)
_MEANING = re.compile(r"\b([\w-]{1,24})[`'\"*]{0,3}\s{0,3}(?:[:=(]|->|→|-\s|for\s)\s{0,3}([A-Za-z][^\n|,;:()*]{1,40})")
_SYNONYMS = {
    name: calls.split("|")
    for name, calls in {
        "male": "man|boy|gentleman|guy",
        "female": "woman|girl|lady",
        "m": "male|man|meters",
        "f": "female|woman",
        "asc": "ascending|oldest first|lowest first",
        "desc": "descending|newest|highest|latest first",
        "mi": "mile|miles",
        "km": "kilometers|kilometres",
        "c": "celsius",
        "celsius": "centigrade",
        "day": "daily",
        "week": "weekly",
        "month": "monthly",
        "year": "yearly|annual",
        "uk": "united kingdom|britain",
        "us": "united states|usa",
        "newest": "latest|most recent",
        "date": "newest",
        "popular": "popularity",
        "relevance": "relevant",
        "1m": "1 month|one month|last month",
        "3m": "3 months|three months",
        "6m": "6 months|six months",
        "1y": "1 year|last year",
        "price_low": "cheapest",
        "price_high": "most expensive",
        "f2p": "free",
    }.items()
}


def bulleted(description: str) -> tuple[str, ...]:
    """Members that a description lists one a line, where the schema has none."""
    found = _BULLET.findall(description)
    return tuple(dict.fromkeys(found)) if len(found) > 1 else ()


def aliases_of(members: tuple[Json, ...], description: str) -> Aliases:
    """The members' own spellings, common synonyms, and what the description says that each means."""
    by_text: dict[str, Json] = {
        str(member).lower(): member for member in members if isinstance(member, (str, int, float))
    }
    found: dict[tuple[str, ...], Json] = {}
    for text, member in by_text.items():
        for name in (text, re.sub(r"[_\-.]+", " ", text), *_SYNONYMS.get(text, ())):
            found.setdefault(tuple(stem(word) for word in name.split()), member)
    for match in _MEANING.finditer(description) if members else ():
        if match[1].lower() in by_text:
            meaning = re.sub(r"\b(?:first|only|default|the|or|and)\b.*$", "", match[2].strip().lower())
            found.setdefault(tuple(stem(word) for word in meaning.split()[:4]), by_text[match[1].lower()])
    return tuple((key, member) for key, member in found.items() if key)
