"""One system on one part: what is missing of its answers is asked for."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import HistorySetting
from training.common.revision import revision
from training.common.stages import NO_PROGRESS, Progress, only_here
from training.data.benchmark import OpenedBenchmark, questions_of
from training.data.records import Instance, Part
from training.data.systems import Scenes
from training.evaluate.answers import EVALUATIONS, AnswerFile
from training.evaluate.build_system import identity_of, matcher_of, open_system
from training.evaluate.config import SystemConfig
from training.evaluate.runner import Ran, run
from training.evaluate.samples import chosen
from training.evaluate.scores import Scores, scores_of
from training.examples import Question


@dataclass(frozen=True)
class Wanted:
    """Which instances."""

    part: Part = Part.TEST
    settings: Collection[HistorySetting] = ()
    """Empty for all."""
    instances: int | None = None
    """None for all."""


@dataclass(frozen=True)
class Evaluated:
    directory: Path
    scores: Scores
    """Of the instances that were wanted."""
    kept: int
    """Answers that stood there already."""
    ran: Ran


class Evaluation:
    """Of any number of systems on one benchmark, which share what is known of its instances."""

    def __init__(self, benchmark: OpenedBenchmark, progress: Progress = NO_PROGRESS) -> None:
        self._benchmark = benchmark
        self._progress = progress
        self._scenes: Scenes | None = None

    def evaluate(self, config: SystemConfig, wanted: Wanted, *, command: str = "", restart: bool = False) -> Evaluated:
        """SetupError for what the operator has to put right; what was answered until then is kept."""
        instances = chosen(self._benchmark.dataset, wanted.part, wanted.settings, wanted.instances)
        identity = identity_of(config, self._benchmark)
        answers = AnswerFile(self._benchmark.directory / EVALUATIONS / config.name)
        with only_here(answers.directory):
            answers.opened(identity, config, restart=restart)
            there = {name: row for name, row in answers.rows(wanted.part).items() if not row.failed}
            missing = [each for each in instances if each.id not in there]
            ran = self._ask(config, missing, answers, wanted.part) if missing else Ran(0, 0, 0.0)
            if missing:
                answers.ran(
                    command=command,
                    revision=revision(),
                    part=wanted.part.value,
                    asked=ran.asked,
                    failed=ran.failed,
                    seconds=round(ran.seconds, 1),
                )
            rows = answers.rows(wanted.part)
        return Evaluated(answers.directory, scores_of(rows, instances), len(instances) - len(missing), ran)

    def _ask(self, config: SystemConfig, missing: Sequence[Instance], answers: AnswerFile, part: Part) -> Ran:
        if self._scenes is None:
            self._scenes = self._benchmark.scenes(self._progress)
        matcher = matcher_of(config, part, self._benchmark)
        questions = questions_of(self._scenes, matcher).of(missing, self._progress, config.policy)
        return asyncio.run(self._asked(config, questions, answers, part))

    async def _asked(
        self,
        config: SystemConfig,
        questions: Sequence[Question],
        answers: AnswerFile,
        part: Part,
    ) -> Ran:
        system = await asyncio.to_thread(open_system, config)
        try:
            return await run(
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
