"""Trying an adapter out: that an engine serves it and not the base model, and how good it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from app.adapters.cases import Case
from app.answers.reading import Answer
from app.decision.callers import ModelCallers
from app.decision.model_calls import ModelAnswer, ModelCaller
from app.decision.model_requests import CaseRanker, model_request
from app.decision.ranked import Ranked
from app.decision.stopwatch import Stopwatch
from app.domain import DecisionRule
from app.domain.adapters import Adapter
from app.errors import InvalidAdapter, PromptTooLong
from app.inference.engine import AdapterEngine

_NOISE = 0.02
"""Of a candidate's probability: above what rounding in bfloat16 changes from batch to batch."""
_AT_ONCE = 4
"""Cases of an evaluation set: users' requests are answered beside them."""


@dataclass(frozen=True)
class Score:
    """Shares of the evaluation set, 0 to 1; the model alone chooses and fills in."""

    cases: int
    tool: float
    parameters: float
    """Of all cases, those with the right tool and equal parameters."""


class Prober:
    def __init__(
        self,
        callers: ModelCallers,
        ranker: CaseRanker,
        golden: Sequence[Case],
        evaluation: Sequence[Case] = (),
        *,
        timeout: float,
    ) -> None:
        """`timeout`: seconds for each answer."""
        self._callers = callers
        self._ranker = ranker
        self._golden = golden
        self._evaluation = evaluation
        self._timeout = timeout
        self._ranked: dict[int, Ranked] = {}

    @property
    def cases(self) -> int:
        """Size of the evaluation set."""
        return len(self._evaluation)

    async def probe(self, adapter: Adapter, engine: AdapterEngine) -> None:
        """InvalidAdapter where its prompts do not fit the engine, its answer to a golden prompt is no valid call, or
        nothing that it says differs from what the base says: engines can serve the base in an adapter's name.

        Raises `EngineError`.
        """
        own = await asyncio.to_thread(self._callers.of, adapter, engine)
        base = await asyncio.to_thread(self._callers.base, adapter, engine)
        context = await engine.context_tokens()
        if context is not None and context < own.most_tokens:
            raise InvalidAdapter(
                f"Its prompts and their answers have up to {own.most_tokens} tokens, and the engine has a context of "
                f"{context}: raise that (vLLM: --max-model-len), or register it with fewer prompt_tokens."
            )
        # Together: an engine at work answers them in the time of one.
        *answers, first = await asyncio.gather(
            *(self._answer(own, case) for case in self._golden), self._answer(base, self._golden[0])
        )
        for case, answer in zip(self._golden, answers, strict=True):
            if answer.model != adapter.version:
                raise InvalidAdapter(f"The engine answers as {answer.model!r} when it is asked for the adapter.")
            if not isinstance(answer.answer, Answer) or answer.answer.problems:
                said = answer.answer.text[:200]
                raise InvalidAdapter(f"Its answer to the golden prompt {case.instruction!r} is no valid call: {said!r}")
        if _differ(answers[0], first):
            return
        for case, answer in zip(self._golden[1:], answers[1:], strict=True):
            if _differ(answer, await self._answer(base, case)):
                return
        raise InvalidAdapter(
            "It answers all golden prompts as the base model does: the engine serves the base in its name, or the "
            "adapter changes nothing. Check its target modules against the base model."
        )

    async def score(self, adapter: Adapter) -> Score:
        """On the evaluation set, by whichever engine. Raises `EngineError`."""
        model = await asyncio.to_thread(self._callers.of, adapter)
        tool = parameters = 0
        for first in range(0, len(self._evaluation), _AT_ONCE):
            cases = self._evaluation[first : first + _AT_ONCE]
            answers = await asyncio.gather(*(self._answer(model, case) for case in cases))
            for case, answer in zip(cases, (answered.answer for answered in answers), strict=True):
                assert case.expected is not None
                if isinstance(answer, Answer) and answer.tool.name == case.expected.tool_name:
                    tool += 1
                    parameters += dict(answer.parameters) == dict(case.expected.parameters)
        count = len(self._evaluation)
        return Score(count, tool / count, parameters / count)

    async def _answer(self, model: ModelCaller, case: Case) -> ModelAnswer:
        key = id(case)
        if key not in self._ranked:
            self._ranked[key] = await self._ranker.rank(case.instruction, case.tools, case.setting, case.history)
        request = await model_request(
            model, case.instruction, self._ranked[key], rule=DecisionRule.MODEL, seconds=self._timeout
        )
        try:
            return await model.answer(request, Stopwatch())
        except PromptTooLong as error:
            raise InvalidAdapter(f"Its prompt's budget is too small: {error.detail}") from error


def _differ(one: ModelAnswer, other: ModelAnswer) -> bool:
    if one.answer.text != other.answer.text:
        return True
    pairs = zip(one.candidates, other.candidates, strict=True)
    return any(
        abs(mine.probability - its.probability) > _NOISE
        for mine, its in pairs
        if mine.probability is not None and its.probability is not None
    )
