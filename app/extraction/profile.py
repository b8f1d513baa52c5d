"""What a parameter wants, read off its name, schema, description and default."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app.domain import Json, Parameter
from app.extraction.codes import CURRENCY_CODES
from app.extraction.numbers import expected_units
from app.extraction.words import split_name, stem, word_set

Aliases = tuple[tuple[tuple[str, ...], Json], ...]
"""Stems of what a member is called, and the member."""

_DESCRIPTION_CHARACTERS = 1500
"""Characters of a description that are read."""
_GENERIC = word_set("id name code number key value type the of for data param string by in num api")
_ABBREVIATIONS = {
    "z": "zoom", "w": "width", "h": "height", "lang": "language", "hl": "language", "num": "results",
    "symb": "symbol", "dt": "date",
    "tel": "phone", "lat": "latitude", "lng": "longitude", "lon": "longitude", "gov": "governorate", "dob": "birth",
    "max": "maximum", "min": "minimum",
}  # fmt: skip
_SORTING = word_set("sort order ordering sorting orderby sortby")


@dataclass(frozen=True, slots=True)
class Profile:
    """What one parameter's value looks like, and what people call it."""

    kind: str
    """One of `parameter_kind`'s; `enum` or `language` for an enumeration."""
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


def read_profile(parameter: Parameter) -> Profile:
    """The parameter's profile; the same object for parameters that say the same."""
    return _profile(
        parameter.name,
        parameter.description[:_DESCRIPTION_CHARACTERS],
        json.dumps(dict(parameter.schema), default=str),
        "" if parameter.default is None else str(parameter.default)[:200],
    )


@lru_cache(maxsize=8192)
def _profile(name: str, description: str, schema_json: str, example: str) -> Profile:
    schema = json.loads(schema_json)
    json_type = _json_type(schema)
    words = split_name(name)
    members = tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else ()
    if not members and json_type in ("string", ""):
        members = bulleted_members(description)
    telling_words = [*words, *(_ABBREVIATIONS[word] for word in words if word in _ABBREVIATIONS)]
    joined = "".join(words)
    telling = [word for word in telling_words if word not in _GENERIC and not (len(words) > 1 and word in START | END)]
    kind = parameter_kind(words, json_type, schema, description, example)
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
        aliases=member_aliases(members, description),
        units=expected_units(words, described),
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
    """How codes are written (upper, lower, locale), the example first; empty where names are wanted, not codes."""
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
    if stated := re.search(r"e\.g\.?,? ?['\"`*]{0,2}([a-z]{2}|[A-Z]{2,3})\b", description):
        return "lower" if stated[1].islower() else "upper"
    wants = re.search(
        r"\biso\b|iso ?(?:639|3166|4217)|isocode|(?:2|two|3|three)[- ](?:letter|character|digit)|\bcodes?\b",
        description.lower(),
    )
    if wants or {"code", "cc", "gl", "hl", "lang"} & set(words) or kind == "currency":
        return "lower" if kind == "language" else "upper"
    return ""


# The kind of value, by the parameter's name, then by what its example and description correct.

START = word_set(
    "from start begin since after min minimum origin source depart departure base gt gte greater lower least"
)
END = word_set("to end until till before max maximum destination target dest arrival return lt lte less upper most")
# By words of the name; the first kind that shares a word decides.
_KINDS = {
    kind: word_set(names)
    for kind, names in {
        "url": "url uri link website webpage href",
        "secret": "apikey token password passwd secret signature checksum auth wsapikey pwd signstart signend sess xbc "
        "callback jsonp",
        "cursor": "cursor uule",
        "email": "email mail",
        "ip": "ip ipaddress",
        "phone": "phone mobile msisdn tel telephone cellphone whatsapp phonenumber",
        "latitude": "lat latitude",
        "longitude": "lon lng long longitude",
        "zip": "zip zipcode postal postcode plz postleitzahl",
        "page": "page pagenum pageno pagenumber curpage",
        "offset": "offset skip",
        "year": "year yyyy",
        "month": "month",
        "day": "day",
        "timezone": "timezone tz",
        "date": "date dt birthday dob datetime checkin checkout since until",
        "time": "time",
        "hashtag": "hashtag",
        "user": "username handle nickname login",
        "color": "color colour hex",
        "path": "path file filename folder dir directory",
        "domain": "domain host hostname",
        "language": "language lang langs languages hl locale",
        "currency": "currency currencies",
        "country": "country countries nation cc gl",
        "state": "state province",
        "id": "id ids uuid guid sku asin isbn isin barcode ean upc vin hash pid tcin vsid imei ssn iban uid",
        "ticker": "symbol symbols ticker tickers stock",
        "airport": "iata icao airport",
        "count": "limit count per top results quantity num",
        "sort": "sort order sorting ordering orderby direction",
        "text": "text message sentence content body prompt question paragraph comment sms",
        "query": "q query search keyword keywords term phrase s topic words",
        "place": "city location place address town region county gov destination origin area where station district "
        "street neighborhood",
        "name": "name title subject movie song artist album book team player drug company brand product food "
        "ingredient author god character category genre",
        "number": "amount number age weight height radius price duration distance rating temperature width length",
    }.items()
}
_OPTIONS = word_set("type mode format version by auto agent token group status level engine unit units")
_NAMED = word_set("user screen file domain country city host")
_TEXTUAL = word_set("text query place name string path user color ticker domain sort email url option currency country")
_SETTLED = word_set("id secret email url phone option")
_CALLED = word_set("to from destination recipient number source")
_FORMATS = {
    "date": "date", "date-time": "date", "time": "time", "email": "email", "uri": "url", "url": "url", "uuid": "id",
    "ipv4": "ip", "ipv6": "ip", "hostname": "domain",
}  # fmt: skip
_COORDINATES = re.compile(r"-?\d{1,3}\.\d+\s*,\s*-?\d{1,3}\.\d+")
_DATED = re.compile(r"['\"]?(?:\d{4}-\d{2}-\d{2}|\d{2}[./]\d{2}[./]\d{4}|y{4}-m{2}-d{2})", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,5}(?:com|org|net|io|in)")


def parameter_kind(
    words: tuple[str, ...], json_type: str, schema: Mapping[str, Json], description: str, example: str
) -> str:
    """The kind of value, one of `_KINDS` or boolean, object, array, coordinates, option, number; else `string`.

    `words` are those of the parameter's name, `example` is its default as text.
    """
    if json_type in ("boolean", "object"):
        return json_type
    declared = schema.get("format")
    if isinstance(declared, str) and declared in _FORMATS:
        return _FORMATS[declared]
    if ("lat" in words and {"lng", "lon"} & set(words)) or _COORDINATES.fullmatch(example):
        return "coordinates" if json_type == "string" else "latitude"
    kind = _by_name(words, json_type)
    if json_type in ("number", "integer"):
        return "number" if kind in _TEXTUAL else kind
    return _by_example(_by_description(kind, words, description.lower(), example), example)


def _by_name(words: tuple[str, ...], json_type: str) -> str:
    own = set(words)
    numeric = json_type in ("number", "integer")
    if own >= {"api", "key"} or own >= {"access", "token"}:
        return "secret"
    if "page" in own and own & {"size", "per", "limit"}:
        return "count"
    if numeric and "size" in own:
        return "number"
    if own >= {"user", "name"} or own >= {"screen", "name"}:
        return "user"
    if len(words) > 1 and (last := _by_last_word(words, own, json_type)):
        return last
    return next((kind for kind, names in _KINDS.items() if own & names), "number" if numeric else json_type)


def _by_last_word(words: tuple[str, ...], own: set[str], json_type: str) -> str:
    if words[-1] in _OPTIONS and json_type == "string":
        return "option"
    if words[-1] == "id" and words[0] in ("year", "month", "day"):
        return words[0]
    if words[-1] in ("id", "ids", "uid", "uuid", "key") and "lang" not in own:
        return "id"
    return "name" if words[-1] == "name" and not own & _NAMED else ""


def _by_description(kind: str, words: tuple[str, ...], lower: str, example: str) -> str:
    """The kind after what the description says: `from` may be a date, a place, a phone or a currency."""
    own = set(words)
    if kind in _SETTLED or (kind == "time" and re.match(r"\d\d?:\d\d", example)):
        return kind
    if _DATED.match(example) or (own & (START | END) and re.search(r"\bdate\b|yyyy-mm-dd", lower[:200])):
        return "date"
    if kind == "time" and not re.search(r"hh:|\bclock|time of day", lower):
        return "date" if "date" in lower or "8601" in lower else "string"
    if own & _CALLED and re.search(r"phone|msisdn|recipient number", lower):
        return "phone"
    if kind in ("query", "text"):
        return kind
    return "airport" if re.search(r"\biata\b|airport code", lower) else kind


def _by_example(kind: str, example: str) -> str:
    if kind == "string" and set(example.upper().split(",")) <= CURRENCY_CODES:
        return "currency"
    if kind == "number" and example and not example.replace(".", "").isdigit():
        return "string"
    if kind in ("string", "name", "place") and _DOMAIN.fullmatch(example):
        return "domain"
    return "url" if kind in ("string", "query") and example.startswith(("http://", "https://")) else kind


# The members of an enumeration, and what people call them.

_BULLET = re.compile(r"^\s*[-*•]\s*[`'\"*]{1,3}([\w.\-]{1,32})[`'\"*]{1,3}(?=\s*(?:[:,.;(=-]|$))", re.MULTILINE)
_EXPLAINED = re.compile(
    r"\b([\w-]{1,24})[`'\"*]{0,3}\s{0,3}(?:[:=(]|->|→|-\s|for\s)\s{0,3}([A-Za-z][^\n|,;:()*]{1,40})"
)
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


def bulleted_members(description: str) -> tuple[str, ...]:
    """The members that a description lists one a line; empty for fewer than two."""
    found = _BULLET.findall(description)
    return tuple(dict.fromkeys(found)) if len(found) > 1 else ()


def member_aliases(members: tuple[Json, ...], description: str) -> Aliases:
    """The members' own spellings, common synonyms, and what the description says that each means."""
    by_text: dict[str, Json] = {
        str(member).lower(): member for member in members if isinstance(member, (str, int, float))
    }
    found: dict[tuple[str, ...], Json] = {}
    for text, member in by_text.items():
        for name in (text, re.sub(r"[_\-.]+", " ", text), *_SYNONYMS.get(text, ())):
            found.setdefault(tuple(stem(word) for word in name.split()), member)
    for match in _EXPLAINED.finditer(description) if members else ():
        if match[1].lower() in by_text:
            meaning = re.sub(r"\b(?:first|only|default|the|or|and)\b.*$", "", match[2].strip().lower())
            found.setdefault(tuple(stem(word) for word in meaning.split()[:4]), by_text[match[1].lower()])
    return tuple((key, member) for key, member in found.items() if key)
