"""Whether an instruction gives its tool away: by name, or by a part of the name that no rival shares."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from app.domain import Tool
from app.retrieval.texts import split_name

_LETTERS = 4
"""Of a word that can give a provider away; shorter ones are too common."""
_WORD = re.compile(r"[^\W_]+")
_GENERAL = frozenset(
    "api apis data free best fast simple easy smart live real time world global online open public info information "
    "service services tool tools search find list check checker finder generator converter get api's my your all new "
    "daily today pro plus lite basic advanced official unofficial the and for with from hub box base".split()
)


def leak(instruction: str, tool: Tool, rivals: Sequence[Tool], shared: Iterable[str]) -> str | None:
    """What gives the tool away; None where nothing does.

    The tool's full name, its provider's name, or its API's name (of two words or more, where not every rival has the
    same) as consecutive words; or a single word of the provider's name. Words of `shared` (how any tool of the group
    describes the job), of the category and of the parameters' names give nothing away.
    """
    words = _words(instruction)
    spoken = f" {' '.join(words)} "
    common = _common(tool, shared)
    provider = _words(tool.provider)
    if not set(provider) <= common and f" {' '.join(provider)} " in spoken:
        return tool.provider
    api = _words(tool.api)
    distinctive = not all(_words(rival.api) == api for rival in rivals) if rivals else False
    if distinctive and len(api) > 1 and f" {' '.join(api)} " in spoken:
        return tool.api
    named = {word for word in provider if len(word) >= _LETTERS} - common
    return next((word for word in words if word in named), None)


def _common(tool: Tool, shared: Iterable[str]) -> set[str]:
    about = [tool.category, *shared, *(parameter.name for parameter in tool.parameters)]
    return {word for text in about for word in _words(text)} | _GENERAL


@lru_cache(maxsize=65_536)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(split_name(text).casefold()))
