"""Systems without a language model: what the service does when it has none."""

from collections.abc import Callable, Mapping

from app.domain import Tool
from app.extraction import extract_parameters
from training.data.records import Instance
from training.data.systems import Chooser, Scenes, Systems
from training.evaluate.answers import Row
from training.evaluate.config import RuleConfig
from training.evaluate.metrics import AnsweredCall
from training.examples import Question


class ByRules:
    def __init__(self, config: RuleConfig, scenes: Scenes) -> None:
        systems = Systems(scenes)
        without_history: Mapping[str, Chooser] = {"retrieval": systems.retrieval, "fit": systems.fit}
        self._kind = config.kind
        self._choose: Callable[[Question], str]
        if config.kind == "ranker":
            self._choose = _best_ranked
        else:
            choose = without_history[config.kind]
            self._choose = lambda question: choose(scenes.of([question.instance])[0])

    async def answer(self, question: Question) -> Row:
        name = self._choose(question)
        tool = next(each.tool for each in question.ranked if each.tool.name == name)
        return Row(question.instance.id, _said(tool, question.instance), decided_by=self._kind)

    async def close(self) -> None:
        """There is nothing open."""


def _best_ranked(question: Question) -> str:
    return question.ranked[0].tool.name


def _said(tool: Tool, instance: Instance) -> AnsweredCall:
    return AnsweredCall(tool.name, extract_parameters(instance.instruction, tool, now=instance.asked_at).parameters)
