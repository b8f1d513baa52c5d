"""A model of the service's engines on the benchmark: the same prompt, schema, reading and decision as in service.

The decision is that of `app.decision.model_calls`, which training may not import.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from app.answers.reading.answers import Answer
from app.answers.schema.answer import answer_schema
from app.decision.filling import filled
from app.decision.fusion import choice_logprobs, fused, probabilities
from app.decision.repair import mend
from app.domain import DecisionRule, Hints, ParameterRule, Tool
from app.errors import EngineDown, EngineError, EngineOverloaded, EngineTimeout, InvalidAnswer
from app.extraction import extract_parameters
from app.inference.engine import Engine, Generation, GenerationRequest
from app.prompting.builder import PromptBuilder
from app.prompting.prompt import Prompt
from training.evaluate.answers import Row
from training.evaluate.asking import prompt_of
from training.evaluate.config import ModelConfig
from training.evaluate.metrics import AnsweredCall
from training.evaluate.patience import Sleep, patiently
from training.evaluate.reading import read, said_of
from training.evaluate.systems import Failed
from training.examples import Question
from training.openai.wire import Passing

_SAYING_NOTHING = Hints(9, 9, 9)
"""The best fit, and what candidates without history have."""


@dataclass(frozen=True)
class _Choice:
    answer: Answer | InvalidAnswer
    decided_by: DecisionRule
    chances: list[float] | None
    """Log-probability of each candidate, in prompt order."""
    calls: Sequence[Generation]


class AskedModel:
    def __init__(
        self,
        config: ModelConfig,
        engine: Engine,
        prompts: PromptBuilder,
        *,
        adapter: str | None,
        budget: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`prompts`: with `right_cut` of one that has room for everything; the prompt is then cut to `budget`."""
        self._config = config
        self._engine = engine
        self._prompts = prompts
        self._adapter = adapter
        self._budget = budget
        self._sleep = sleep

    async def answer(self, question: Question) -> Row:
        if not self._config.hints:
            question = _without_hints(question)
        prompt = await prompt_of(self._prompts, question)
        if self._config.right_cut:
            prompt = replace(prompt, token_ids=prompt.token_ids[: self._budget])
        choice = await self._choose(question, prompt)
        tools = [candidate.tool for candidate in question.ordered]
        chances = choice.chances
        return Row(
            question.instance.id,
            self._said(choice.answer, question),
            text=choice.calls[-1].text,
            probabilities=None
            if chances is None
            else {tool.name: round(p, 5) for tool, p in zip(tools, probabilities(chances), strict=True)},
            decided_by=choice.decided_by.value,
            prompt_tokens=sum(call.prompt_tokens for call in choice.calls),
            completion_tokens=sum(call.completion_tokens for call in choice.calls),
        )

    async def close(self) -> None:
        await self._engine.close()

    def _said(self, answer: Answer | InvalidAnswer, question: Question) -> AnsweredCall:
        rule = self._config.parameters
        if rule is ParameterRule.MODEL or isinstance(answer, InvalidAnswer):
            return said_of(answer)
        instance, tool = question.instance, answer.tool
        extraction = extract_parameters(instance.instruction, tool, now=instance.asked_at)
        written, _ = mend(answer, extraction.parameters)
        return AnsweredCall(tool.name, filled(rule, instance.instruction, tool, written, extraction))

    async def _choose(self, question: Question, prompt: Prompt) -> _Choice:
        ask = partial(self._generated, question, prompt)
        tools = [candidate.tool for candidate in question.ordered]
        first = await ask(tools, prompt.labels)
        answer = self._read(first, tools, prompt.labels)
        chosen_at = tools.index(answer.tool) if isinstance(answer, Answer) else None
        chances = choice_logprobs(first.label_logprobs, prompt.label_ids, chosen_at)
        if self._config.decision is not DecisionRule.FUSED or chances is None:
            return _Choice(answer, DecisionRule.MODEL, chances, [first])
        scores = fused(chances, [candidate.score for candidate in question.ordered], self._config.fusion_weight)
        best = scores.index(max(scores))
        if isinstance(answer, Answer) and tools[best] is answer.tool:
            return _Choice(answer, DecisionRule.FUSED, chances, [first])
        # The parameters are those of the model's own choice: it writes the other tool's anew, under a schema that
        # has only this one.
        chosen, label = [tools[best]], prompt.labels[best : best + 1]
        try:
            second = await ask(chosen, label, constrained=True)
        except Failed:
            # There is an answer already: the model's own.
            return _Choice(answer, DecisionRule.MODEL, chances, [first])
        return _Choice(self._read(second, chosen, label), DecisionRule.FUSED, chances, [first, second])

    def _read(self, call: Generation, tools: Sequence[Tool], labels: Sequence[str]) -> Answer | InvalidAnswer:
        return read(call.text, tools, labels, self._prompts.format.answer)

    async def _generated(
        self,
        question: Question,
        prompt: Prompt,
        tools: Sequence[Tool],
        labels: Sequence[str],
        *,
        constrained: bool = False,
    ) -> Generation:
        config, style = self._config, self._prompts.format.answer
        instruction = question.instance.instruction
        schema = None
        if config.schema_ or constrained:
            # Formats without labels write none.
            schema = answer_schema(tools, labels or [""] * len(tools), style, instruction=instruction)
        room = self._budget + config.max_tokens - len(prompt.token_ids)
        request = GenerationRequest(
            prompt.token_ids,
            schema,
            # An answer may repeat the instruction.
            min(config.max_tokens + prompt.usage.instruction, room),
            config.timeout,
            labels=prompt.label_ids,
            adapter=self._adapter,
            temperature=config.temperature,
        )
        return await patiently(partial(self._try, request), config.retries, self._sleep)

    async def _try(self, request: GenerationRequest) -> Generation:
        try:
            return await self._engine.generate(request)
        except (EngineDown, EngineOverloaded, EngineTimeout) as error:
            raise Passing(error.detail, retry_after=error.retry_after) from error
        except EngineError as error:
            raise Failed(error.detail) from error


def _without_hints(question: Question) -> Question:
    return replace(question, ranked=tuple(replace(each, hints=_SAYING_NOTHING) for each in question.ranked))
