"""What a system is to the runner: a question in, an answer out."""

from dataclasses import dataclass
from typing import Protocol

from training.evaluate.answers import Row
from training.evaluate.metrics import AnsweredCall, ErrorKind
from training.examples import Question


class Failed(Exception):
    """There is no answer to this question, whatever is wrong with it; `detail` says why."""

    def __init__(self, detail: str, *, alone: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.alone = alone
        """It is this question that fails: it says nothing of others."""


class System(Protocol):
    """Safe to be asked by many tasks of one event loop at once."""

    async def answer(self, question: Question) -> Row:
        """Raises Failed; SetupError for what only the operator can put right."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Failure:
    """For the row of a question without an answer."""

    question: Question
    detail: str

    @property
    def row(self) -> Row:
        return Row(
            self.question.instance.id, AnsweredCall(None, None, ErrorKind.FAILED_REQUEST.value), detail=self.detail
        )
