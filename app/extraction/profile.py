"""What a parameter wants, read off its name, schema, description and default."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app.domain import Json, Parameter
from app.extraction.kinds import END, START, kind_of
from app.extraction.members import Aliases, aliases_of, bulleted
from app.extraction.text import name_words, stem, words_of
from app.extraction.units import units_of

_READ = 1500
"""Characters of a description that are read."""
_GENERIC = words_of("id name code number key value type the of for data param string by in num api")
_MEANINGS = {
    "z": "zoom", "w": "width", "h": "height", "lang": "language", "hl": "language", "num": "results",
    "symb": "symbol", "dt": "date",
    "tel": "phone", "lat": "latitude", "lng": "longitude", "lon": "longitude", "gov": "governorate", "dob": "birth",
    "max": "maximum", "min": "minimum",
}  # fmt: skip
_SORTING = words_of("sort order ordering sorting orderby sortby")


@dataclass(frozen=True, slots=True)
class Profile:
    """How to recognise one parameter's value."""

    kind: str
    """As `kind_of` gives it; enum or language where it has members."""
    json_type: str
    words: tuple[str, ...]
    """Lower-case words of the name."""
    stems: frozenset[str]
    """Stems of the name's telling words; all of them where none tells."""
    all_stems: frozenset[str]
    described: frozenset[str]
    """Stems of the description's first words."""
    role: str
    """start or end of a range or a journey; empty."""
    members: tuple[Json, ...]
    aliases: Aliases
    units: frozenset[str]
    example: str
    sorts: bool
    """Whether it says how results are to be ordered."""
    coded: str
    """upper, lower, locale: codes rather than names are wanted, and how they are written; empty."""


def profile_of(parameter: Parameter) -> Profile:
    return _profile(
        parameter.name,
        parameter.description[:_READ],
        json.dumps(dict(parameter.schema), default=str),
        "" if parameter.default is None else str(parameter.default)[:200],
    )


@lru_cache(maxsize=8192)
def _profile(name: str, description: str, schema_json: str, example: str) -> Profile:
    schema = json.loads(schema_json)
    json_type = _json_type(schema)
    words = name_words(name)
    members = tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else ()
    if not members and json_type in ("string", ""):
        members = bulleted(description)
    telling_words = [*words, *(_MEANINGS[word] for word in words if word in _MEANINGS)]
    joined = "".join(words)
    telling = [word for word in telling_words if word not in _GENERIC and not (len(words) > 1 and word in START | END)]
    kind = kind_of(words, json_type, schema, description, example)
    if members:
        kind = "language" if words[:1] == ("lang",) or "language" in words else "enum"
    lower = description.lower()
    described = re.findall(r"[a-z]+", lower[:160])
    return Profile(
        kind=kind,
        json_type=json_type,
        words=words,
        stems=frozenset(stem(word) for word in (*(telling or words), joined)),
        all_stems=frozenset(stem(word) for word in (*telling_words, joined)),
        described=frozenset(stem(word) for word in described),
        role=_role(words, lower),
        members=members,
        aliases=aliases_of(members, description),
        units=units_of(words, described),
        example=example,
        sorts=bool(_SORTING & set(words)),
        coded=_coded(kind, words, description, example),
    )


def _json_type(schema: Mapping[str, Json]) -> str:
    declared = schema.get("type", "string")
    if isinstance(declared, list):
        declared = next((each for each in declared if each != "null"), "string")
    return declared if isinstance(declared, str) else "string"


def _role(words: tuple[str, ...], description: str) -> str:
    own = set(words)
    if own & START or (len(words) > 1 and words[-1] in ("a", "1", "one")):
        return "start"
    if own & END or (len(words) > 1 and words[-1] in ("b", "2", "two")):
        return "end"
    if re.match(r"(?:the )?(?:minimum|start|origin|departure)", description):
        return "start"
    return "end" if re.match(r"(?:the )?(?:maximum|end|destination|arrival)", description) else ""


def _coded(kind: str, words: tuple[str, ...], description: str, example: str) -> str:
    """Whether codes are wanted rather than names, by the example first: it also tells the case."""
    if kind not in ("country", "language", "currency", "state", "place", "enum"):
        return ""
    if re.fullmatch(r"[a-z]{2}(?:,[a-z]{2})*", example):
        return "lower"
    if re.fullmatch(r"[A-Z]{2,3}(?:,[A-Z]{2,3})*", example):
        return "upper"
    if re.fullmatch(r"[a-z]{2}[-_][A-Z]{2}", example):
        return "locale"
    if re.fullmatch(r"[a-z]{3}", example) and kind == "currency":
        return "lower"
    if example and kind != "enum":
        return ""
    if told := re.search(r"e\.g\.?,? ?['\"`*]{0,2}([a-z]{2}|[A-Z]{2,3})\b", description):
        return "lower" if told[1].islower() else "upper"
    wants = re.search(
        r"\biso\b|iso ?(?:639|3166|4217)|isocode|(?:2|two|3|three)[- ](?:letter|character|digit)|\bcodes?\b",
        description.lower(),
    )
    if wants or {"code", "cc", "gl", "hl", "lang"} & set(words) or kind == "currency":
        return "lower" if kind == "language" else "upper"
    return ""
