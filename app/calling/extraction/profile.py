"""What a parameter wants, read off its name, schema, description and default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson

from app.calling.extraction.text import name_words, stem
from app.domain import Json, Parameter

_START = frozenset(["from", "start", "begin", "since", "after", "min", "minimum", "origin", "source", "depart", "departure", "base", "gt", "gte", "greater", "lower", "least"])
_END = frozenset(["to", "end", "until", "till", "before", "max", "maximum", "destination", "target", "dest", "arrival", "return", "lt", "lte", "less", "upper", "most"])
_GENERIC = frozenset(["id", "name", "code", "number", "key", "value", "type", "the", "of", "for", "data", "param", "string", "by", "in", "num", "api"])

# Kind of value by words of the name, most telling first. The first entry that shares a word decides.
_KINDS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (kind, frozenset(words.split()))
    for kind, words in (
        ("secret", "apikey token password passwd secret signature checksum auth wsapikey pwd signstart signend sess xbc callback jsonp"),
        ("cursor", "cursor uule"),
        ("email", "email mail"),
        ("url", "url uri link website webpage href"),
        ("ip", "ip ipaddress"),
        ("phone", "phone mobile msisdn tel telephone cellphone whatsapp phonenumber"),
        ("latitude", "lat latitude"),
        ("longitude", "lon lng longitude"),
        ("zip", "zip zipcode postal postcode plz postleitzahl"),
        ("page", "page pagenum pageno pagenumber curpage"),
        ("offset", "offset skip"),
        ("year", "year yyyy"),
        ("month", "month"),
        ("day", "day"),
        ("timezone", "timezone tz"),
        ("date", "date dt birthday dob datetime checkin checkout since until"),
        ("time", "time"),
        ("hashtag", "hashtag"),
        ("user", "username handle nickname login"),
        ("color", "color colour hex"),
        ("path", "path file filename folder dir directory"),
        ("domain", "domain host hostname"),
        ("language", "language lang lng langs languages hl locale"),
        ("currency", "currency currencies"),
        ("country", "country countries nation cc gl"),
        ("state", "state province"),
        ("id", "id ids uuid guid sku asin isbn isin barcode ean upc vin hash pid tcin vsid imei ssn iban uid"),
        ("ticker", "symbol symbols ticker tickers stock"),
        ("airport", "iata icao airport"),
        ("count", "limit count per top results quantity num"),
        ("sort", "sort order sorting ordering orderby direction"),
        ("text", "text message sentence content body prompt question paragraph comment sms"),
        ("query", "q query search keyword keywords term phrase s topic subject words"),
        ("place", "city location place address town region county gov destination origin area where station district street neighborhood"),
        ("name", "name title movie song artist album book team player drug company brand product food ingredient author god character category genre"),
        ("number", "amount number age weight height radius price duration distance rating temperature width length"),
    )
)  # fmt: skip
_MONEY = tuple("usd eur gbp jpy btc eth inr cad aud chf dollars dollar euros euro pounds yen rupees bitcoin us british".split())
UNITS: dict[str, tuple[str, ...]] = {
    "weight": ("kg", "kgs", "kilo", "kilos", "kilograms", "kilogram", "pounds", "pound", "lb", "lbs", "g", "grams", "stone"),
    "height": ("cm", "centimeters", "centimetres", "m", "meters", "metres", "meter", "inches", "inch", "feet", "foot", "ft", "tall"),
    "duration": ("minutes", "minute", "min", "mins", "hours", "hour", "hrs", "seconds", "second", "secs", "sec", "s", "h"),
    "radius": ("km", "kms", "kilometers", "kilometres", "kilometer", "mile", "miles", "mi", "m", "meters", "metres"),
    "distance": ("km", "kms", "kilometers", "kilometres", "kilometer", "mile", "miles", "mi", "m", "meters", "metres"),
    "age": ("years", "year", "yo", "y"),
    "size": ("px", "pixels", "x"),
    "width": ("px", "pixels"),
    "price": _MONEY,
    "amount": _MONEY,
    "value": _MONEY,
    "percent": ("%",),
    "rate": ("%",),
    "percentage": ("%",),
    "interest": ("%",),
    "months": ("months", "month", "mo"),
    "days": ("days", "day", "d"),
    "hours": ("hours", "hour", "h", "hrs"),
    "weeks": ("weeks", "week", "wk"),
    "years": ("years", "year"),
    "minutes": ("minutes", "minute", "min", "mins"),
    "seconds": ("seconds", "second", "secs", "s"),
    "feet": ("feet", "foot", "ft"),
    "inches": ("inches", "inch", "in"),
    "kg": ("kg", "kilos", "kilograms"),
    "zoom": (),
}
_COORDINATES = re.compile(r"-?\d{1,3}\.\d+\s*,\s*-?\d{1,3}\.\d+")
_ALIAS = re.compile(r"[-*`'\"•]*\s*\b([\w-]{1,24})[`'\"*]{0,3}\s*(?:[:=(]|->|→|-\s|for\s)\s*([A-Za-z][^\n|,;:()*]{1,40})")


@dataclass(frozen=True, slots=True)
class Profile:
    """How to recognise one parameter's value."""

    kind: str
    """A kind of `_KINDS`, or boolean, enum, array, object, number, string where the name tells nothing."""
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
    aliases: tuple[tuple[tuple[str, ...], Json], ...]
    """Stems of what a member is called, and the member."""
    units: frozenset[str]
    example: str
    sorts: bool
    """Whether it says how results are to be ordered."""
    coded: str
    """alpha2, alpha3, lower2: the parameter takes codes rather than names; empty."""


def profile_of(parameter: Parameter) -> Profile:
    schema = parameter.schema
    return _profile(
        parameter.name,
        parameter.description[:1500],
        orjson.dumps(schema, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS) if schema else b"{}",
        "" if parameter.default is None else str(parameter.default)[:200],
    )


@lru_cache(maxsize=8192)
def _profile(name: str, description: str, schema_json: bytes, example: str) -> Profile:
    schema = orjson.loads(schema_json)
    schema = schema if isinstance(schema, Mapping) else {}
    json_type = _json_type(schema)
    words = name_words(name)
    members = tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else ()
    if not members and json_type in ("string", ""):
        members = _bulleted(description)
    telling_words = [*words, *(_MEANINGS[word] for word in words if word in _MEANINGS)]
    telling = [word for word in telling_words if word not in _GENERIC and not (len(words) > 1 and word in _START | _END)]
    kind = _kind(words, json_type, schema, members, description, example)
    lower = description.lower()
    described = re.findall(r"[a-z]+", lower[:160])
    return Profile(
        kind=kind,
        json_type=json_type,
        words=words,
        stems=frozenset(stem(word) for word in (telling or words)),
        all_stems=frozenset(stem(word) for word in telling_words),
        described=frozenset(stem(word) for word in described),
        role=_role(words, lower),
        members=members,
        aliases=_aliases(members, description),
        units=_units(words, described),
        example=example,
        sorts=bool(set(words) & {"sort", "order", "ordering", "sorting", "orderby", "sortby"}),
        coded=_coded(kind, words, description, example),
    )


def _json_type(schema: Mapping[str, Json]) -> str:
    declared = schema.get("type", "string")
    if isinstance(declared, list):
        declared = next((each for each in declared if each != "null"), "string")
    return declared if isinstance(declared, str) else "string"


def _kind(
    words: tuple[str, ...], json_type: str, schema: Mapping[str, Json], members: tuple[Json, ...], description: str, example: str
) -> str:
    if json_type in ("boolean", "object"):
        return json_type
    if members:
        return "language" if "lang" in words[0:1] or "language" in words else "enum"
    by_format = {"date": "date", "date-time": "date", "time": "time", "email": "email", "uri": "url", "uuid": "id", "ipv4": "ip"}
    if schema.get("format") in by_format:
        return by_format[schema["format"]]
    if ("lat" in words and ("lng" in words or "lon" in words)) or _COORDINATES.fullmatch(example):
        return "coordinates" if json_type == "string" else "latitude"
    return _by_shape(_by_name(words, json_type), words, json_type, description, example)


_OPTION_WORDS = frozenset("type mode format version by auto agent token group status level engine unit units".split())
_MEANINGS = {"z": "zoom", "w": "width", "h": "height", "lang": "language", "num": "results", "dt": "date", "tel": "phone", "lng": "longitude",
             "lon": "longitude", "lat": "latitude", "gov": "governorate", "hl": "language", "dob": "birth", "max": "maximum", "min": "minimum"}  # fmt: skip


def _by_name(words: tuple[str, ...], json_type: str) -> str:
    own = set(words)
    if len(words) > 1 and words[-1] in _OPTION_WORDS and json_type == "string":
        return "option"
    if len(words) > 1 and words[-1] in ("id", "ids", "uid", "uuid", "key") and not own & {"api", "lang"}:
        return "secret" if words[-1] == "key" and "api" in own else "id"
    if words[-2:] in (("api", "key"), ("access", "token")):
        return "secret"
    if words[-1:] == ("name",) and len(words) > 1 and not own & {"user", "screen", "file", "domain", "country", "city", "host"}:
        return "name"
    if json_type != "string" and own & {"number", "size"} and own & {"page"}:
        return "count" if "size" in own else "page"
    if own & {"page"} and own & {"size", "per", "limit"}:
        return "count"
    if own >= {"user", "name"} or own >= {"screen", "name"}:
        return "user"
    if "size" in own and json_type != "string":
        return "number"
    return next((kind for kind, names in _KINDS if own & names), "number" if json_type in ("number", "integer") else json_type)


_DATE_EXAMPLE = re.compile(r"['\"]?(?:\d{4}-\d{2}-\d{2}|\d{2}[./]\d{2}[./]\d{4}|y{4}-m{2}-d{2})", re.I)


def _by_shape(kind: str, words: tuple[str, ...], json_type: str, description: str, example: str) -> str:
    """Corrects what the name says by what example and type say: `from` may be a date, a place or a currency."""
    lower = description.lower()
    if json_type in ("number", "integer"):
        textual = ("text", "query", "place", "name", "string", "path", "user", "color", "ticker", "domain", "sort", "email", "url")
        return "number" if kind in textual else kind
    if kind in ("id", "secret", "email", "url", "phone") or (kind == "time" and re.match(r"\d\d?:\d\d", example)):
        return kind
    if _DATE_EXAMPLE.match(example) or (re.search(r"\bdate\b|yyyy-mm-dd", lower[:200]) and set(words) & (_START | _END)):
        return "date"
    if kind == "time" and not re.search(r"hh:|\bclock|time of day", lower):
        return "date" if "date" in lower else "string"
    if set(words) & {"to", "from", "destination", "recipient", "sender", "number", "source"} and re.search(r"phone|msisdn|recipient", lower):
        return "phone" if "sender" not in words else kind
    if re.search(r"\biata\b|airport code", lower):
        return "airport"
    if kind == "number" and example and not example.replace(".", "").isdigit():
        return "string"
    if kind in ("string", "name", "place") and re.fullmatch(r"(?:[\w-]+\.)+(?:com|org|net|io|in)", example):
        return "domain"
    if kind in ("string", "query") and example.startswith(("http://", "https://")):
        return "url"
    return kind


def _role(words: tuple[str, ...], description: str) -> str:
    own = set(words)
    if own & _START or (len(words) > 1 and words[-1] in ("a", "1", "one")):
        return "start"
    if own & _END or (len(words) > 1 and words[-1] in ("b", "2", "two")):
        return "end"
    if re.match(r"(?:the )?(?:minimum|start|origin|departure)", description):
        return "start"
    return "end" if re.match(r"(?:the )?(?:maximum|end|destination|arrival)", description) else ""


_EXACT_UNITS = frozenset(["feet", "inches", "kg", "months", "days", "hours", "weeks", "years", "minutes", "seconds"])


def _units(words: tuple[str, ...], described: list[str]) -> frozenset[str]:
    """Units whose number is this parameter's: those that its name says, else what its kind and description say."""
    exact = [word for word in words if word in _EXACT_UNITS]
    groups = exact or [word for word in words if word in UNITS]
    found = {unit for word in groups for unit in UNITS[word]}
    if exact:
        return frozenset(found)
    told = [word for word in described if word in _EXACT_UNITS]
    return frozenset(found | {unit for word in told for unit in UNITS[word]})


_BULLET = re.compile(r"^\s*[-*•]\s*[`'\"*]{1,3}([\w.\-]{1,32})[`'\"*]{1,3}(?=\s*(?:[:,.;(=-]|$))", re.MULTILINE)


def _bulleted(description: str) -> tuple[str, ...]:
    """Members that the description lists one a line, where the schema has none."""
    found = _BULLET.findall(description)
    return tuple(dict.fromkeys(found)) if len(found) > 1 else ()


_SYNONYMS = {
    "male": ("man", "boy", "gentleman", "guy"), "female": ("woman", "girl", "lady"), "mi": ("mile", "miles"),
    "m": ("male", "man", "meters"), "f": ("female", "woman"), "asc": ("ascending", "oldest first", "lowest first"), "desc": ("descending", "newest", "highest", "latest first"),
    "km": ("kilometers", "kilometres"), "c": ("celsius",), "celsius": ("centigrade",), "day": ("daily",), "week": ("weekly",),
    "month": ("monthly",), "year": ("yearly", "annual"), "uk": ("united kingdom", "britain"), "us": ("united states", "usa"),
    "newest": ("latest", "most recent"), "date": ("newest",), "popular": ("popularity",), "relevance": ("relevant",),
    "1m": ("1 month", "one month", "last month"), "3m": ("3 months", "three months"), "6m": ("6 months", "six months"), "1y": ("1 year", "last year"),
    "price_low": ("cheapest",), "price_high": ("most expensive",), "f2p": ("free",),
}  # fmt: skip


def _aliases(members: tuple[Json, ...], description: str) -> tuple[tuple[tuple[str, ...], Json], ...]:
    by_text = {str(member).lower(): member for member in members if isinstance(member, (str, int, float))}
    found: dict[tuple[str, ...], Json] = {}
    for text, member in by_text.items():
        for name in (text, re.sub(r"[_\-.]+", " ", text), *_SYNONYMS.get(text, ())):
            found.setdefault(tuple(stem(word) for word in name.split()), member)
    for match in _ALIAS.finditer(description[:1500]) if members else ():
        member = by_text.get(match[1].lower())
        if member is not None:
            meaning = re.sub(r"\b(?:first|only|default|the|or|and)\b.*$", "", match[2].strip().lower())
            key = tuple(stem(word) for word in meaning.split()[:4])
            if key:
                found.setdefault(key, member)
    return tuple((key, member) for key, member in found.items() if key)


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
    wants = re.search(r"\biso\b|iso ?(?:639|3166|4217)|isocode|(?:2|two|3|three)[- ](?:letter|character|digit)|\bcodes?\b", description.lower())
    if wants or {"code", "cc", "gl", "hl", "lang"} & set(words) or kind == "currency":
        return "lower" if kind == "language" else "upper"
    return ""
