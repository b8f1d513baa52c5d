"""The prompts of the published files: their layout, in our own words."""

from collections.abc import Iterable

from app.domain import HistorySetting, Json
from app.prompting.text import json_text

_TASK = (
    "You call tools on behalf of one user. Several of the tools below may be able to do what the user asks for. Call "
    "the one that does it and is of the kind that this user prefers."
)
_TASK_IMPERSONAL = (
    "You call tools on behalf of a user. Call the one of the tools below that does what the user asks for."
)
_HISTORY = {
    HistorySetting.PREFERRED_ONLY: "What the user prefers shows in earlier requests and the calls that answered them, "
    "oldest first. The user is content with every tool that was called.",
    HistorySetting.RATING_INTEGRATED: "What the user prefers shows in earlier requests, the calls that answered them "
    "and the user's ratings, oldest first. A rating is 1 where the user is content with the tool, and 0 where not.",
    HistorySetting.CHRONOLOGICAL: "What the user prefers shows in earlier requests and the calls that answered them, "
    "oldest first. Tastes change: the later a tool was called, the more the user prefers its kind.",
}
_HISTORY_HEADING = "The user's history:"
_TOOLS_HEADING = "The tools and their parameters:"
_EXAMPLES: tuple[dict[str, Json], ...] = (
    {"tool_name": "<Weather>.<Sky Desk>.<Daily forecast>", "parameters": {"city": "Oslo", "days": 3}},
    {"tool_name": "<Jokes>.<Laugh Box>.<Random joke>", "parameters": {}},
)
_OUTPUT = "\n".join(
    [
        'Answer with one JSON object on one line and nothing else. It has the "tool_name" of the tool, exactly as it '
        'is listed, and the "parameters" with their values, which are {} if there are none. Two examples:',
        *map(json_text, _EXAMPLES),
    ]
)


def prompt(setting: HistorySetting, history: Iterable[str], tools: Iterable[str]) -> str:
    """The system prompt: task, history, tools, output format. Histories and tools come as JSON, an object each.

    `HistorySetting.NONE` leaves the history out. `setting` is never `AUTO` (KeyError).
    """
    listed = f"{_TOOLS_HEADING}\n{_array(tools)}"
    if setting is HistorySetting.NONE:
        return "\n\n".join([_TASK_IMPERSONAL, listed, _OUTPUT])
    past = f"{_HISTORY[setting]}\n{_HISTORY_HEADING}\n{_array(history)}"
    return "\n\n".join([_TASK, past, listed, _OUTPUT])


def _array(elements: Iterable[str]) -> str:
    lines = ",\n".join(elements)
    return f"[\n{lines}\n]" if lines else "[]"
