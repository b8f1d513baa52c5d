"""Which candidate a model's `tool_name` means."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from app.domain import AnswerStyle, Tool
from app.json_data.tool_names import alias

_ALIKE = 0.5
"""How alike a name after a label and the labelled tool's have to be, for a slip in copying: Dice's coefficient of
their runs of three characters."""
_LONGEST = 2_048
"""Characters of a text that may still name a tool."""
_LABEL = re.compile(r"[\s(\[<]*(?P<label>[^\s()\[\]<>.:,;)]+)[)\]>.:,;]*(?:\s+(?P<name>\S.*))?\s*", re.DOTALL)


class Contradiction(Exception):
    """A label, and the name of another candidate."""


def meant_tool(written: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> int | None:
    """Position of the candidate that the text names; None where it names none.

    Exactly as one of the styles writes it, the given one first; without regard to case, white space, Unicode's
    compatible forms and angle brackets, if that fits one candidate only; or a label with a name after it that is
    the labelled tool's but for slips in copying: the label is what the model chose, and copying is what small
    models do worst. Raises Contradiction where the name after the label is another candidate's.
    """
    if len(written) > _LONGEST:
        return None
    names = [alias(tool.name) for tool in tools]
    by_style: dict[AnswerStyle, Sequence[str]] = {
        AnswerStyle.NAME: names,
        AnswerStyle.LABELLED_NAME: [f"{label} {name}" for label, name in zip(labels, names, strict=False)],
        AnswerStyle.LABEL: labels,
    }
    ordered = [by_style.pop(style), *by_style.values()]
    for form in (_same, _plain):
        for spellings in ordered:
            if (found := _only(form, written, spellings)) is not None:
                return found
    return _labelled(written, names, labels)


def _labelled(written: str, names: Sequence[str], labels: Sequence[str]) -> int | None:
    parts = _LABEL.fullmatch(written)
    if parts is None or parts["label"] not in labels:
        return None
    chosen = list(labels).index(parts["label"])
    if parts["name"] is None:
        return chosen
    named = _only(_plain, parts["name"], names)
    if named is not None and _plain(names[named]) != _plain(names[chosen]):
        raise Contradiction
    alike = named is not None or _likeness(_plain(parts["name"]), _plain(names[chosen])) >= _ALIKE
    return chosen if alike else None


def _likeness(one: str, other: str) -> float:
    runs, others = (Counter(text[at : at + 3] for at in range(-2, len(text))) for text in (one, other))
    return 2 * (runs & others).total() / max(1, runs.total() + others.total())


def _only(form: Callable[[str], str], written: str, spellings: Sequence[str]) -> int | None:
    """Position of the first spelling that is the text's in this form, if no other spelling is."""
    wanted = form(written)
    found = [at for at, each in enumerate(spellings) if form(each) == wanted]
    return found[0] if found and len({spellings[at] for at in found}) == 1 else None


def _same(text: str) -> str:
    return text


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub("[<>\"'`]", " ", folded).split()).replace(" .", ".").replace(". ", ".")
