"""Builds a prompt of instruction, history and candidates that keeps its budget of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from math import inf

from app.domain import Candidate, HistorySetting, Interaction
from app.errors import PromptTooLong, SetupError
from app.prompting.documents import Detail, DocumentWriter
from app.prompting.formats import Listing, PromptFormat
from app.prompting.history import TTL, History, HistoryCache, InteractionWriter
from app.prompting.prompt import APPLIED, Assembly, Part, Prompt, PromptData, PromptUsage
from app.prompting.text import EMPTY, Segment, SegmentEncoder, json_text, replace_surrogates
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer

BUDGET = 4_000
"""Default maximum tokens of a prompt, as in the paper (appendix B)."""
_LONGEST_INTERACTION = 8
"""One interaction may take the budget divided by this."""
_CANDIDATES = 10
"""Number of candidates that labels have to suffice for at least."""
_CACHE_BYTES = 64 * 1024 * 1024
"""Maximum bytes of the cache of fixed texts, and of the cache of users' texts."""
_FEW = 8
"""Number of interactions that can be encoded in a millisecond or two."""
_CHARACTERS_A_TOKEN = 50
"""Only unusual texts have more. A longer instruction is measured without encoding all of it."""
_LIKED, _FIT = "abcdefghij", "tsrqponmlk"
"""Characters for the hints 0 to 9 in `Listing.TERSE`."""
_SELECTED = (Detail.SHORT, Detail.BRIEF, Detail.NAMES)
"""Levels of detail at which interactions may be left out."""


@dataclass(frozen=True)
class _Request:
    instruction: Segment
    setting: HistorySetting
    history: History
    candidates: Sequence[Candidate]
    relevance: Sequence[float] | None
    today: Segment


class PromptBuilder:
    """Builds prompts in one format. The same input gives the same prompt in every process. Thread-safe."""

    def __init__(self, tokenizer: PromptTokenizer, format: PromptFormat, budget: int = BUDGET) -> None:  # noqa: A002
        """`budget`: maximum tokens of a prompt.

        Raises SetupError if the format's fixed texts alone reach it, or if the format needs labels and the tokenizer
        has too few for ten candidates.
        """
        if format.labels:
            tokenizer.labels(_CANDIDATES)
        self.format = format
        self.budget = budget
        self._tokenizer = tokenizer
        self._encoder = SegmentEncoder(tokenizer, _CACHE_BYTES)
        # Caches users' texts, so that of a history which grew by one interaction only that one is encoded.
        self._users = SegmentEncoder(tokenizer, _CACHE_BYTES, ttl=TTL)
        self._assembly = Assembly(tokenizer, self._encoder, format)
        self._documents = DocumentWriter(self._encoder, format)
        writer = InteractionWriter(self._users, format, budget // _LONGEST_INTERACTION)
        self._histories = HistoryCache(writer, self._assembly.between.tokens)
        self._fixed = {(each, shown): self._fixed_tokens(each, shown) for each in APPLIED for shown in (False, True)}
        most = max(self._fixed.values())
        if most >= budget:
            raise SetupError(
                f"The prompt format {format.name} alone has {most} tokens with this model's tokenizer, and the budget "
                f"is {budget}: raise it, or use a shorter format."
            )

    @property
    def longest(self) -> int:
        """Maximum tokens of a prompt that `build` returns."""
        return self.budget

    def is_quick(
        self,
        setting: HistorySetting,
        interactions: Sequence[Interaction],
        candidates: Sequence[Candidate],
        *,
        relevance: Sequence[float] | None = None,
    ) -> bool:
        """Whether `build` would take little time, as its documents and nearly all interactions are in the cache.

        If not, call `build` in a thread. A history is in the cache only if it is the very tuple of an earlier call.
        """
        length: float = 0
        if setting is not HistorySetting.NONE and interactions:
            history = self._histories.cached(interactions)
            if history is None or history.count_unwritten(candidates, relevance) > _FEW:
                return False
            length = inf if history.total is None else history.total
        # The same levels as in `_select_detail`.
        for detail in Detail:
            documents = [self._documents.cached(candidate.tool, detail) for candidate in candidates]
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
        """Number of candidates, from the first on, that `build` has room for, in whatever order it gets them later.

        0 if not even the first fits. `setting` is NONE for a prompt without interactions. Raises PromptTooLong (part
        `instruction`), and ValueError for `AUTO` and for candidates without hints in a format with hints.
        """
        _check_applied(setting)
        day = self._assembly.date_paragraph(today)
        room = self.budget - self._fixed[setting, False] - day.tokens
        room -= self._instruction(instruction, setting, day).tokens
        if self.format.labels:
            candidates = candidates[:MAX_LABELS]
        for number, candidate in enumerate(candidates):
            # Every label has one token.
            room -= self._candidate_tokens([candidate], setting, Detail.NAMES)
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
        """The prompt for an instruction. `interactions` are oldest first, `candidates` as `prompt_order` sorts them.

        Pass the same tuple of interactions at each call for a user: it is then encoded only once. Without interactions
        the prompt does not mention preferences, whatever the setting. `relevance` has a number for each interaction,
        above 0 if it is relevant to the candidates; without it, tools, providers and categories are compared. `today`
        is the user's date, for formats that are `dated`; without it the prompt has no date.

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
        day = self._assembly.date_paragraph(today)
        asked = self._instruction(instruction, setting, day)
        request = _Request(asked, setting, self._histories.get(interactions), candidates, relevance, day)
        return self._prompt(request, *self._select_detail(request))

    def _instruction(self, instruction: str, setting: HistorySetting, today: Segment) -> Segment:
        plain = self.format.listing is Listing.ARRAY
        text = replace_surrogates(instruction) if plain else json_text(instruction)
        room = self.budget - self._fixed[setting, False] - today.tokens
        start = text[: _CHARACTERS_A_TOKEN * self.budget]
        segment = self._users.encode(start)
        if segment.tokens <= room and start != text:
            segment = self._users.encode(text)
        if segment.tokens > room:
            raise PromptTooLong(
                f"The instruction has {segment.tokens} tokens or more, and there is room for {room}. Shorten it; put "
                "long texts into a file or behind a URL.",
                part="instruction",
                tokens=segment.tokens,
                budget=self.budget,
            )
        return segment

    def _select_detail(self, request: _Request) -> tuple[Detail, Sequence[int]]:
        """The level of detail of the documents, and the positions of the interactions, that fit the budget."""
        history = request.history
        for detail in (Detail.FULL, Detail.WITHOUT_RESPONSES, Detail.SHORT_OPTIONAL, Detail.SHORT):
            if history.fits(self._room(request, detail, history=len(history) > 0)):
                return detail, range(len(history))
        for detail in _SELECTED:
            if self._room(request, detail, history=False) >= 0:
                room = self._room(request, detail, history=True)
                kept = history.select(room, request.candidates, request.relevance)
                return (detail if kept else self._fullest_without_history(request)), kept
        tokens = self._tokens(request, Detail.NAMES)
        raise PromptTooLong(
            f"{len(request.candidates)} candidates have {tokens} tokens, without any descriptions, and a prompt of "
            f"{self.budget} has no room for them: give fewer candidates, or tools with fewer parameters.",
            part="candidates",
            tokens=tokens,
            budget=self.budget,
        )

    def _fullest_without_history(self, request: _Request) -> Detail:
        """The most detailed level that fits a prompt without interactions."""
        return next(detail for detail in Detail if self._room(request, detail, history=False) >= 0)

    def _room(self, request: _Request, detail: Detail, *, history: bool) -> int:
        """Tokens left for interactions; negative if the rest alone exceeds the budget."""
        fixed = self._fixed[request.setting, history] + request.instruction.tokens + request.today.tokens
        return self.budget - fixed - self._tokens(request, detail)

    def _tokens(self, request: _Request, detail: Detail) -> int:
        return self._candidate_tokens(request.candidates, request.setting, detail)

    def _candidate_tokens(self, candidates: Sequence[Candidate], setting: HistorySetting, detail: Detail) -> int:
        written = self._candidate_segments(candidates, setting, detail)
        return sum(segment.tokens for candidate in written for segment in (*candidate, self._assembly.between))

    def _candidate_segments(
        self, candidates: Sequence[Candidate], setting: HistorySetting, detail: Detail
    ) -> list[list[Segment]]:
        documents = [[self._documents.segment(candidate.tool, detail)] for candidate in candidates]
        if self.format.labels:
            labels = self._encoder.encode_all(self._tokenizer.labels(len(documents)))
            documents = [[label, *document] for label, document in zip(labels, documents, strict=True)]
        if self.format.hints:
            terse = self.format.listing is Listing.TERSE
            hints = self._encoder.encode_all([_hints(candidate, setting, terse) for candidate in candidates])
            documents = [[*document, hint] for document, hint in zip(documents, hints, strict=True)]
        return documents

    def _fixed_tokens(self, setting: HistorySetting, history: bool) -> int:
        """Tokens of the fixed texts, with the history's heading or without."""
        empty = PromptData([] if history else None, [], EMPTY)
        return sum(segment.tokens for _, segment in chain(*self._assembly.pieces(setting, empty)))

    def _prompt(self, request: _Request, detail: Detail, kept: Sequence[int]) -> Prompt:
        shown = request.history.segments(kept) if kept else None
        listed = self._candidate_segments(request.candidates, request.setting, detail)
        content = PromptData(shown, listed, request.instruction, request.today)
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
        # Each hint has its own set of characters, so that a character's meaning does not depend on its place. The
        # overall hint is last, also without history: what a model learns of it then holds with history too.
        personal = f" {_LIKED[hints.liked]} {_FIT[hints.fit]}" if setting is not HistorySetting.NONE else ""
        return f"{personal} {9 - hints.overall}\n"
    if setting is HistorySetting.NONE:
        return f" fit {hints.fit}\n"
    return f" fit {hints.fit}, liked {hints.liked}, disliked {hints.disliked}\n"
