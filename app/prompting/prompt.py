"""A prompt: what it consists of, and how the template's, the format's and the data's pieces are put in order."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import Enum, auto

from app.domain import Candidate, HistorySetting, Json
from app.prompting.chat_template import JOINT
from app.prompting.documents import Detail
from app.prompting.formats import Listing, PromptFormat, Section
from app.prompting.text import EMPTY, Segment, SegmentEncoder
from app.prompting.tokenizer import PromptTokenizer
from app.prompting.wording import Wording, date_line, wording

APPLIED: tuple[HistorySetting, ...] = tuple(each for each in HistorySetting if each is not HistorySetting.AUTO)
"""History settings that a prompt can be built with: all but `auto`."""


@dataclass(frozen=True)
class PromptUsage:
    """Tokens of a prompt by part. The five parts add up to `total`, which is at most `budget`."""

    total: int
    template: int
    """Tokens of the chat template."""
    format: int
    """Tokens of the task, the output's format and the headings."""
    history: int
    candidates: int
    instruction: int
    history_kept: int
    """Number of interactions in the prompt."""
    history_dropped: int
    """Number of interactions left out for lack of room."""
    documents: Detail
    budget: int

    def as_json(self) -> dict[str, Json]:
        return {**asdict(self), "documents": self.documents.value}


@dataclass(frozen=True)
class Prompt:
    """A finished prompt, as token ids for an engine and as messages for a chat endpoint."""

    token_ids: tuple[int, ...]
    """The whole prompt, chat template included. The model's answer follows it."""
    messages: tuple[dict[str, str], ...]
    """The same as texts, each with `role` and `content`, for chat endpoints. Only in `token_ids` it is certain that no
    data became a special token; a server that encodes these texts may do otherwise."""
    labels: tuple[str, ...]
    """Labels of the candidates, in their order; empty in formats without labels."""
    label_ids: tuple[int, ...]
    """Token id of each label."""
    usage: PromptUsage
    stable_tokens: int
    """Number of tokens at the start that stay the same while the user's history only grows and all of it fits."""


class Part(Enum):
    """Part of the prompt that a piece's tokens are counted for."""

    TEMPLATE = auto()
    FORMAT = auto()
    HISTORY = auto()
    CANDIDATES = auto()
    INSTRUCTION = auto()


@dataclass(frozen=True)
class PromptData:
    """The variable parts of one prompt, encoded."""

    history: Sequence[Segment] | None
    """None leaves out the heading too."""
    candidates: Sequence[Sequence[Segment]]
    """For each candidate its label, document and hints, as far as the format has them."""
    instruction: Segment
    today: Segment = EMPTY
    """As `Assembly.date_paragraph` gives it."""


Piece = tuple[Part, Segment]


class Assembly:
    """Puts the pieces of a prompt in the order of its format, inside the model's chat template."""

    def __init__(self, tokenizer: PromptTokenizer, encoder: SegmentEncoder, format: PromptFormat) -> None:  # noqa: A002
        self._encoder = encoder
        self._format = format
        self._wordings: dict[HistorySetting, Wording] = {each: wording(format, each) for each in APPLIED}
        array_like = format.listing is Listing.ARRAY
        self._opening, self._closing = (encoder.encode_all(["[\n", "\n]\n"])) if array_like else (EMPTY, EMPTY)
        self.between = encoder.encode(",\n") if array_like else EMPTY
        """Separator between two interactions, and between two candidates."""
        template = tokenizer.template
        self._merged = template.merged
        self._before, self._after = (Segment("", array("I", ids)) for ids in (template.before, template.after))
        self._middle = Segment(JOINT if template.merged else "", array("I", template.between))

    def pieces(self, setting: HistorySetting, content: PromptData) -> tuple[list[Piece], list[Piece]]:
        """The pieces of the system message and of the user message, including the chat template's around them."""
        words = self._wordings[setting]
        system = self._message(self._format.system, words, content)
        user = self._message(self._format.user, words, content)
        template = Part.TEMPLATE
        return [(template, self._before), *system], [(template, self._middle), *user, (template, self._after)]

    def date_paragraph(self, day: date | None) -> Segment:
        """The paragraph that states the date; empty if no day is given or the format has no date."""
        return EMPTY if day is None or not self._format.dated else self._encoder.encode(f"\n{date_line(day)}\n")

    def messages(self, system: Sequence[Piece], user: Sequence[Piece]) -> tuple[dict[str, str], ...]:
        """The texts of `pieces` as chat messages with `role` and `content`."""
        texts = ["".join(segment.text for _, segment in pieces) for pieces in (system, user)]
        if self._merged:
            return ({"role": "user", "content": "".join(texts)},)
        return ({"role": "system", "content": texts[0]}, {"role": "user", "content": texts[1]})

    def _message(self, sections: Sequence[Section], words: Wording, content: PromptData) -> Iterator[Piece]:
        """The pieces of one message: a blank line between sections, a line end after every section but the last."""
        shown = [each for each in sections if each is not Section.HISTORY or content.history is not None]
        for number, section in enumerate(shown):
            space = "\n" if number else ""
            match section:
                case Section.TASK | Section.OUTPUT:
                    text = words.task if section is Section.TASK else words.output
                    end = "" if number == len(shown) - 1 else "\n"
                    yield Part.FORMAT, self._encoder.encode(space + text + end)
                case Section.HISTORY:
                    heading = self._encoder.encode(f"{space}{words.history}\n")
                    yield from self._list(Part.HISTORY, heading, [[each] for each in content.history or ()])
                case Section.CANDIDATES:
                    yield Part.FORMAT, self._encoder.encode(f"{space}{words.candidates}\n")
                    yield from self._list(Part.CANDIDATES, EMPTY, content.candidates)
                case Section.INSTRUCTION:
                    yield Part.FORMAT, content.today
                    if words.instruction:
                        yield Part.FORMAT, self._encoder.encode(f"{space}{words.instruction}\n")
                    yield Part.INSTRUCTION, content.instruction

    def _list(self, part: Part, heading: Segment, items: Sequence[Sequence[Segment]]) -> Iterator[Piece]:
        yield part, heading
        yield part, self._opening
        for number, item in enumerate(items):
            if number:
                yield part, self.between
            for segment in item:
                yield part, segment
        yield Part.FORMAT, self._closing


def prompt_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates in the order of the prompt: by a hash of the tool's name.

    The order reveals no ranking, does not depend on the instruction, and is the same in every process.
    """
    return sorted(candidates, key=lambda candidate: (_hash(candidate.tool.name), candidate.tool.name))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
