"""What tests of evaluation share: a small benchmark on disk, questions of it, a system that says what it is told."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from app.decision.policy import Policy
from tests.support.published_cases import dataset
from training.common.stages import Workspace
from training.data.benchmark import OpenedBenchmark, open_benchmark
from training.data.dataset import write_dataset
from training.data.records import Instance, Part
from training.evaluate.answers import Row
from training.evaluate.config import RuleConfig
from training.evaluate.metrics import AnsweredCall
from training.examples import Question

CARD = {"config": "cases", "seed": 1, "writer": "template", "tools": 6, "categories": 4, "instances": {}}
RANKER = RuleConfig(name="ranker", kind="ranker")


def benchmark(folder: Path, count: int = 3) -> OpenedBenchmark:
    """`count` instances of each part and setting, as if imported."""

    def produce(out: Path) -> dict[str, int]:
        write_dataset(dataset(count), out, CARD)
        return {"instances": count}

    Workspace(folder).run("dataset", produce, version=1, settings={})
    return open_benchmark(folder)


@cache
def questions(part: Part = Part.TEST, policy: Policy | None = None) -> Sequence[Question]:
    """Of 9 instances, embedded once."""
    made = dataset()
    return OpenedBenchmark(Path("nowhere"), made, None).questions().of(made.of(part), policy=policy)  # type: ignore[arg-type]


def right(instance: Instance) -> AnsweredCall:
    return AnsweredCall(instance.answer.tool_name, instance.answer.parameters)


class Telling:
    """Answers each instance with what `say` gives, and keeps the ids it was asked."""

    def __init__(self, say: Callable[[Instance], AnsweredCall] = right) -> None:
        self._say = say
        self.asked: list[str] = []

    async def answer(self, question: Question) -> Row:
        self.asked.append(question.instance.id)
        return Row(question.instance.id, self._say(question.instance))

    async def close(self) -> None:
        """Nothing is open."""
