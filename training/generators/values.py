"""Parameter values of many kinds, each with the ways in which a person writes it in a sentence."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from app.domain import Json

TODAY = date(2025, 6, 2)
"""Of the benchmark's world: past and future dates stand around it."""

_FILE = Path(__file__).parent / "words.yaml"
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
"""Not `calendar`'s, which are those of the process's locale."""
_NUMERALS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Value:
    value: Json
    """As the call has it."""
    said: str
    """As the instruction says it."""


@lru_cache(maxsize=1)
def word_lists() -> Mapping[str, Any]:
    """`words.yaml`."""
    return dict(yaml.safe_load(_FILE.read_text("utf-8")))


def words(kind: str) -> Sequence[str]:
    """The list of that name in `words.yaml`; of a mapping its keys."""
    return list(word_lists()[kind])


def _pick(kind: str) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        return _same(random.choice(words(kind)))

    return make


def _named(kind: str, *, code_said: float) -> Callable[[Random], Value]:
    """The code of a name, said by the name, or now and then as it is."""

    def make(random: Random) -> Value:
        name, code = random.choice(list(word_lists()[kind].items()))
        return Value(code, code if random.random() < code_said else name)

    return make


def _title(random: Random) -> Value:
    shape = random.choice(("The {a} {n}", "{a} {n}", "A {n} of {m}", "{n} and {m}", "The {n}", "{a} {n}s"))
    drawn = {
        "a": random.choice(words("adjectives")),
        "n": random.choice(words("nouns")),
        "m": random.choice(words("nouns")),
    }
    title = shape.format(**{key: word.capitalize() for key, word in drawn.items()})
    return Value(title, random.choice((f'"{title}"', title, f"“{title}”")))


def _person(random: Random) -> Value:
    name = f"{random.choice(words('first_names'))} {random.choice(words('last_names'))}"
    return Value(name, name)


def _quoted(kind: str) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        chosen = random.choice(words(kind))
        return Value(chosen, f'"{chosen}"')

    return make


def _domain_name(random: Random) -> str:
    joint = random.choice(("", "", "-"))
    return f"{random.choice(words('adjectives'))}{joint}{random.choice(words('nouns'))}.{random.choice(words('hosts'))}"


def _domain(random: Random) -> Value:
    name = _domain_name(random)
    return Value(name, name)


def _url(random: Random) -> Value:
    folder = f"/{random.choice(words('nouns'))}"
    path = random.choice(("", folder, f"{folder}/{random.randint(2, 980)}"))
    url = f"https://{random.choice(('', 'www.'))}{_domain_name(random)}{path}"
    return Value(url, url)


def _image_url(random: Random) -> Value:
    file = f"{random.choice(words('nouns'))}-{random.randint(1, 999)}.{random.choice(('jpg', 'png'))}"
    url = f"https://{_domain_name(random)}/{file}"
    return Value(url, url)


def _email(random: Random) -> Value:
    joint = random.choice((".", "_", ""))
    who = f"{random.choice(words('first_names'))}{joint}{random.choice(words('last_names'))}".lower()
    mail = f"{who}@{_domain_name(random)}"
    return Value(mail, mail)


def _coded(*shapes: str) -> Callable[[Random], Value]:
    """`0` a digit, `A` a capital, `h` a hexadecimal digit; anything else stands for itself."""

    def make(random: Random) -> Value:
        shape = random.choice(shapes)
        kinds = {"0": string.digits, "A": "ABCDEFGHJKLMNPRSTUVWXYZ", "h": _HEX}
        text = "".join(random.choice(kinds[each]) if each in kinds else each for each in shape)
        return Value(text, text)

    return make


def _username(random: Random) -> Value:
    joint = random.choice(("_", "", "."))
    name = f"{random.choice(words('adjectives'))}{joint}{random.choice(words('first_names')).lower()}"
    name += random.choice(("", str(random.randint(2, 99))))
    return Value(name, random.choice((name, f"@{name}")))


def _hashtag(random: Random) -> Value:
    tag = random.choice(words("topics")).replace(" ", "")
    return Value(tag, f"#{tag}")


def _said_date(day: date, random: Random) -> str:
    month = _MONTHS[day.month - 1]
    return random.choice(
        (day.isoformat(), day.isoformat(), f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}")
    )


def _date(lowest: int, highest: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        day = TODAY + timedelta(days=random.randint(lowest, highest))
        return Value(day.isoformat(), _said_date(day, random))

    return make


def _time(random: Random) -> Value:
    text = f"{random.randint(6, 22):02d}:{random.choice((0, 10, 15, 20, 30, 40, 45, 50)):02d}"
    return Value(text, text)


def _small(lowest: int, highest: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        number = random.randint(lowest, highest)
        in_words = 1 < number < len(_NUMERALS) and random.random() < 0.35
        return Value(number, _NUMERALS[number] if in_words else str(number))

    return make


def _number(lowest: float, highest: float, digits: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        number = round(random.uniform(lowest, highest), digits)
        whole = digits == 0 or number == int(number)
        return Value(int(number) if whole else number, f"{int(number) if whole else number}")

    return make


def _amount(random: Random) -> Value:
    number = random.choice((random.randint(2, 99), random.randint(1, 40) * 50, round(random.uniform(5, 900), 2)))
    return Value(number, str(number))


def _postal(random: Random) -> Value:
    return _coded("00000", "0000 AA", "00-000", "AA0 0AA")(random)


KINDS: Mapping[str, Callable[[Random], Value]] = {
    "city": _pick("cities"),
    "country": _pick("countries"),
    "country_code": _named("countries", code_said=0.4),
    "language": _pick("languages"),
    "language_code": _named("languages", code_said=0.25),
    "currency": _named("currencies", code_said=0.6),
    "ticker": _pick("tickers"),
    "crypto": _pick("crypto"),
    "company": _pick("companies"),
    "person": _person,
    "team": _pick("teams"),
    "artist": _pick("artists"),
    "title": _title,
    "topic": _pick("topics"),
    "product": _pick("products"),
    "dish": _pick("dishes"),
    "text": _quoted("sentences"),
    "message": _quoted("messages"),
    "url": _url,
    "image_url": _image_url,
    "domain": _domain,
    "email": _email,
    "phone": _coded("+351910000000", "+4477000000", "+1617000000", "+4015000000"),
    "ip": lambda random: _same(".".join(str(random.randint(1, 254)) for _ in range(4))),
    "username": _username,
    "hashtag": _hashtag,
    "id": _coded("00000", "0000000", "AA-0000", "hhhhhhhh", "A00000", "AAA_000"),
    "isbn": _coded("978-0-000-00000-0", "9780000000000"),
    "iban": _coded("DE00000000000000000000", "FR000000000000000000000000", "PT00000000000000000000000"),
    "vin": _coded("AAAAA00A00A000000", "0AAAA00A0AA000000"),
    "plate": _coded("AA-00-AA", "AAA-0000", "A-AA 0000"),
    "postal_code": _postal,
    "flight": lambda random: _same(f"{random.choice(words('airlines'))}{random.randint(100, 4999)}"),
    "airport": _pick("airports"),
    "tracking": _coded("AA000000000AA", "1Z00000000", "00000000000000"),
    "patent": _coded("EP0000000", "US00000000", "WO2000000000"),
    "case_number": _coded("C-000/10", "00-0000", "21/A/0000"),
    "drug": _pick("drugs"),
    "species": _pick("species"),
    "sport": _pick("sports"),
    "league": _pick("leagues"),
    "game": _pick("games"),
    "date": _date(-500, 300),
    "past_date": _date(-1500, -3),
    "future_date": _date(2, 240),
    "time": _time,
    "year": lambda random: _same(random.randint(1985, 2024)),
    "count": _small(2, 50),
    "days": _small(2, 14),
    "amount": _amount,
    "price": lambda random: _same(random.choice((random.randint(2, 30) * 5, random.randint(1, 30) * 100))),
    "latitude": _number(-55, 65, 4),
    "longitude": _number(-120, 150, 4),
    "radius": _small(1, 60),
    "percent": _small(5, 95),
    "zodiac": _pick("zodiac"),
    "color": _coded("#hhhhhh"),
}
"""By the name that the catalogue's files use."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("year", "count", "days", "amount", "price", "latitude", "longitude", "radius", "percent"), "NUMBER"
    ),
    **dict.fromkeys(("date", "past_date", "future_date"), "DATE"),
    "time": "TIME",
    "boolean": "BOOLEAN",
}
"""RapidAPI's type of a kind; STRING for the rest."""


def _same(value: Json) -> Value:
    return Value(value, str(value))


def make_value(kind: str | Sequence[str], random: Random) -> Value:
    """Of a kind of `KINDS`, `boolean`, or one of an enumeration's members. KeyError for a kind there is not."""
    if not isinstance(kind, str):
        member = random.choice(list(kind))
        return Value(member, str(member).replace("_", " "))
    if kind == "boolean":
        return Value(True, "")
    return KINDS[kind](random)
