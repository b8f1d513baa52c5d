"""Numbers as people write them (1,200.50, -3, 5k, twenty-five, second), and the units that tell which one is meant."""

import math
import re

from app.extraction.words import word_set


def _numbered(words: str, first: int = 0, step: int = 1) -> dict[str, int]:
    return {word: first + place * step for place, word in enumerate(words.split())}


_WORDS = _numbered(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = _numbered("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_ORDINALS = _numbered("first second third fourth fifth sixth seventh eighth ninth tenth", 1)
_SUFFIXES = {"k": 1_000, "m": 1_000_000, "mn": 1_000_000, "bn": 1_000_000_000, "b": 1_000_000_000}

WORD_PATTERN = (
    r"(?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
    r"(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|a\ dozen|half\ a\ dozen|a\ couple\ of)(?:[ ](?:hundred|thousand|million|billion)){0,2}\b"
    r"|a[ ](?:hundred|thousand|million)\b"
)
ORDINAL_PATTERN = r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\d{1,4}(?:st|nd|rd|th))\b"
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def parse_number(text: str) -> float | int | None:
    """The value of a written number; None where it is not one. `1,5` is one and a half, `1,500` fifteen hundred."""
    text = text.strip().replace("−", "-").replace("–", "-").replace("’", ",").lower()
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-").strip()
    scale = 1
    for suffix, factor in _SUFFIXES.items():
        if body.endswith(suffix) and body[: -len(suffix)].replace(".", "").replace(",", "").isdecimal():
            body, scale = body[: -len(suffix)], factor
            break
    if _THOUSANDS.fullmatch(body):
        body = body.replace(",", "")
    elif body.count(",") == 1 and "." not in body:
        body = body.replace(",", ".")
    return _finite(body, sign * scale)


def _finite(body: str, factor: int) -> float | int | None:
    if not body or len(body) > 40 or not body.isascii() or not body[0].isdigit():
        return None
    if body.isdecimal():
        return int(body) * factor
    try:
        value = float(body) * factor
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_ordinal(text: str) -> int | None:
    """The place that `third` or `3rd` names; None for any other text."""
    lower = text.lower()
    if lower[:-2].isdecimal() and lower[:-2].isascii() and len(lower) < 12:
        return int(lower[:-2])
    return _ORDINALS.get(lower)


def parse_words(text: str) -> int | None:
    """The value of a number in words (`three`, `two hundred`, `a dozen`); None for any other text."""
    lower = text.lower()
    if lower in ("a dozen", "half a dozen", "a couple of"):
        return {"a": 12, "h": 6}[lower[0]] if "dozen" in lower else 2
    total = 0
    for word in re.split(r"[- ]+", lower):
        if word in _SCALES:
            total = max(1, total) * _SCALES[word]
        elif word in _TENS:
            total += _TENS[word]
        elif word in _WORDS:
            total += _WORDS[word]
        elif word != "a":
            return None
    return total


_LENGTHS = "km kms kilometers kilometres kilometer mile miles mi m meters metres"
_PEOPLE = "people persons person adults adult passengers guests travelers travellers"
_MONEY = "usd eur gbp jpy btc eth inr cad aud chf dollars dollar euros euro pounds yen rupees bitcoin us british"
_EXACT = {
    "feet": "feet foot ft",
    "inches": "inches inch in",
    "kg": "kg kilos kilograms",
    "years": "years year",
    "months": "months month mo",
    "weeks": "weeks week wk",
    "days": "days day d",
    "hours": "hours hour h hrs",
    "minutes": "minutes minute min mins",
    "seconds": "seconds second secs s",
}
_UNITS = {
    name: word_set(units)
    for name, units in {
        **_EXACT,
        "weight": "kg kgs kilo kilos kilograms kilogram pounds pound lb lbs g grams stone",
        "height": "cm centimeters centimetres m meters metres meter inches inch feet foot ft tall",
        "duration": "minutes minute min mins hours hour hrs seconds second secs sec s h",
        "radius": _LENGTHS,
        "distance": _LENGTHS,
        "age": "years year yo y",
        "size": "px pixels x",
        "width": "px pixels",
        **dict.fromkeys(("price", "amount", "value"), _MONEY),
        **dict.fromkeys(("percent", "percentage", "rate", "interest"), "%"),
        **dict.fromkeys(("adult", "adults", "passengers", "guests", "people", "persons", "travelers"), _PEOPLE),
    }.items()
}


def expected_units(words: tuple[str, ...], described: list[str]) -> frozenset[str]:
    """Units of the numbers that the parameter takes: those its name says, else those its description says.

    `words` are those of the name, `described` the first words of the description.
    """
    exact = [word for word in words if word in _EXACT]
    named = exact or [word for word in words if word in _UNITS]
    stated = [] if exact else [word for word in described if word in _EXACT]
    return frozenset(unit for word in (*named, *stated) for unit in _UNITS[word])
