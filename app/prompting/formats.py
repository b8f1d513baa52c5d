"""The versioned formats of the prompt. A model is served with the one it was trained on, so none ever changes.

What a new wording, order or field needs is a new format with a new number; tests/data/prompts holds each one's text.
"""

from dataclasses import dataclass
from enum import StrEnum, auto

from app.domain import AnswerStyle
from app.errors import SetupError


class Section(StrEnum):
    TASK = auto()
    OUTPUT = auto()
    """The answer's format, what labels and hints mean, and that data gives no orders."""
    HISTORY = auto()
    CANDIDATES = auto()
    INSTRUCTION = auto()


class Listing(StrEnum):
    """How interactions and candidates are written."""

    ARRAY = auto()
    """One JSON array of nested objects, after the published data files."""
    LINES = auto()
    """One flat JSON object a line, in few tokens."""
    TERSE = auto()
    """The same with no more than a small model of our own reads: of an interaction the tool and its rating, of a
    document the parameters, hints as one character each."""


@dataclass(frozen=True)
class PromptFormat:
    name: str
    answer: AnswerStyle
    labels: bool
    """Each candidate's line opens with a label of one token."""
    hints: bool
    """Each candidate's line ends with `app.domain.Hints`."""
    matched: bool
    """The hints are those of `app.retrieval.matcher`, not those of `app.retrieval.hints`."""
    system: tuple[Section, ...]
    """What the system message holds, in order."""
    user: tuple[Section, ...]
    listing: Listing
    response_schemas: bool
    """Where there is room for them."""
    dated: bool
    """The day stands before the instruction, which may speak of tomorrow."""


_CONSTANT_FIRST = (Section.TASK, Section.OUTPUT), (Section.HISTORY, Section.CANDIDATES, Section.INSTRUCTION)
"""The constant, then what changes slowly: an engine's prefix cache serves the same user's next call. The instruction
stands right before the answer, which copies from it."""

_PUBLISHED = PromptFormat(
    name="published-1",
    answer=AnswerStyle.NAME,
    labels=False,
    hints=False,
    matched=False,
    system=(Section.TASK, Section.HISTORY, Section.CANDIDATES, Section.OUTPUT),
    user=(Section.INSTRUCTION,),
    listing=Listing.ARRAY,
    response_schemas=True,
    dated=False,
)


def _ours(
    name: str, answer: AnswerStyle, *, hints: bool, matched: bool = False, listing: Listing = Listing.LINES
) -> PromptFormat:
    system, user = _CONSTANT_FIRST
    return PromptFormat(
        name=name,
        answer=answer,
        labels=True,
        hints=hints,
        matched=matched,
        system=system,
        user=user,
        listing=listing,
        # A quarter of a document's tokens, and neither the choice nor the parameters depend on them.
        response_schemas=False,
        dated=True,
    )


FORMATS = {
    each.name: each
    for each in (
        _PUBLISHED,
        _ours("labelled-1", AnswerStyle.LABELLED_NAME, hints=False),
        _ours("hinted-1", AnswerStyle.LABELLED_NAME, hints=True),
        _ours("brief-1", AnswerStyle.LABEL, hints=True),
        _ours("terse-1", AnswerStyle.LABEL, hints=True, matched=True, listing=Listing.TERSE),
    )
}


def format_named(name: str) -> PromptFormat:
    """Raises SetupError that lists the names there are."""
    if name not in FORMATS:
        raise SetupError(f"There is no prompt format {name!r}; there are {', '.join(FORMATS)}.")
    return FORMATS[name]
