"""The kind of value that a parameter takes, by its name, then by what its example and description correct."""

import re
from collections.abc import Mapping

from app.domain import Json
from app.extraction.codes import CURRENCY_CODES
from app.extraction.text import words_of

START = words_of(
    "from start begin since after min minimum origin source depart departure base gt gte greater lower least"
)
END = words_of("to end until till before max maximum destination target dest arrival return lt lte less upper most")
# By words of the name; the first kind that shares a word decides.
_KINDS = {
    kind: words_of(names)
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
_OPTIONS = words_of("type mode format version by auto agent token group status level engine unit units")
_NAMED = words_of("user screen file domain country city host")
_TEXTUAL = words_of("text query place name string path user color ticker domain sort email url option currency country")
_SETTLED = words_of("id secret email url phone option")
_CALLED = words_of("to from destination recipient number source")
_FORMATS = {
    "date": "date", "date-time": "date", "time": "time", "email": "email", "uri": "url", "url": "url", "uuid": "id",
    "ipv4": "ip", "ipv6": "ip", "hostname": "domain",
}  # fmt: skip
_COORDINATES = re.compile(r"-?\d{1,3}\.\d+\s*,\s*-?\d{1,3}\.\d+")
_DATED = re.compile(r"['\"]?(?:\d{4}-\d{2}-\d{2}|\d{2}[./]\d{2}[./]\d{4}|y{4}-m{2}-d{2})", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,5}(?:com|org|net|io|in)")


def kind_of(words: tuple[str, ...], json_type: str, schema: Mapping[str, Json], description: str, example: str) -> str:
    """A kind of `_KINDS`, or boolean, object, array, coordinates, option, number, string where nothing tells."""
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
    """`from` may be a date, a place, a phone or a currency."""
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
