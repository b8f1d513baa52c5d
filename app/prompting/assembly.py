"""A prompt's pieces in their order: the chat template's, the format's words, and the data between them."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto

from app.domain import HistorySetting
from app.prompting.chat_template import JOINT
from app.prompting.formats import Listing, PromptFormat, Section
from app.prompting.segments import NOTHING, Segment, SegmentEncoder
from app.prompting.tokenizer import PromptTokenizer
from app.prompting.wording import Wording, date_line, wording

APPLIED: tuple[HistorySetting, ...] = tuple(each for each in HistorySetting if each is not HistorySetting.AUTO)
"""The settings that a prompt can have."""


class Part(Enum):
    """What a piece counts as."""

    TEMPLATE = auto()
    FORMAT = auto()
    HISTORY = auto()
    CANDIDATES = auto()
    INSTRUCTION = auto()


@dataclass(frozen=True)
class Content:
    """The data of one prompt."""

    history: Sequence[Segment] | None
    """None: not even its heading."""
    candidates: Sequence[Sequence[Segment]]
    """Of each its label, document and hints, as far as the format has them."""
    instruction: Segment
    today: Segment = NOTHING
    """Of `Assembly.today`."""


Piece = tuple[Part, Segment]


class Assembly:
    def __init__(self, tokenizer: PromptTokenizer, encoder: SegmentEncoder, format: PromptFormat) -> None:  # noqa: A002
        self._encoder = encoder
        self._format = format
        self._wordings: dict[HistorySetting, Wording] = {each: wording(format, each) for each in APPLIED}
        array_like = format.listing is Listing.ARRAY
        self._opening, self._closing = (encoder.many(["[\n", "\n]\n"])) if array_like else (NOTHING, NOTHING)
        self.between = encoder.one(",\n") if array_like else NOTHING
        """What stands between two interactions, and between two candidates."""
        template = tokenizer.template
        self._merged = template.merged
        self._before, self._after = (Segment("", array("I", ids)) for ids in (template.before, template.after))
        self._middle = Segment(JOINT if template.merged else "", array("I", template.between))

    def pieces(self, setting: HistorySetting, content: Content) -> tuple[list[Piece], list[Piece]]:
        """The system's message and the user's, each with the template's pieces around it."""
        words = self._wordings[setting]
        system = self._message(self._format.system, words, content)
        user = self._message(self._format.user, words, content)
        template = Part.TEMPLATE
        return [(template, self._before), *system], [(template, self._middle), *user, (template, self._after)]

    def today(self, day: date | None) -> Segment:
        """The paragraph that tells the day; nothing in formats without, or where no day is given."""
        return NOTHING if day is None or not self._format.dated else self._encoder.one(f"\n{date_line(day)}\n")

    def messages(self, system: Sequence[Piece], user: Sequence[Piece]) -> tuple[dict[str, str], ...]:
        """The texts of `pieces`, by role."""
        texts = ["".join(segment.text for _, segment in pieces) for pieces in (system, user)]
        if self._merged:
            return ({"role": "user", "content": "".join(texts)},)
        return ({"role": "system", "content": texts[0]}, {"role": "user", "content": texts[1]})

    def _message(self, sections: Sequence[Section], words: Wording, content: Content) -> Iterator[Piece]:
        """A blank line stands between sections; every section but the last ends its line."""
        shown = [each for each in sections if each is not Section.HISTORY or content.history is not None]
        for number, section in enumerate(shown):
            space = "\n" if number else ""
            match section:
                case Section.TASK | Section.OUTPUT:
                    text = words.task if section is Section.TASK else words.output
                    end = "" if number == len(shown) - 1 else "\n"
                    yield Part.FORMAT, self._encoder.one(space + text + end)
                case Section.HISTORY:
                    heading = self._encoder.one(f"{space}{words.history}\n")
                    yield from self._list(Part.HISTORY, heading, [[each] for each in content.history or ()])
                case Section.CANDIDATES:
                    yield Part.FORMAT, self._encoder.one(f"{space}{words.candidates}\n")
                    yield from self._list(Part.CANDIDATES, NOTHING, content.candidates)
                case Section.INSTRUCTION:
                    yield Part.FORMAT, content.today
                    if words.instruction:
                        yield Part.FORMAT, self._encoder.one(f"{space}{words.instruction}\n")
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
