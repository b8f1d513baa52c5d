"""Whether an instruction gives its tool away: by name, or by a part of the name that no rival shares."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from app.domain import Tool
from app.extraction.words import word_set
from app.retrieval.texts import split_name

_LETTERS = 3
"""Of a word that can give a provider away; shorter ones are too common."""
_WORD = re.compile(r"[^\W_]+")
_GENERAL = word_set(
    "api apis data free best fast simple easy smart live real time world global online open public info information "
    "service services tool tools search find list check checker finder generator converter get api's my your all new "
    "daily today pro plus lite basic advanced official unofficial the and for with from hub box base"
)


def leak(instruction: str, group: Sequence[Tool], shared: Iterable[str]) -> str | None:
    """What gives one of the group's tools away; None where nothing does.

    Of any tool, not only of the right one: to refuse just the right one's name would leave those instructions that
    are worded like a rival. Gives away: a provider's name, or an API's name (of two words or more, where not every
    tool of the group has the same) as consecutive words; a single word of a provider's name. A word of a provider's
    name that all of `shared` have too (how each of the group's tools describes the job), or the category, or a
    parameter's name, gives nothing away.
    """
    words = _words(instruction)
    spoken = _runs(instruction)
    shared = list(shared)
    apis = {_words(tool.api, whole=False) for tool in group}
    for tool in group:
        common = _common(tool, shared)
        if not set(_words(tool.provider)) <= common and _said(tool.provider, spoken):
            return tool.provider
        if len(apis) > 1 and len(_words(tool.api, whole=False)) > 1 and _said(tool.api, spoken):
            return tool.api
        named = {word for word in _words(tool.provider) if len(word) >= _LETTERS} - common
        if found := next((word for word in words if word in named), None):
            return found
    return None


def _said(name: str, spoken: Sequence[str]) -> bool:
    """Whether the name stands in the text as consecutive words, however capitals cut either into words."""
    return any(run in text for run in _runs(name) for text in spoken)


def _runs(text: str) -> tuple[str, str]:
    """Its words between spaces: cut at capitals ("quiet cloud"), and not ("quietcloud")."""
    whole = _WORD.findall(text.casefold())
    return f" {' '.join(_words(text, whole=False))} ", f" {' '.join(whole)} "


def _common(tool: Tool, shared: Sequence[str]) -> set[str]:
    about = [tool.category, *(parameter.name for parameter in tool.parameters)]
    # Only what all of them say: a word of one alone, such as its country or its sport, tells which one is meant.
    of_all = set.intersection(*(set(_words(text)) for text in shared)) if shared else set()
    return {word for text in about for word in _words(text)} | of_all | _GENERAL


@lru_cache(maxsize=65_536)
def _words(text: str, *, whole: bool = True) -> tuple[str, ...]:
    """Cut at capitals; with `whole` the words that this cuts as well."""
    parts = _WORD.findall(split_name(text).casefold())
    return tuple(dict.fromkeys([*parts, *_WORD.findall(text.casefold())]) if whole else parts)
