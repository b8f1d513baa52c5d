"""Numbers as people write them: 1,200.50, -3, 5k, three, twenty-five, second."""

import math
import re


def _counted(words: str, first: int = 0, step: int = 1) -> dict[str, int]:
    return {word: first + place * step for place, word in enumerate(words.split())}


_WORDS = _counted(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = _counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_ORDINALS = _counted("first second third fourth fifth sixth seventh eighth ninth tenth", 1)
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
    lower = text.lower()
    if lower[:-2].isdecimal() and lower[:-2].isascii() and len(lower) < 12:
        return int(lower[:-2])
    return _ORDINALS.get(lower)


def parse_words(text: str) -> int | None:
    """`three`, `twenty-five`, `two hundred`, `a dozen` as a number."""
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
