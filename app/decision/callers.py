"""The callers of one base model: with the configured adapter, with any registered one, with none."""

from collections.abc import Callable
from functools import cached_property

from app.decision.model_calls import ModelCaller
from app.domain.adapters import Adapter
from app.inference.engine import Engine
from app.prompting.builder import PromptBuilder
from app.prompting.formats import PromptFormat, format_named
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer
from app.retrieval.matcher import Matcher


class ModelCallers:
    """Callers share what is the same for them: prompts of one format and budget, and the caches of those."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: PromptTokenizer,
        load_matcher: Callable[[], Matcher],
        *,
        adapter: str | None,
        prompt_format: PromptFormat,
        prompt_tokens: int,
        max_tokens: int,
        temperature: float,
        fusion_weight: float,
    ) -> None:
        """`adapter`, `prompt_format` and `prompt_tokens` are as the settings say: of what is served while no
        registered adapter is active. Raises SetupError for a format that this tokenizer cannot write, and what
        `load_matcher` raises.
        """
        self._engine = engine
        self._tokenizer = tokenizer
        self._load_matcher = load_matcher
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._fusion_weight = fusion_weight
        self._builders: dict[tuple[str, int], PromptBuilder] = {}
        self.configured = self._caller(adapter, prompt_format, prompt_tokens, engine)

    def of(self, adapter: Adapter, engine: Engine | None = None) -> ModelCaller:
        """Of a registered version, on all engines or on one. May load files; SetupError as above."""
        return self._caller(adapter.version, format_named(adapter.prompt_format), adapter.prompt_tokens, engine)

    def base(self, adapter: Adapter, engine: Engine) -> ModelCaller:
        """Of the base model alone, asked as the adapter is."""
        return self._caller(None, format_named(adapter.prompt_format), adapter.prompt_tokens, engine)

    def _caller(
        self, adapter: str | None, prompt_format: PromptFormat, prompt_tokens: int, engine: Engine | None
    ) -> ModelCaller:
        return ModelCaller(
            engine or self._engine,
            self._builder(prompt_format, prompt_tokens),
            adapter=adapter,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            fusion_weight=self._fusion_weight,
            matcher=self._matcher if prompt_format.matched else None,
        )

    def _builder(self, prompt_format: PromptFormat, prompt_tokens: int) -> PromptBuilder:
        key = prompt_format.name, prompt_tokens
        if key not in self._builders:
            if prompt_format.labels:
                # As many as a request may have candidates: a tokenizer that lacks them is told now, not then.
                self._tokenizer.labels(MAX_LABELS)
            self._builders[key] = PromptBuilder(self._tokenizer, prompt_format, budget=prompt_tokens)
        return self._builders[key]

    @cached_property
    def _matcher(self) -> Matcher:
        return self._load_matcher()
