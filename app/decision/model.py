"""A language model as decisions ask it: engine, prompts, adapter and hints that belong together."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from app.answers.reading import Answer, read_answer
from app.answers.schema.answer import answer_schema
from app.decision.policy import Policy
from app.decision.ranking import Ranked
from app.domain import Candidate, HistorySetting, Json, Tool
from app.domain.adapters import Adapter
from app.errors import EngineTimeout, InvalidAnswer, PromptTooLong
from app.inference.engine import Engine, Generation, GenerationRequest
from app.prompting.builder import PromptBuilder
from app.prompting.formats import PromptFormat, format_named
from app.prompting.prompt import Prompt, prompt_order
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer
from app.retrieval.matcher import Matcher


@dataclass(frozen=True)
class Model:
    engine: Engine
    prompts: PromptBuilder
    adapter: str | None = None
    """Name of a LoRA adapter at the engine; None for the base model."""
    matcher: Matcher | None = None
    """Whose hints the prompts have; None for the preference ranker's."""
    user: str = ""
    """Whose decision it is: of several engines each user's requests go to the same."""

    def most_tokens(self, policy: Policy) -> int:
        """Tokens of the longest prompt and its answer together."""
        return self.prompts.longest + policy.max_tokens


@dataclass(frozen=True)
class Written:
    """What a model wrote, and how it was read."""

    generation: Generation
    answer: Answer | InvalidAnswer


@dataclass(frozen=True, eq=False)
class PromptedModel:
    """A model with one prompt, which may be asked to write calls of its candidates until the deadline."""

    model: Model
    policy: Policy
    instruction: str
    prompt: Prompt
    candidates: Sequence[Candidate]
    """In the prompt's order."""
    dropped: int
    """Candidates that the prompt had no room for."""
    deadline: float
    """By `time.perf_counter`."""

    async def write_call(self, only: Tool | None = None) -> Written:
        """A call of one of the candidates; under a schema that has no other, of the tool `only`.

        Raises EngineError.
        """
        tools, labels = [candidate.tool for candidate in self.candidates], self.prompt.labels
        if only is not None:
            position = tools.index(only)
            tools, labels = [only], labels[position : position + 1]
        constrained = self.policy.schema or only is not None
        generation = await self.model.engine.generate(self._request(tools, labels, constrained=constrained))
        try:
            answer: Answer | InvalidAnswer = read_answer(
                generation.text, tools, labels, style=self.model.prompts.format.answer
            )
        except InvalidAnswer as error:
            answer = error
        return Written(generation, answer)

    def _request(self, tools: Sequence[Tool], labels: Sequence[str], *, constrained: bool) -> GenerationRequest:
        timeout = self.deadline - time.perf_counter()
        if timeout <= 0:
            raise EngineTimeout(f"No answer within {self.policy.timeout:g} s.", retry_after=1)
        policy, style = self.policy, self.model.prompts.format.answer
        # Formats without labels write none.
        labels = labels or [""] * len(tools)
        return GenerationRequest(
            self.prompt.token_ids,
            answer_schema(tools, labels, style, instruction=self.instruction) if constrained else None,
            # An answer may repeat the instruction.
            min(
                policy.max_tokens + self.prompt.usage.instruction,
                self.model.most_tokens(policy) - len(self.prompt.token_ids),
            ),
            timeout,
            labels=self.prompt.label_ids,
            adapter=self.model.adapter,
            temperature=policy.temperature,
            user=self.model.user,
        )


async def prompt_model(model: Model, ranked: Ranked, policy: Policy) -> PromptedModel:
    """`ranked`: with hints, where the prompt's format has any. Raises PromptTooLong, as `build_prompt` does."""
    deadline = time.perf_counter() + policy.timeout
    prompt, ordered = await build_prompt(model.prompts, ranked)
    dropped = len(ranked.candidates) - len(ordered)
    return PromptedModel(model, policy, ranked.query.text, prompt, ordered, dropped, deadline)


async def build_prompt(prompts: PromptBuilder, ranked: Ranked) -> tuple[Prompt, list[Candidate]]:
    """The prompt, and the candidates in its order. Those that do not fit the budget are left out, the least wanted
    first.

    Raises PromptTooLong (part `instruction`; `candidates` where not even one fits).
    """
    try:
        return await _build_prompt(prompts, ranked, ranked.candidates)
    except PromptTooLong as error:
        if error.extra.get("part") != "candidates":
            raise
        fitting = _fitting_candidates(prompts, ranked)
        if not fitting:
            raise
    return await _build_prompt(prompts, ranked, fitting)


def _fitting_candidates(prompts: PromptBuilder, ranked: Ranked) -> Sequence[Candidate]:
    profile, query = ranked.profile, ranked.query
    setting = profile.setting if profile.interactions else HistorySetting.NONE
    return ranked.candidates[: prompts.fitting(query.text, setting, ranked.candidates, today=query.asked_at.date())]


async def _build_prompt(
    prompts: PromptBuilder, ranked: Ranked, candidates: Sequence[Candidate]
) -> tuple[Prompt, list[Candidate]]:
    """The prompt, and the candidates in its order."""
    ordered, query = prompt_order(candidates), ranked.query
    history = ranked.profile.setting, ranked.profile.interactions
    relevance = ranked.interaction_relevance
    build = partial(prompts.build, query.text, *history, ordered, relevance=relevance, today=query.asked_at.date())
    if prompts.is_quick(*history, ordered, relevance=relevance):
        return build(), ordered
    # Encoding what is new of a long history or of large documents takes longer than other requests should wait.
    return await asyncio.to_thread(build), ordered


NO_USAGE: Mapping[str, Json] = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cached_tokens": 0,
    "prompt": None,
    "candidates_dropped": 0,
}
"""`token_usage` where no model was asked."""


def token_usage(prompted: PromptedModel, written: Sequence[Written]) -> dict[str, Json]:
    """Tokens of all that the engine was asked, and of the prompt by part."""
    generations = [each.generation for each in written]
    return {
        "prompt_tokens": sum(each.prompt_tokens for each in generations),
        "completion_tokens": sum(each.completion_tokens for each in generations),
        "cached_tokens": sum(each.cached_tokens for each in generations),
        "prompt": prompted.prompt.usage.as_json(),
        "candidates_dropped": prompted.dropped,
    }


class ModelFactory:
    """One base model with the configured adapter, with any registered one, or with none.

    Its models share what is the same for them: prompts of one format and budget, and the caches of those.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: PromptTokenizer,
        load_matcher: Callable[[], Matcher],
        *,
        adapter: str | None,
        prompt_format: PromptFormat,
        prompt_budget: int,
    ) -> None:
        """`adapter`, `prompt_format` and `prompt_budget` are the configured ones: they serve
        while no registered adapter is active. Raises SetupError for a format that this tokenizer cannot write, and
        what `load_matcher` raises.
        """
        self._engine = engine
        self._tokenizer = tokenizer
        self._load_matcher = load_matcher
        self._builders: dict[tuple[str, int], PromptBuilder] = {}
        self.configured = self._model(adapter, prompt_format, prompt_budget, engine)

    def with_adapter(self, adapter: Adapter, engine: Engine | None = None) -> Model:
        """With a registered version, on all engines or on one. May load files; SetupError as above."""
        return self._model(adapter.version, format_named(adapter.prompt_format), adapter.prompt_tokens, engine)

    def base_of(self, adapter: Adapter, engine: Engine) -> Model:
        """The base model alone, asked as the adapter is."""
        return self._model(None, format_named(adapter.prompt_format), adapter.prompt_tokens, engine)

    def _model(
        self, adapter: str | None, prompt_format: PromptFormat, prompt_budget: int, engine: Engine | None
    ) -> Model:
        return Model(
            engine or self._engine,
            self._builder(prompt_format, prompt_budget),
            adapter=adapter,
            matcher=self._matcher if prompt_format.matched else None,
        )

    def _builder(self, prompt_format: PromptFormat, prompt_budget: int) -> PromptBuilder:
        key = prompt_format.name, prompt_budget
        if key not in self._builders:
            if prompt_format.labels:
                # As many as a request may have candidates: a tokenizer that lacks them is told now, not then.
                self._tokenizer.labels(MAX_LABELS)
            self._builders[key] = PromptBuilder(self._tokenizer, prompt_format, budget=prompt_budget)
        return self._builders[key]

    @cached_property
    def _matcher(self) -> Matcher:
        return self._load_matcher()
