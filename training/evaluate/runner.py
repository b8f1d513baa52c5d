"""Asks a system its instances, many at a time, and keeps each answer at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO

from app.errors import SetupError
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Part
from training.evaluate.answers import AnswerFile, Row, append
from training.evaluate.metrics import judge
from training.evaluate.patience import Failed
from training.evaluate.systems import Failure, System
from training.examples import Question

GIVE_UP_AFTER = 20
"""Failed requests in a row, each after its retries: the engine or endpoint is away, and asking on would only fill the
file with failures."""


@dataclass(frozen=True)
class Ran:
    asked: int
    failed: int
    seconds: float


async def run(
    system: System,
    questions: Sequence[Question],
    answers: AnswerFile,
    part: Part,
    *,
    concurrency: int,
    progress: Progress = NO_PROGRESS,
    label: str = "Asking",
) -> Ran:
    """Asks in the order of `questions`. SetupError where nothing answers any more; what came before is kept."""
    started = time.monotonic()
    progress.start(label, len(questions))
    with answers.appending(part) as file:
        asking = _Asking(system, file, progress.advance)
        waiting = iter(questions)

        async def work() -> None:
            for question in waiting:
                await asking.one(question)

        failures: Sequence[BaseException] = ()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except* SetupError as errors:
            failures = errors.exceptions
        if failures:
            # Of all that the tasks met at the same time one is enough to be told.
            raise failures[0]
    return Ran(asking.count["asked"], asking.count["failed"], time.monotonic() - started)


class _Asking:
    def __init__(self, system: System, file: IO[str], advance: Callable[[int], None]) -> None:
        self.count: Counter[str] = Counter()
        self._system = system
        self._file = file
        self._advance = advance
        self._failures = 0
        """In a row."""

    async def one(self, question: Question) -> None:
        started = time.perf_counter()
        try:
            row = await self._system.answer(question)
        except Failed as failure:
            row = Failure(question, failure.detail).row
            self._failures += not failure.alone
            self.count["failed"] += 1
        else:
            self._failures = 0
        self._keep(row, question, 1000 * (time.perf_counter() - started))
        if self._failures >= GIVE_UP_AFTER:
            raise SetupError(
                f"{self._failures} requests in a row failed, the last one so: {row.detail}. Run the same command again "
                "when it works: what was answered is kept."
            )

    def _keep(self, row: Row, question: Question, milliseconds: float) -> None:
        error = judge(row.said, question.instance).error
        append(self._file, replace(row, milliseconds=round(milliseconds, 1), error=error and error.value))
        self.count["asked"] += 1
        self._advance(1)
