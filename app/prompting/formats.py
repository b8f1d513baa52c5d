"""The versioned formats of the prompt. A model is served with the format it was trained on, so no format ever changes.

A new wording, order or field needs a new format with a new number. tests/data/prompts holds the text of each format.
"""

from dataclasses import dataclass
from enum import StrEnum, auto

from app.domain import AnswerStyle
from app.errors import SetupError


class Section(StrEnum):
    """A section of the prompt."""

    TASK = auto()
    OUTPUT = auto()
    """The answer's format, what labels and hints mean, and that instructions inside data do not count."""
    HISTORY = auto()
    CANDIDATES = auto()
    INSTRUCTION = auto()


class Listing(StrEnum):
    """How interactions and candidates are written."""

    ARRAY = auto()
    """One JSON array of nested objects, as in the published data files."""
    LINES = auto()
    """One flat JSON object a line, which takes fewer tokens."""
    TERSE = auto()
    """As `LINES`, shortened for a small model: an interaction is a tool and its rating, a document the parameters, a
    hint one character."""


@dataclass(frozen=True)
class PromptFormat:
    """How a prompt is laid out and how the model has to answer."""

    name: str
    answer: AnswerStyle
    labels: bool
    """Whether each candidate's line begins with a label of one token."""
    hints: bool
    """Whether each candidate's line ends with its `app.domain.Hints`."""
    matched: bool
    """Whether the hints come from `app.retrieval.matcher`; else from `app.retrieval.hints`."""
    system: tuple[Section, ...]
    """Sections of the system message, in order."""
    user: tuple[Section, ...]
    """Sections of the user message, in order."""
    listing: Listing
    response_schemas: bool
    """Whether documents have the schema of the tool's response, if there is room."""
    dated: bool
    """Whether the date stands before the instruction, which may speak of tomorrow."""


_CONSTANT_FIRST = (Section.TASK, Section.OUTPUT), (Section.HISTORY, Section.CANDIDATES, Section.INSTRUCTION)
"""Sections of the system and the user message, what changes least first: so an engine's prefix cache serves the same
user's next call. The instruction stands right before the answer, which copies from it."""

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


def _labelled_format(
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
        # They take a quarter of a document's tokens, and neither choice nor parameters depend on them.
        response_schemas=False,
        dated=True,
    )


FORMATS = {
    each.name: each
    for each in (
        _PUBLISHED,
        _labelled_format("labelled-1", AnswerStyle.LABELLED_NAME, hints=False),
        _labelled_format("hinted-1", AnswerStyle.LABELLED_NAME, hints=True),
        _labelled_format("brief-1", AnswerStyle.LABEL, hints=True),
        _labelled_format("terse-1", AnswerStyle.LABEL, hints=True, matched=True, listing=Listing.TERSE),
    )
}


def format_named(name: str) -> PromptFormat:
    """The format of this name. Raises SetupError, which lists the known names."""
    if name not in FORMATS:
        raise SetupError(f"There is no prompt format {name!r}; there are {', '.join(FORMATS)}.")
    return FORMATS[name]
