"""Calls that the SFT model writes for training instructions, several each: what DPO's pairs are chosen from.

A row a question is on the disk as soon as it is sampled; a run that was stopped goes on behind them.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.answers.schema.answer import answer_schema
from app.decision.fusion import choice_logprobs
from app.domain import Json
from app.inference.engine import Engine, GenerationRequest
from training.common.stages import Progress, told
from training.data.dataset import read_rows
from training.examples import Examples, Question
from training.finetune.config import PairSettings

_TIMEOUT = 3600.0
_AT_ONCE = 4
"""Questions that are sampled at the same time: while one reads its prompt, others write."""


@dataclass(frozen=True)
class Sampled:
    """Of one question."""

    id: str
    texts: tuple[str, ...]
    """In the order in which they were asked for."""
    chances: Mapping[str, float] | None
    """Log-probability of each candidate's label, by tool; None where there are no labels."""

    def to_json(self) -> dict[str, Json]:
        return {"id": self.id, "texts": list(self.texts), "chances": None if self.chances is None else {**self.chances}}

    @classmethod
    def from_json(cls, row: Mapping[str, Json]) -> "Sampled":
        return cls(row["id"], tuple(row["texts"]), row["chances"])


class Sampler:
    def __init__(self, engine: Engine, adapter: str | None, examples: Examples, settings: PairSettings) -> None:
        self._engine = engine
        self._adapter = adapter
        self._examples = examples
        self._settings = settings

    async def of(self, question: Question) -> Sampled:
        """Raises EngineError."""
        prompt = self._examples.prompt(question)
        tools = [candidate.tool for candidate in question.ordered]
        instruction, style = question.instance.instruction, self._examples.builder.format.answer
        labels = prompt.labels or [""] * len(tools)
        request = GenerationRequest(
            prompt.token_ids,
            answer_schema(tools, labels, style, instruction=instruction) if self._settings.constrained else None,
            self._settings.max_tokens + prompt.usage.instruction,
            _TIMEOUT,
            labels=prompt.label_ids,
            adapter=self._adapter,
            temperature=self._settings.temperature,
        )
        # Once the first has read the prompt, the engine need not read it again.
        first = await self._engine.generate(request)
        others = await asyncio.gather(*(self._engine.generate(request) for _ in range(self._settings.samples - 1)))
        names = [tool.name for tool in tools]
        logprobs = choice_logprobs(first.label_logprobs, prompt.label_ids)
        return Sampled(
            question.instance.id,
            tuple(each.text for each in (first, *others)),
            None
            if logprobs is None
            else {name: round(logprob, 4) for name, logprob in zip(names, logprobs, strict=True)},
        )


async def sample_all(sampler: Sampler, questions: Sequence[Question], path: Path, progress: Progress) -> None:
    """Appends a row for each question that the file has none of. Raises EngineError; the rows until then stay."""
    done = {each.id for each in read_samples(path)}
    waiting = iter([each for each in questions if each.instance.id not in done])
    progress.start("Sampling calls", len(questions))
    progress.advance(len(done & {each.instance.id for each in questions}))
    with told(path), path.open("a", encoding="utf-8") as file:

        async def work() -> None:
            for question in waiting:
                row = await sampler.of(question)
                file.write(json.dumps(row.to_json(), ensure_ascii=True) + "\n")
                file.flush()
                progress.advance(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as stopped:
            # The first is what stopped the others.
            raise stopped.exceptions[0] from stopped
        os.fsync(file.fileno())


def read_samples(path: Path) -> Iterator[Sampled]:
    """Drops from the file a last line that was cut short."""
    if not path.exists():
        return
    with told(path), path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
    yield from map(Sampled.from_json, read_rows(path))
