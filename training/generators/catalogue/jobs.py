"""Functionalities: a thing and an action that suits it, with the words for both."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from app.domain import Json
from app.extraction.words import word_set
from training.common.seeding import rng
from training.data.records import ToolUse
from training.generators.values import Value, make_value

_FOLDER = Path(__file__).parent
_REGISTERS = {"terse": 0.2, "polite": 0.2, "question": 0.25, "context": 0.2, "several": 0.15}
_OPTIONAL = 0.45
"""How likely an instruction speaks of an optional parameter."""
_OPENERS = (
    "Hi, ",
    "Hello, ",
    "Quick one: ",
    "One more thing: ",
    "Good morning, ",
    "Sorry, me again: ",
    "Okay, ",
    "Hey, ",
)
_CLOSERS = (" Thanks!", " Thank you.", " Thanks in advance.", " It is a bit urgent.", " No rush.", " Cheers.")
_OPENED, _CLOSED = 0.12, 0.1
_END = re.compile(r"[.?!]$")
_CLOSED_BY = re.compile(r"[.?!][\"”')]?$|[\"”]$")
_DAYS = ("date", "past_date", "future_date", "year")
_ACRONYMS = word_set("qr pdf sms ip url seo dns ssl tv ai dna css html json xml csv gps vat esg nba tls api ev uv")
_INNER_TAIL = re.compile(r"^\s*[,(]")
_WORDS = re.compile(r"[^\W_]+")
_VOWEL = re.compile(r"(?!uni|use|usa|eu|one\b)[aeiou]|x-|hour|honest|sms|ssl|mp3|html|seo")


@dataclass(frozen=True)
class Slot:
    """A parameter of a functionality."""

    slot: str
    """Its name in the frames."""
    name: str
    """Its name in the tools' documents."""
    kind: str | tuple[str, ...]
    """Of value (`training.generators.values`); a tuple is an enumeration."""
    required: bool
    says: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Job:
    """One functionality. All its tools share the slots and the response."""

    key: str
    """`<category>/<thing>/<action>`."""
    category: str
    words: Mapping[str, str]
    """The thing's forms by frame slot."""
    api: tuple[str, ...]
    does: tuple[str, ...]
    slots: tuple[Slot, ...]
    asks: Mapping[str, Sequence[str]]
    """Frames by register."""
    tails: Mapping[str, Sequence[str]]
    returns: tuple[str, ...]

    def ask(self, random: Random) -> ToolUse:
        """An instruction and the parameters that it speaks of."""
        given = self._values(random)
        spoken = [slot for slot in self.slots if slot.required or random.random() < _OPTIONAL]
        register = random.choices(list(_REGISTERS), list(_REGISTERS.values()))[0]
        said = {**self.words, **{slot: value.said for slot, value in given.items()}}
        text = random.choice(self.asks[register]).format_map(said)
        for slot in spoken:
            if not slot.required:
                text = _with_tail(text, self._tail(slot.slot, register, random).format_map(said))
        parameters: dict[str, Json] = {slot.name: given[slot.slot].value for slot in spoken}
        return ToolUse(_framed(text, register, random), parameters)

    def _values(self, random: Random) -> dict[str, Value]:
        """A value for each slot. Of one kind no two are the same; of two days the earlier comes first."""
        given: dict[str, Value] = {}
        for slot in self.slots:
            taken = [given[each.slot].value for each in self.slots if each.slot in given and each.kind == slot.kind]
            value = make_value(slot.kind, random)
            while value.value in taken and not isinstance(slot.kind, tuple):
                value = make_value(slot.kind, random)
            given[slot.slot] = value
        for kind in _DAYS:
            slots = [slot.slot for slot in self.slots if slot.kind == kind]
            ordered = sorted((given[slot] for slot in slots), key=lambda value: str(value.value))
            given.update(zip(slots, ordered, strict=True))
        return given

    def _tail(self, slot: str, register: str, random: Random) -> str:
        """After several sentences another one reads best."""
        tails = self.tails[slot]
        own = [tail for tail in tails if not _INNER_TAIL.match(tail)]
        return random.choice(own if own and register == "several" else tails)

    def written(self, template: str) -> str:
        return template.format_map(self.words)


def _with_tail(text: str, tail: str) -> str:
    if not _INNER_TAIL.match(tail):
        return f"{text if _CLOSED_BY.search(text) else f'{text}.'} {tail.strip()}"
    end = _END.search(text)
    body, mark = (text[:-1], end[0]) if end else (text, "")
    joint = "" if tail[0] in ", " else " "
    return f"{body}{joint}{tail.rstrip('.')}{mark}"


def _framed(text: str, register: str, random: Random) -> str:
    if register != "terse" and random.random() < _OPENED:
        first = (
            text if text.startswith("I ") or text.startswith("I'") or text[:2].isupper() else text[0].lower() + text[1:]
        )
        text = random.choice(_OPENERS) + first
    if register != "terse" and random.random() < _CLOSED:
        text = (text if _END.search(text) else f"{text}.") + random.choice(_CLOSERS)
    return text[0].upper() + text[1:] if register != "terse" else text


@lru_cache(maxsize=1)
def jobs() -> Mapping[str, Job]:
    """All functionalities there are, by key, in the files' order."""
    things = yaml.safe_load((_FOLDER / "things.yaml").read_text("utf-8"))["categories"]
    actions = yaml.safe_load((_FOLDER / "actions.yaml").read_text("utf-8"))
    found = (
        _job(category, thing, action, spec)
        for category, of_category in things.items()
        for thing in of_category
        for action, spec in actions[thing["kind"]].items()
        if action not in thing.get("not", ())
    )
    return {job.key: job for job in found}


def categories() -> list[str]:
    return list(dict.fromkeys(job.category for job in jobs().values()))


def _job(category: str, thing: Mapping[str, Any], action: str, spec: Mapping[str, Any]) -> Job:
    key = f"{category}/{thing['one']}/{action}"
    random = rng("names of parameters", key)
    return Job(
        key,
        category,
        _forms(thing["one"], thing["many"], thing["also"]),
        tuple(spec["api"]),
        tuple(spec["does"]),
        tuple(_slots(spec.get("parameters") or (), random)),
        spec["asks"],
        spec.get("tails") or {},
        tuple(spec["returns"]),
    )


def _slots(parameters: Sequence[Mapping[str, Any]], random: Random) -> Iterator[Slot]:
    taken: set[str] = set()
    for each in parameters:
        names = [name for name in each["names"] if name not in taken]
        name = random.choice(names)
        taken.add(name)
        kind = each["value"]
        yield Slot(
            each["names"][0],
            name,
            tuple(kind["enum"]) if isinstance(kind, Mapping) else kind,
            bool(each["required"]),
            tuple(each["says"]),
        )


def _forms(one: str, many: str, also: str) -> dict[str, str]:
    article = "an" if _VOWEL.match(one) else "a"
    return {
        "one": one,
        "many": many,
        "also": also,
        "One": _title(one),
        "Many": _title(many),
        "a_one": f"{article} {one}",
        "one_snake": "_".join(_WORDS.findall(one)),
        "many_snake": "_".join(_WORDS.findall(many)),
        "OneCamel": "".join(word.capitalize() for word in _WORDS.findall(one)),
        "ManyCamel": "".join(word.capitalize() for word in _WORDS.findall(many)),
    }


def _title(text: str) -> str:
    return " ".join(word.upper() if word in _ACRONYMS else word[0].upper() + word[1:] for word in text.split())
