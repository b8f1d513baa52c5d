"""Instruction, history and candidates to one prompt that keeps its budget (paper, appendix B: 4,000 tokens)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from math import inf

from app.domain import Candidate, HistorySetting, Interaction
from app.errors import PromptTooLong, SetupError
from app.prompting.assembly import APPLIED, Assembly, Content, Part
from app.prompting.documents import Detail, DocumentWriter
from app.prompting.formats import Listing, PromptFormat
from app.prompting.history import TTL, Histories, History, InteractionWriter
from app.prompting.prompt import Prompt, PromptUsage
from app.prompting.segments import NOTHING, Segment, SegmentEncoder
from app.prompting.text import json_text, without_surrogates
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer

BUDGET = 4_000
_LONGEST_INTERACTION = 8
"""One interaction has at most this fraction of the budget."""
_CANDIDATES = 10
"""The paper's N."""
_MEMORY = 64 * 1024 * 1024
"""Bytes of encoded texts that are kept, and as many of users' texts."""
_FEW = 8
"""So many interactions are encoded in a millisecond or two."""
_CHARACTERS_A_TOKEN = 50
"""More is an unusual text: the instruction's length is then known without encoding all of it."""
_LIKED, _FIT = "abcdefghij", "tsrqponmlk"
"""Hints from 0 to 9 in `Listing.TERSE`."""
_SELECTED = (Detail.SHORT, Detail.BRIEF, Detail.NAMES)
"""The levels at which interactions may be left out."""


@dataclass(frozen=True)
class _Request:
    instruction: Segment
    setting: HistorySetting
    history: History
    candidates: Sequence[Candidate]
    relevance: Sequence[float] | None
    today: Segment


class PromptBuilder:
    """Safe to use from many threads at once. The same state gives the same prompt, in every process."""

    def __init__(self, tokenizer: PromptTokenizer, format: PromptFormat, budget: int = BUDGET) -> None:  # noqa: A002
        """`budget`: the most tokens a prompt may have.

        SetupError if the format alone has as many, or needs labels and the tokenizer has none for ten candidates.
        """
        if format.labels:
            tokenizer.labels(_CANDIDATES)
        self.format = format
        self.budget = budget
        self._tokenizer = tokenizer
        self._encoder = SegmentEncoder(tokenizer, _MEMORY)
        # What users wrote: kept so that a history which grew by one interaction is not encoded anew.
        self._users = SegmentEncoder(tokenizer, _MEMORY, ttl=TTL)
        self._assembly = Assembly(tokenizer, self._encoder, format)
        self._documents = DocumentWriter(self._encoder, format)
        writer = InteractionWriter(self._users, format, budget // _LONGEST_INTERACTION)
        self._histories = Histories(writer, self._assembly.between.tokens)
        self._fixed = {(each, shown): self._fixed_tokens(each, shown) for each in APPLIED for shown in (False, True)}
        most = max(self._fixed.values())
        if most >= budget:
            raise SetupError(
                f"The prompt format {format.name} alone has {most} tokens with this model's tokenizer, and the budget "
                f"is {budget}: raise it, or use a shorter format."
            )

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return self.budget

    def is_quick(
        self,
        setting: HistorySetting,
        interactions: Sequence[Interaction],
        candidates: Sequence[Candidate],
        *,
        relevance: Sequence[float] | None = None,
    ) -> bool:
        """Whether `build` would find the documents and nearly all interactions encoded; else call it in a thread.

        Encodes nothing. True of a history only where it is the very tuple of an earlier call.
        """
        length: float = 0
        if setting is not HistorySetting.NONE and interactions:
            history = self._histories.kept(interactions)
            if history is None or history.to_write(candidates, relevance) > _FEW:
                return False
            length = inf if history.total is None else history.total
        # The levels that `_choose` looks at.
        for detail in Detail:
            documents = [self._documents.kept(candidate.tool, detail) for candidate in candidates]
            known = [document.tokens for document in documents if document is not None]
            if len(known) < len(documents):
                return False
            left = self.budget - self._fixed[setting, length > 0] - sum(known)
            if left >= (0 if detail in _SELECTED else length):
                break
        return True

    def fitting(
        self,
        instruction: str,
        setting: HistorySetting,
        candidates: Sequence[Candidate],
        *,
        today: date | None = None,
    ) -> int:
        """The most of the candidates, taken from the first on, that `build` has room for, in whatever order it then
        gets them; 0 if not even the first fits.

        `setting` is NONE for a prompt without interactions. Raises PromptTooLong (part `instruction`), and ValueError
        for `AUTO` and for candidates without hints in a format with hints.
        """
        _check_applied(setting)
        day = self._assembly.today(today)
        room = self.budget - self._fixed[setting, False] - day.tokens
        room -= self._instruction(instruction, setting, day).tokens
        if self.format.labels:
            candidates = candidates[:MAX_LABELS]
        for number, candidate in enumerate(candidates):
            # A label has one token, whichever it is.
            room -= self._listed_tokens([candidate], setting, Detail.NAMES)
            if room < 0:
                return number
        return len(candidates)

    def build(
        self,
        instruction: str,
        setting: HistorySetting,
        interactions: Sequence[Interaction],
        candidates: Sequence[Candidate],
        *,
        relevance: Sequence[float] | None = None,
        today: date | None = None,
    ) -> Prompt:
        """The prompt for an instruction. `interactions` are oldest first, `candidates` in prompt order.

        Interactions that come as a tuple, the same one at each call of a user, are read only once. `relevance`: of
        each interaction to the candidates, above 0 if it has any; without it tools, providers and categories tell.
        Without interactions the prompt is impersonal, whatever the setting. `today`: the user's, which formats that
        are `dated` tell; without it the prompt names no day.

        Raises PromptTooLong (part `instruction` or `candidates`); ValueError for `AUTO`, for no candidates or more than
        there are labels, for candidates without hints in a format with hints, and for a `relevance` of other length.
        """
        _check_applied(setting)
        if setting is HistorySetting.NONE or not interactions:
            setting, interactions, relevance = HistorySetting.NONE, (), None
        if relevance is not None and len(relevance) != len(interactions):
            raise ValueError(f"{len(relevance)} relevances for {len(interactions)} interactions")
        if not candidates:
            raise ValueError("a prompt needs at least one candidate")
        day = self._assembly.today(today)
        asked = self._instruction(instruction, setting, day)
        request = _Request(asked, setting, self._histories.of(interactions), candidates, relevance, day)
        return self._prompt(request, *self._choose(request))

    def _instruction(self, instruction: str, setting: HistorySetting, today: Segment) -> Segment:
        plain = self.format.listing is Listing.ARRAY
        text = without_surrogates(instruction) if plain else json_text(instruction)
        room = self.budget - self._fixed[setting, False] - today.tokens
        start = text[: _CHARACTERS_A_TOKEN * self.budget]
        segment = self._users.one(start)
        if segment.tokens <= room and start != text:
            segment = self._users.one(text)
        if segment.tokens > room:
            raise PromptTooLong(
                f"The instruction has {segment.tokens} tokens or more, and there is room for {room}. Shorten it; long "
                "texts belong into a file or a URL.",
                part="instruction",
                tokens=segment.tokens,
                budget=self.budget,
            )
        return segment

    def _choose(self, request: _Request) -> tuple[Detail, Sequence[int]]:
        """How much of the documents the prompt has, and which interactions."""
        history = request.history
        for detail in (Detail.FULL, Detail.WITHOUT_RESPONSES, Detail.SHORT_OPTIONAL, Detail.SHORT):
            if history.fits(self._room(request, detail, history=len(history) > 0)):
                return detail, range(len(history))
        for detail in _SELECTED:
            if self._room(request, detail, history=False) >= 0:
                room = self._room(request, detail, history=True)
                kept = history.select(room, request.candidates, request.relevance)
                return (detail if kept else self._most(request)), kept
        tokens = self._tokens(request, Detail.NAMES)
        raise PromptTooLong(
            f"{len(request.candidates)} candidates have {tokens} tokens, without any descriptions, and a prompt of "
            f"{self.budget} has no room for them: give fewer candidates, or tools with fewer parameters.",
            part="candidates",
            tokens=tokens,
            budget=self.budget,
        )

    def _most(self, request: _Request) -> Detail:
        """What there is room for where no interaction is in the way."""
        return next(detail for detail in Detail if self._room(request, detail, history=False) >= 0)

    def _room(self, request: _Request, detail: Detail, *, history: bool) -> int:
        """Tokens left for interactions; below 0 where not even the rest fits."""
        fixed = self._fixed[request.setting, history] + request.instruction.tokens + request.today.tokens
        return self.budget - fixed - self._tokens(request, detail)

    def _tokens(self, request: _Request, detail: Detail) -> int:
        return self._listed_tokens(request.candidates, request.setting, detail)

    def _listed_tokens(self, candidates: Sequence[Candidate], setting: HistorySetting, detail: Detail) -> int:
        written = self._listed(candidates, setting, detail)
        return sum(segment.tokens for candidate in written for segment in (*candidate, self._assembly.between))

    def _listed(self, candidates: Sequence[Candidate], setting: HistorySetting, detail: Detail) -> list[list[Segment]]:
        documents = [[self._documents.segment(candidate.tool, detail)] for candidate in candidates]
        if self.format.labels:
            labels = self._encoder.many(self._tokenizer.labels(len(documents)))
            documents = [[label, *document] for label, document in zip(labels, documents, strict=True)]
        if self.format.hints:
            terse = self.format.listing is Listing.TERSE
            hints = self._encoder.many([_hints(candidate, setting, terse) for candidate in candidates])
            documents = [[*document, hint] for document, hint in zip(documents, hints, strict=True)]
        return documents

    def _fixed_tokens(self, setting: HistorySetting, history: bool) -> int:
        """Of all that is no data, and of the history's heading if it is shown."""
        empty = Content([] if history else None, [], NOTHING)
        return sum(segment.tokens for _, segment in chain(*self._assembly.pieces(setting, empty)))

    def _prompt(self, request: _Request, detail: Detail, kept: Sequence[int]) -> Prompt:
        shown = request.history.segments(kept) if kept else None
        listed = self._listed(request.candidates, request.setting, detail)
        content = Content(shown, listed, request.instruction, request.today)
        system, user = self._assembly.pieces(request.setting, content)
        ids: list[int] = []
        counts = dict.fromkeys(Part, 0)
        ends = dict.fromkeys(Part, 0)
        for part, segment in chain(system, user):
            ids.extend(segment.ids)
            counts[part] += segment.tokens
            ends[part] = len(ids)
        assert len(ids) <= self.budget
        n_labels = len(request.candidates) if self.format.labels else 0
        return Prompt(
            token_ids=tuple(ids),
            messages=self._assembly.messages(system, user),
            labels=self._tokenizer.labels(n_labels),
            label_ids=self._tokenizer.label_ids(n_labels),
            usage=PromptUsage(
                total=len(ids),
                template=counts[Part.TEMPLATE],
                format=counts[Part.FORMAT],
                history=counts[Part.HISTORY],
                candidates=counts[Part.CANDIDATES],
                instruction=counts[Part.INSTRUCTION],
                history_kept=len(kept),
                history_dropped=len(request.history) - len(kept),
                documents=detail,
                budget=self.budget,
            ),
            stable_tokens=ends[Part.HISTORY] or ends[Part.CANDIDATES] - counts[Part.CANDIDATES],
        )


def _check_applied(setting: HistorySetting) -> None:
    if setting is HistorySetting.AUTO:
        raise ValueError("`auto` has to be decided before a prompt is built")


def _hints(candidate: Candidate, setting: HistorySetting, terse: bool) -> str:
    hints = candidate.hints
    if hints is None:
        raise ValueError(f"the prompt's format needs hints, and candidate {candidate.tool.name!r} has none")
    if terse:
        # Of another kind each, so that what a character says does not hang on its place. What it all comes to is last,
        # also without history, when it is the fit alone: what a model learned of that holds for users too.
        personal = f" {_LIKED[hints.liked]} {_FIT[hints.fit]}" if setting is not HistorySetting.NONE else ""
        return f"{personal} {9 - hints.overall}\n"
    if setting is HistorySetting.NONE:
        return f" fit {hints.fit}\n"
    return f" fit {hints.fit}, liked {hints.liked}, disliked {hints.disliked}\n"
