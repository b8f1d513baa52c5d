"""A model's answers, read with tolerance and checked without: what is wrong with one is a WriterRejected."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from app.answers.json_text import Truncated, find_objects, json_value, text_after
from app.answers.validation import parameter_problems, value_problem
from app.domain import Json, Parameter, Tool
from app.json_data.tool_names import alias
from app.json_data.values import replace_unstorable
from app.prompting.text import cut, one_line
from training.data.records import Attributes, ToolUse
from training.generators.writer import PlannedInteraction, WriterRejected
from training.openai.wire import Answer

_LONGEST_PHRASE: Final = 300
"""Characters of one description; two short phrases were asked for."""
_LONGEST_DETAIL: Final = 600
_THOUGHT_END: Final = "</think>"
_WORD: Final = re.compile(r"[^\W_]+")
_PARAMETERS: Final = ("parameters_json", "parameters")


def tool_use(answer: Answer, tool: Tool) -> ToolUse:
    """WriterRejected: invalid_json, blank or invalid_parameters."""
    return _tool_use(_object(answer, "instruction"), tool)


def instruction(answer: Answer, tool: Tool) -> ToolUse:
    """Also name_leak: the request has the tool's name, or its provider's."""
    use = tool_use(answer, tool)
    for name in (tool.name, tool.provider):
        if names(use.instruction, name):
            raise WriterRejected("name_leak", f"the instruction must not contain {cut(name, 100)!r}")
    return use


def attributes(answer: Answer) -> Attributes:
    """WriterRejected: invalid_json or blank."""
    found = _object(answer, "functionality", "non_functional")
    functionality, non_functional = (_text(found, name) for name in ("functionality", "non_functional"))
    return Attributes(cut(one_line(functionality), _LONGEST_PHRASE), cut(one_line(non_functional), _LONGEST_PHRASE))


def history(answer: Answer, planned: Sequence[PlannedInteraction]) -> list[ToolUse]:
    """One for each planned entry, in their order.

    WriterRejected: empty_history (no entries, or one without anything in it), wrong_tool (not the planned tools in the
    planned order, unless no tool comes twice and they can be put in order), and those of `tool_use`.
    """
    entries = _entries(answer)
    if not entries:
        raise WriterRejected("empty_history", f"there are no interactions, and the plan has {len(planned)}")
    for number, entry in enumerate(entries, 1):
        if not entry:
            raise WriterRejected("empty_history", f"interaction {number} is empty")
    ordered = _ordered(entries, [each.tool for each in planned])
    uses = []
    for number, (entry, plan) in enumerate(zip(ordered, planned, strict=True), 1):
        try:
            uses.append(_tool_use(entry, plan.tool))
        except WriterRejected as rejected:
            raise WriterRejected(rejected.kind, f"interaction {number}: {rejected.detail}") from None
    return uses


def names(text: str, name: str) -> bool:
    """Whether the name stands in the text as whole words, whatever their case, and the spaces and punctuation between.

    In scripts without upper and lower case words are not told apart: there the name may be within one.
    """
    wanted = "".join(_words(name))
    if not wanted:
        bare = name.strip().casefold()
        return bool(bare) and bare in text.casefold()
    words = _words(text)
    if any(char.isalpha() and char.upper() == char.lower() for char in wanted):
        return wanted in "".join(words)
    return any(_begins_with(words, start, wanted) for start in range(len(words)))


def _begins_with(words: Sequence[str], start: int, wanted: str) -> bool:
    at = 0
    for word in words[start:]:
        if not wanted.startswith(word, at):
            return False
        at += len(word)
        if at == len(wanted):
            return True
    return False


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _objects(answer: Answer) -> list[dict[str, Json]]:
    """All of the answer's outermost JSON objects, after what the model may have thought aloud."""
    if not answer.text.strip():
        raise WriterRejected("blank", f"the answer is empty ({cut(answer.finish_reason, 40)})")
    found = []
    try:
        for each in find_objects(text_after(answer.text, _THOUGHT_END)):
            found.append(replace_unstorable(each.value))  # noqa: PERF401 (what was found counts, also where the next raises)
    except Truncated:
        pass
    if not found:
        raise WriterRejected("invalid_json", _missing(answer, "there is no complete JSON object in it"))
    return found


def _object(answer: Answer, *keys: str) -> dict[str, Json]:
    """The last one that has the keys: what comes before may be a draft."""
    for found in reversed(_objects(answer)):
        if all(key in found for key in keys):
            return found
    raise WriterRejected("invalid_json", _missing(answer, f"there is no JSON object with {' and '.join(keys)}"))


def _entries(answer: Answer) -> list[dict[str, Json]]:
    """The interactions, in one object or, as some models will have it, in a bare list."""
    found = _objects(answer)
    whole = [each["interactions"] for each in found if "interactions" in each]
    entries = whole[-1] if whole else [each for each in found if "tool_name" in each or "instruction" in each]
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise WriterRejected("invalid_json", "interactions is no list of objects")
    if not whole and not entries:
        raise WriterRejected("invalid_json", _missing(answer, "there is no JSON object with interactions"))
    if not whole and answer.is_cut_off:
        raise WriterRejected("invalid_json", _missing(answer, "it ends too early"))
    return entries


def _missing(answer: Answer, problem: str) -> str:
    return f"it was cut off at the limit of tokens, write less ({problem})" if answer.is_cut_off else problem


def _ordered(entries: Sequence[dict[str, Json]], tools: Sequence[Tool]) -> Sequence[dict[str, Json]]:
    given = [_name(entry.get("tool_name")) for entry in entries]
    wanted = [_name(alias(tool.name)) for tool in tools]
    if given == wanted:
        return entries
    if sorted(given) == sorted(wanted) and len(set(wanted)) == len(wanted):
        by_name = dict(zip(given, entries, strict=True))
        return [by_name[name] for name in wanted]
    if len(given) != len(wanted):
        raise WriterRejected("wrong_tool", f"there are {len(given)} interactions, and the plan has {len(wanted)}")
    number = next(number for number, pair in enumerate(zip(given, wanted, strict=True)) if pair[0] != pair[1])
    shown = cut(str(entries[number].get("tool_name")), 100)
    raise WriterRejected(
        "wrong_tool", f"interaction {number + 1} has tool_name {shown!r}, and the plan {alias(tools[number].name)!r}"
    )


def _name(value: Json) -> str:
    return " ".join(value.split()).casefold() if isinstance(value, str) else ""


def _tool_use(found: Mapping[str, Json], tool: Tool) -> ToolUse:
    text = _text(found, "instruction")
    parameters = coerced(tool, _parameters(found))
    problems = parameter_problems(tool, parameters)
    if problems:
        reasons = "; ".join(each.reason for each in problems[:5])
        raise WriterRejected("invalid_parameters", cut(replace_unstorable(reasons), _LONGEST_DETAIL))
    return ToolUse(text, parameters)


def _text(found: Mapping[str, Json], key: str) -> str:
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        raise WriterRejected("invalid_json", f"{key} is no text")
    text = (value or "").strip()
    if not any(char.isprintable() and not char.isspace() for char in text):
        raise WriterRejected("blank", f"{key} is empty")
    return text


def _parameters(found: Mapping[str, Json]) -> dict[str, Json]:
    """From the JSON text that was asked for, or the object that models like to write instead."""
    given = next((found[key] for key in _PARAMETERS if key in found), None)
    if isinstance(given, str):
        given = _read(given) if given.strip() else {}
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise WriterRejected("invalid_json", "parameters_json is no JSON object")
    return given


def _read(text: str) -> Json:
    try:
        return replace_unstorable(json_value(text))
    except ValueError:
        pass
    try:
        found = next(find_objects(text), None)
    except Truncated:
        found = None
    return replace_unstorable(found.value) if found is not None else text


def coerced(tool: Tool, parameters: Mapping[str, Json]) -> dict[str, Json]:
    """The parameters under the tool's own names; values that break their schema as the other JSON type that they are
    written as ("5" as 5, 5 as "5", "true" as true, a list as a text as the list), where that fits. null for an
    optional parameter that cannot be null means that it is not given."""
    by_alias = {alias(each.name): each for each in tool.parameters}
    by_alias |= {each.name: each for each in tool.parameters}
    meant: dict[str, Json] = {}
    for given, value in parameters.items():
        parameter = by_alias.get(given)
        if parameter is None:
            meant[given] = value
        elif value is not None or parameter.required or value_problem(parameter.schema, None) is None:
            meant[parameter.name] = _coerced(parameter, value)
    return meant


def _coerced(parameter: Parameter, value: Json) -> Json:
    return next((each for each in _readings(value) if value_problem(parameter.schema, each) is None), value)


def _readings(value: Json) -> Iterator[Json]:
    yield value
    if isinstance(value, str):
        text = value.strip()
        try:
            yield json_value(text.lower() if text.lower() in ("true", "false") else text)
        except ValueError:
            return
    elif isinstance(value, bool | int | float):
        yield json.dumps(value)
