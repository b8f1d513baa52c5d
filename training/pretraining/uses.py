"""Uses of tools without a user: what the base model learns to call tools from.

A use is an instruction and the call that answered it, whoever asked: the training part's histories and answers hold
tens of thousands. Each time one is read it gets other candidates, and other values where they can be redrawn.
"""

import random
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.domain import Candidate, Hints, Json, Parameter, Tool, ToolCall
from training.data.records import Instance

_COUNTS, _SHARES = ((1, 3), (4, 6), (7, 10)), (0.6, 0.25, 0.15)
"""Candidates: mostly few, as an example costs what its prompt has tokens, and teaches by its answer's."""
_NEAR = 0.5
"""Share of the other candidates that are of the same category."""
_BEST = 0.85
"""How often the right tool's hint is the highest: hints are good, not perfect."""
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?\b")
_QUOTES = ('""', "''", "“”", "«»")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Use:
    instruction: str
    call: ToolCall
    day: date


def uses_of(instances: Iterable[Instance], *, answers: bool = True) -> list[Use]:
    """Of histories and, with `answers`, of right calls: each once, in the order in which they first occur."""
    found: dict[tuple[str, str], Use] = {}
    for instance in instances:
        asked = [(each.instruction, each.tool_call, each.occurred_at) for each in instance.history]
        if answers:
            asked.append((instance.instruction, instance.answer, instance.asked_at))
        for instruction, call, when in asked:
            found.setdefault((instruction, call.tool_name), Use(instruction, call, when.date()))
    return list(found.values())


class Rivals:
    """Candidates for a use: its tool and others that do not do the same."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools
        self._all = sorted(tools)
        self._of_category: dict[str, list[str]] = defaultdict(list)
        for name in self._all:
            self._of_category[tools[name].category].append(name)

    def draw(self, use: Use, chance: random.Random) -> list[Candidate]:
        """1 to 10 in random order, the right one among them; of the hints, only what it comes to tells anything."""
        right = self._tools[use.call.tool_name]
        count = chance.randint(*chance.choices(_COUNTS, _SHARES)[0])
        chosen = {right.name: right}
        for _ in range(4 * count):
            if len(chosen) == count:
                break
            near = chance.random() < _NEAR
            other = self._tools[chance.choice(self._of_category[right.category] if near else self._all)]
            if not _same_inputs(right, other):
                chosen[other.name] = other
        return _hinted([*chosen.values()], right, chance)


def _same_inputs(one: Tool, other: Tool) -> bool:
    """Two tools of a category with the same parameters may do the same."""
    return one.category == other.category and {each.name for each in one.parameters} == {
        each.name for each in other.parameters
    }


def _hinted(tools: list[Tool], right: Tool, chance: random.Random) -> list[Candidate]:
    chance.shuffle(tools)
    good = chance.random() < _BEST
    best = right if good else chance.choice(tools)
    worth = {tool.name: chance.randint(0, 8) for tool in tools}
    if not good:
        worth[right.name] = chance.randint(4, 9)
    worth[best.name] = 9
    return [Candidate(tool, 0.0, 0.0, hints=_saying(worth[tool.name], chance)) for tool in tools]


def _saying(worth: int, chance: random.Random) -> Hints:
    """All in all, and nothing of a taste or of why: whose use it was is not told."""
    taste, unfit = chance.randint(0, 9), chance.randint(0, 9)
    return Hints(9 - unfit, taste, 9, 9 - worth)


class Redrawer:
    """Replaces values that are copied from the instruction, there and in the call."""

    def __init__(self, uses: Sequence[Use]) -> None:
        texts = {value for use in uses for value in use.call.parameters.values() if isinstance(value, str)}
        self._texts = sorted(text for text in texts if 2 <= len(text) <= 80)
        self._words = sorted({word for use in uses for word in _WORD.findall(use.instruction)})

    def redraw(self, use: Use, tool: Tool, chance: random.Random, share: float) -> Use:
        """Those values of the call that the instruction holds once, each with the probability `share`."""
        instruction, parameters = use.instruction, dict(use.call.parameters)
        fixed = {parameter.name for parameter in tool.parameters if "enum" in parameter.schema}
        for name, value in parameters.items():
            if name in fixed or isinstance(value, bool) or chance.random() >= share:
                continue
            written = value if isinstance(value, str) else str(value)
            if not isinstance(value, str | int | float) or not _stands_once(written, instruction):
                continue
            if _DATE.match(written):
                # Digits drawn for it would make no date.
                continue
            other = self._other(value, written, chance)
            if other is None or str(other) in instruction:
                continue
            instruction = instruction.replace(written, str(other))
            parameters[name] = other
        return replace(use, instruction=instruction, call=ToolCall(use.call.tool_name, parameters))

    def _other(self, value: Json, written: str, chance: random.Random) -> Json:
        if not isinstance(value, str):
            digits = "".join(chance.choice("123456789") if each.isdigit() else each for each in written)
            return type(value)(digits) if digits.replace(".", "", 1).replace("-", "", 1).isdigit() else None
        kind = chance.random()
        if _is_code(written):
            return "".join(_like(each, chance) for each in written)
        if kind < 0.4:
            return chance.choice(self._texts)
        if kind < 0.8:
            return " ".join(chance.choice(self._words) for _ in range(chance.randint(1, 5)))
        return "".join(chance.choice(string.ascii_letters) for _ in range(chance.randint(3, 9)))


def _stands_once(written: str, instruction: str) -> bool:
    if len(written) < 2 and not written.isdigit():
        return False
    return len(re.findall(rf"(?<![\w.]){re.escape(written)}(?![\w])", instruction)) == 1 == instruction.count(written)


def _is_code(written: str) -> bool:
    """Identifiers, numbers, dates, addresses: what has a form that is to be kept."""
    return any(each.isdigit() for each in written) or "/" in written or "@" in written or "." in written.strip(".")


def _like(character: str, chance: random.Random) -> str:
    if character.isdigit():
        return chance.choice(string.digits)
    if character.isascii() and character.isalpha():
        return chance.choice(string.ascii_uppercase if character.isupper() else string.ascii_lowercase)
    return character


class Drills:
    """Short uses of tools that do not exist: nothing to be read in them but where a value stands.

    A small model learns to copy from many of them in minutes, and from whole prompts alone in hours.
    """

    def __init__(self, tools: Mapping[str, Tool], uses: Sequence[Use]) -> None:
        kinds = {
            (parameter.name, parameter.description)
            for tool in tools.values()
            for parameter in tool.parameters
            if parameter.schema.get("type") in ("string", "number") and "enum" not in parameter.schema
        }
        self._kinds = sorted(kinds)
        self._words = sorted({word for use in uses for word in _WORD.findall(use.instruction)})
        self._days = [use.day for use in uses]

    def draw(self, chance: random.Random) -> tuple[Use, Tool]:
        kinds = chance.sample(self._kinds, chance.randint(1, 4))
        kinds = list({name: (name, description) for name, description in kinds}.values())
        parameters: dict[str, Json] = {}
        schema: dict[str, str] = {}
        told: list[str] = []
        for name, description in kinds:
            value = self._value(chance)
            parameters[name] = value
            schema[name] = "string" if isinstance(value, str) else "number"
            told.append(self._told(name, description, str(value), chance))
        chance.shuffle(told)
        tool = Tool(
            ".".join(self._some(chance, 1, 2).title() for _ in range(3)), "", "", "", "",
            tuple(Parameter(name, {"type": schema[name]}, True, description) for name, description in kinds),
        )  # fmt: skip
        pieces = [each for text in told for each in (self._some(chance, 0, 4), text)]
        instruction = " ".join(filter(None, [*pieces, self._some(chance, 0, 3)]))
        return Use(instruction, ToolCall(tool.name, parameters), chance.choice(self._days)), tool

    def _some(self, chance: random.Random, fewest: int, most: int) -> str:
        return " ".join(chance.choice(self._words) for _ in range(chance.randint(fewest, most)))

    def _value(self, chance: random.Random) -> Json:
        match chance.randrange(5):
            case 0:
                return chance.randint(0, 10 ** chance.randint(1, 6))
            case 1:
                letters = string.ascii_letters + string.digits + "-_"
                return "".join(chance.choice(letters) for _ in range(chance.randint(2, 10)))
            case 2:
                return round(chance.uniform(0, 10 ** chance.randint(1, 4)), chance.randint(1, 3))
            case _:
                return self._some(chance, 1, 6)

    def _told(self, name: str, description: str, value: str, chance: random.Random) -> str:
        """The value, with the words that say which it is before or behind it, or between quotation marks."""
        if chance.random() < 0.4:
            quotes = chance.choice(_QUOTES)
            value = f"{quotes[0]}{value}{quotes[1]}"
        called = " ".join(_WORD.findall(name)).lower() if chance.random() < 0.5 else description[:40].lower()
        match chance.randrange(4):
            case 0:
                return f"{value} ({called})"
            case 1:
                return f"{called}: {value},"
            case 2:
                return f"{called} {value}."
            case _:
                return f"{called} is {value};"
