"""One system on one part of a benchmark: the instances that have no answer yet are asked, many at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from app.domain import HistorySetting
from app.errors import SetupError
from training.common.revision import revision
from training.common.seeding import shuffled_by_hash
from training.common.stages import NO_PROGRESS, Progress, only_here
from training.data.benchmark import OpenedBenchmark, questions_of
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.data.systems import Scenes
from training.evaluate.answers import EVALUATIONS, AnswerFile, Row, append_row, score_rows
from training.evaluate.build_system import identity_of, matcher_of, open_system
from training.evaluate.config import SystemConfig
from training.evaluate.metrics import Scores, judge
from training.evaluate.patience import Failed
from training.evaluate.systems import Failure, System
from training.examples import Question

GIVE_UP_AFTER = 20
"""Failed requests in a row, each after its retries, that end a run: the engine or endpoint is away, and asking on would
only fill the file with failures."""


@dataclass(frozen=True)
class Selection:
    """Which instances of a benchmark are asked."""

    part: Part = Part.TEST
    settings: Collection[HistorySetting] = ()
    """Empty for all."""
    count: int | None = None
    """None for all."""


@dataclass(frozen=True)
class RunCounts:
    asked: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class EvaluationResult:
    directory: Path
    scores: Scores
    """Over the selected instances."""
    kept: int
    """Selected instances that earlier runs had answered."""
    counts: RunCounts
    """Of this run."""


class Evaluation:
    """Evaluates any number of systems on one benchmark; they share the instances' vectors and rankings."""

    def __init__(self, benchmark: OpenedBenchmark, progress: Progress = NO_PROGRESS) -> None:
        self._benchmark = benchmark
        self._progress = progress
        self._scenes: Scenes | None = None

    def evaluate(
        self, config: SystemConfig, selection: Selection, *, command: str = "", restart: bool = False
    ) -> EvaluationResult:
        """Ask the system what it has not answered yet; `command`, for the manifest, is how that was called for.

        Raises SetupError for what the operator has to put right; what was answered until then is kept.
        """
        instances = select_instances(self._benchmark.dataset, selection)
        identity = identity_of(config, self._benchmark)
        answers = AnswerFile(self._benchmark.directory / EVALUATIONS / config.name)
        with only_here(answers.directory):
            answers.claim(identity, config, restart=restart)
            answered = {name for name, row in answers.rows(selection.part).items() if not row.failed}
            missing = [each for each in instances if each.id not in answered]
            counts = RunCounts(0, 0, 0.0)
            if missing:
                counts = self._ask(config, missing, answers, selection.part)
                _add_run(answers, selection.part, counts, command)
            rows = answers.rows(selection.part)
        return EvaluationResult(answers.directory, score_rows(rows, instances), len(instances) - len(missing), counts)

    def _ask(self, config: SystemConfig, missing: Sequence[Instance], answers: AnswerFile, part: Part) -> RunCounts:
        if self._scenes is None:
            self._scenes = self._benchmark.scenes(self._progress)
        matcher = matcher_of(config, part, self._benchmark)
        questions = questions_of(self._scenes, matcher).of(missing, self._progress, config.policy)
        return asyncio.run(self._ask_system(config, questions, answers, part))

    async def _ask_system(
        self, config: SystemConfig, questions: Sequence[Question], answers: AnswerFile, part: Part
    ) -> RunCounts:
        system = await asyncio.to_thread(open_system, config)
        try:
            return await ask_questions(
                system,
                questions,
                answers,
                part,
                concurrency=config.concurrency,
                progress=self._progress,
                label=f"Asking {config.name}",
            )
        finally:
            await system.close()


def _add_run(answers: AnswerFile, part: Part, counts: RunCounts, command: str) -> None:
    answers.add_run(
        command=command,
        revision=revision(),
        part=part.value,
        asked=counts.asked,
        failed=counts.failed,
        seconds=round(counts.seconds, 1),
    )


def select_instances(dataset: Dataset, selection: Selection) -> list[Instance]:
    """Return the instances in an order of which each beginning is a fair sample.

    The settings take turns, and within a setting a hash of the ids decides. So a smaller count is a part of a larger
    one, and a run that was stopped has asked every setting alike. Raises SetupError where there are no instances.
    """
    wanted = selection.settings
    instances = [each for each in dataset.of(selection.part) if not wanted or each.setting in wanted]
    if not instances:
        raise SetupError(f"The benchmark has no instances of the part {selection.part.value} in these settings.")
    by_id = {each.id: each for each in instances}
    queues = [
        shuffled_by_hash([each.id for each in instances if each.setting is setting], "evaluation")
        for setting in HistorySetting
    ]
    return [by_id[name] for name in _take_turns(queues)][: selection.count]


def _take_turns(queues: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, queues))
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


async def ask_questions(
    system: System,
    questions: Sequence[Question],
    answers: AnswerFile,
    part: Part,
    *,
    concurrency: int,
    progress: Progress = NO_PROGRESS,
    label: str = "Asking",
) -> RunCounts:
    """Ask the questions in their order, `concurrency` at a time, and keep each answer at once.

    Raises SetupError where nothing answers any more; the answers before stay in the file.
    """
    started = time.monotonic()
    progress.start(label, len(questions))
    with answers.open_to_append(part) as file:
        asker = _Asker(system, file, progress.advance)
        waiting = iter(questions)

        async def work() -> None:
            for question in waiting:
                await asker.ask(question)

        failures: Sequence[BaseException] = ()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except* SetupError as errors:
            failures = errors.exceptions
        if failures:
            # Several tasks may have met the same trouble at once; one message is enough.
            raise failures[0]
    return RunCounts(asker.counts["asked"], asker.counts["failed"], time.monotonic() - started)


class _Asker:
    """Asks one question at a time, writes its row, and gives up after too many failures in a row."""

    def __init__(self, system: System, file: IO[str], advance: Callable[[int], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._system = system
        self._file = file
        self._advance = advance
        self._failures_in_a_row = 0

    async def ask(self, question: Question) -> None:
        """Raises SetupError after `GIVE_UP_AFTER` failures in a row."""
        started = time.perf_counter()
        try:
            row = await self._system.answer(question)
        except Failed as failure:
            row = Failure(question, failure.detail).row
            self._failures_in_a_row += not failure.alone
            self.counts["failed"] += 1
        else:
            self._failures_in_a_row = 0
        self._keep(row, question, 1000 * (time.perf_counter() - started))
        if self._failures_in_a_row >= GIVE_UP_AFTER:
            raise SetupError(
                f"{self._failures_in_a_row} requests in a row failed, the last one with: {row.detail}. Run the same "
                "command again when it works: what was answered is kept."
            )

    def _keep(self, row: Row, question: Question, milliseconds: float) -> None:
        error = judge(row.call, question.instance).error
        append_row(self._file, replace(row, milliseconds=round(milliseconds, 1), error=error and error.value))
        self.counts["asked"] += 1
        self._advance(1)
