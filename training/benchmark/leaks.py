"""Whether an instruction gives its tool away: by name, or by a part of the name that no rival shares."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from app.calling.extraction.text import words_of
from app.domain import Tool
from app.retrieval.texts import split_name

_LETTERS = 4
"""Of a word that can give a provider away; shorter ones are too common."""
_WORD = re.compile(r"[^\W_]+")
_GENERAL = words_of(
    "api apis data free best fast simple easy smart live real time world global online open public info information "
    "service services tool tools search find list check checker finder generator converter get api's my your all new "
    "daily today pro plus lite basic advanced official unofficial the and for with from hub box base"
)


def leak(instruction: str, group: Sequence[Tool], shared: Iterable[str]) -> str | None:
    """What gives one of the group's tools away; None where nothing does.

    Of any tool, not only of the right one: to refuse just the right one's name would leave those instructions that
    are worded like a rival. Gives away: a provider's name, or an API's name (of two words or more, where not every
    tool of the group has the same) as consecutive words; a single word of a provider's name. Words of `shared` (how
    the group's tools describe the job), of the category and of the parameters' names give nothing away.
    """
    words = _words(instruction)
    spoken = f" {' '.join(words)} "
    shared = list(shared)
    apis = {_words(tool.api) for tool in group}
    for tool in group:
        common = _common(tool, shared)
        provider, api = _words(tool.provider), _words(tool.api)
        if not set(provider) <= common and f" {' '.join(provider)} " in spoken:
            return tool.provider
        if len(apis) > 1 and len(api) > 1 and f" {' '.join(api)} " in spoken:
            return tool.api
        named = {word for word in provider if len(word) >= _LETTERS} - common
        if found := next((word for word in words if word in named), None):
            return found
    return None


def _common(tool: Tool, shared: Iterable[str]) -> set[str]:
    about = [tool.category, *shared, *(parameter.name for parameter in tool.parameters)]
    return {word for text in about for word in _words(text)} | _GENERAL


@lru_cache(maxsize=65_536)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(split_name(text).casefold()))
