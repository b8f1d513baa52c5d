"""Calls that the SFT model writes for training instructions, several each: what DPO's pairs are chosen from.

A row a question is on the disk as soon as it is sampled; a run that was stopped goes on behind them.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.decision.choice import label_logprobs
from app.decision.model import Model, prompt_model
from app.decision.policy import Policy
from app.domain import Json
from training.common.stages import Progress, told
from training.data.dataset import read_rows
from training.examples import Question
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
    def __init__(self, model: Model, settings: PairSettings) -> None:
        self._model = model
        self._samples = settings.samples
        self._policy = Policy(
            schema=settings.constrained,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            timeout=_TIMEOUT,
        )

    async def sample(self, question: Question) -> Sampled:
        """Raises EngineError."""
        prompted = await prompt_model(self._model, question.ranked, self._policy)
        # Once the first has read the prompt, the engine need not read it again.
        first = await prompted.write_call()
        others = await asyncio.gather(*(prompted.write_call() for _ in range(self._samples - 1)))
        names = [candidate.tool.name for candidate in prompted.candidates]
        logprobs = label_logprobs(first.generation.label_logprobs, prompted.prompt.label_ids)
        return Sampled(
            question.instance.id,
            tuple(each.generation.text for each in (first, *others)),
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
                row = await sampler.sample(question)
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
