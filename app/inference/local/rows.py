"""A request while it is served: what waits, and what is being decoded."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import torch
from llguidance import LLMatcher

from app.errors import EngineError, EngineRefused
from app.inference.engine import Generation, GenerationRequest
from app.inference.local.model import Piece


@dataclass(eq=False)
class Ticket:
    """A request in the queue. Who waits for it cancels `answer` to give it up."""

    request: GenerationRequest
    matcher: LLMatcher | None
    """At the schema's start; None for a request without one."""
    deadline: float
    """By `time.monotonic()`."""
    answer: Future[Generation] = field(default_factory=Future)

    @property
    def given_up(self) -> bool:
        return self.answer.cancelled()

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.deadline

    def fail(self, error: EngineError) -> None:
        try:
            self.answer.set_exception(error)
        except InvalidStateError:
            return  # cancelled meanwhile

    def succeed(self, generation: Generation) -> None:
        try:
            self.answer.set_result(generation)
        except InvalidStateError:
            return


class Row:
    """One sequence: the prompt, then what was generated. `pending` are the tokens that the model has yet to read.

    Making one and `accept` raise EngineRefused where the grammar breaks down, which is by its limits on complexity.
    """

    def __init__(self, ticket: Ticket, weights: int, eos: frozenset[int]) -> None:
        self.ticket = ticket
        self.request = ticket.request
        self.weights = weights
        self.cache: torch.Tensor | None = None
        self.computed = 0
        """Tokens in the cache."""
        self.cached = 0
        """Tokens of the prompt that came from the prefix store."""
        self.pending: list[int] = list(ticket.request.prompt)
        self.generated: list[int] = []
        self.finished: bool | None = None
        """None while decoding; False: cut off."""
        self.label_logprobs: dict[int, float] | None = None
        self._label_at: int | None = None
        """Position of the token that predicts a label which the grammar forced."""
        self._eos = eos
        self._append_forced()

    @property
    def capacity(self) -> int:
        return len(self.request.prompt) + self.request.max_tokens

    @property
    def reading(self) -> bool:
        """Whether the prompt is not all read yet."""
        return self.computed < len(self.request.prompt)

    def restored(self, count: int) -> None:
        """The cache holds the prompt's first `count` tokens, which is less than all."""
        self.cached = self.computed = count
        del self.pending[:count]

    def piece(self, most: int) -> Piece:
        """The next tokens, at most so many. The last one's logits are wanted if no more are pending after it."""
        assert self.cache is not None
        tokens = self.pending[:most]
        wanted = []
        if self._label_at is not None and self.computed <= self._label_at < self.computed + len(tokens):
            wanted.append(self._label_at - self.computed)
        if len(tokens) == len(self.pending):
            wanted.append(len(tokens) - 1)
        return Piece(self.cache, self.computed, tokens, wanted)

    def advance(self, piece: Piece, logits: torch.Tensor) -> torch.Tensor | None:
        """After the pass: its tokens are read. The logits (vocabulary,) of the next token, None if more are pending."""
        self.computed += len(piece.tokens)
        del self.pending[: len(piece.tokens)]
        if self._label_at is not None and self._label_at < self.computed:
            self._tell_labels(logits[0])
            self._label_at = None
        return None if self.pending else logits[-1]

    def accept(self, token: int, logits: torch.Tensor) -> None:
        """The next token was chosen by these logits (vocabulary,)."""
        if self._label_logprobs_wanted and token in self.request.labels:
            self._tell_labels(logits)
        matcher = self.ticket.matcher
        if matcher is not None:
            matcher.consume_token(token)
            _check(matcher)
        self.generated.append(token)
        self.pending.append(token)
        if token in self._eos:
            self.finished = True
        else:
            self._append_forced()

    def text_tokens(self) -> list[int]:
        return self.generated[:-1] if self.generated and self.generated[-1] in self._eos else self.generated

    @property
    def _label_logprobs_wanted(self) -> bool:
        return bool(self.request.labels) and self.label_logprobs is None and self._label_at is None

    def _append_forced(self) -> None:
        """Takes the tokens that the grammar leaves no choice about; the model reads them with the one before."""
        matcher = self.ticket.matcher
        room = self.request.max_tokens - len(self.generated)
        if matcher is not None:
            forced = matcher.compute_ff_tokens()[:room]
            matcher.consume_tokens(forced)
            _check(matcher)
            self._watch(forced)
            self.generated += forced
            self.pending += forced
        if matcher is not None and matcher.is_stopped():
            self.finished = True
        elif len(self.generated) >= self.request.max_tokens:
            self.finished = matcher is not None and matcher.is_accepting()

    def _watch(self, forced: Sequence[int]) -> None:
        if not self._label_logprobs_wanted:
            return
        for index, token in enumerate(forced):
            if token in self.request.labels:
                self._label_at = len(self.request.prompt) + len(self.generated) + index - 1
                return

    def _tell_labels(self, logits: torch.Tensor) -> None:
        logprobs = torch.log_softmax(logits, -1)
        self.label_logprobs = {label: float(logprobs[label]) for label in self.request.labels}


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        raise EngineRefused(f"The schema cannot be enforced: {matcher.get_error()[:300]}")
