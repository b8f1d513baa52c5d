"""Instances as a language model is asked them: the service's own candidates, hints, prompt and answer.

Training, pair sampling and evaluation all go through here, so that a model sees in training what it sees in service.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.answers.reading import write_answer
from app.decision.policy import Policy
from app.decision.ranking import Ranked, prepare, rank
from app.domain import Candidate, ToolCall
from app.errors import SetupError
from app.prompting.builder import BUDGET, PromptBuilder
from app.prompting.formats import PromptFormat
from app.prompting.prompt import Prompt, prompt_order
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.matcher import Matcher
from app.retrieval.preferences import PreferenceRanker
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Instance
from training.data.systems import Scene, Scenes


@dataclass(frozen=True, eq=False)
class Question:
    """An instance with all that the service would know of it when it asks the model."""

    instance: Instance
    ranked: Ranked
    """The ten candidates, best first by the preference ranker, with hints."""

    @property
    def ordered(self) -> list[Candidate]:
        """The candidates in the order of the prompt."""
        return prompt_order(self.ranked.candidates)


class Questions:
    """Turns instances into questions; holds what all of them share."""

    def __init__(
        self, scenes: Scenes, ranker: PreferenceRanker, matcher_of: Callable[[Instance], Matcher] | None = None
    ) -> None:
        """`matcher_of`: whose hints an instance gets, for prompt formats that are `matched`; None for the ranker's."""
        self._scenes = scenes
        self._ranker = ranker
        self._matcher_of = matcher_of

    def of(
        self, instances: Sequence[Instance], progress: Progress = NO_PROGRESS, policy: Policy | None = None
    ) -> list[Question]:
        """In the order of `instances`. `policy`: whether history and hints count; both do if it is None."""
        scenes = self._scenes.of(instances, progress)
        progress.start("Making hints", len(scenes))
        questions = []
        for scene in scenes:
            questions.append(self._question(scene, policy or Policy()))
            progress.advance(1)
        return questions

    def _question(self, scene: Scene, policy: Policy) -> Question:
        instance = scene.instance
        profile = self._ranker.profile(instance.setting, instance.history, self._scenes.signatures)
        ranked = rank(scene.found, profile, self._ranker)
        matcher = None if self._matcher_of is None else self._matcher_of(instance)
        return Question(instance, prepare(ranked, policy, matcher))


class Examples:
    """Writes questions with one model's tokenizer, in one prompt format."""

    def __init__(self, tokenizer: PromptTokenizer, format: PromptFormat, budget: int = BUDGET) -> None:  # noqa: A002
        """SetupError where the model has no token that ends an answer, or the format does not fit the budget."""
        if tokenizer.end is None:
            raise SetupError("The model's tokenizer names no eos_token: an answer would have no end.")
        self.builder = PromptBuilder(tokenizer, format, budget)
        self._tokenizer = tokenizer
        self._end = tokenizer.end

    def prompt(self, question: Question) -> Prompt:
        """Within the budget, by the builder's own rules: nothing is cut off. PromptTooLong where that cannot be."""
        instance = question.instance
        return self.builder.build(
            instance.instruction,
            question.ranked.profile.setting,
            question.ranked.profile.interactions,
            question.ordered,
            relevance=question.ranked.interaction_relevance or None,
            today=instance.asked_at.date(),
        )

    def answer(self, question: Question, prompt: Prompt, call: ToolCall | None = None) -> tuple[int, ...]:
        """Of the instance's right call, or of another one of a candidate. Raises ValueError for any other tool."""
        call = call or question.instance.answer
        ordered = question.ordered
        place = [candidate.tool.name for candidate in ordered].index(call.tool_name)
        label = prompt.labels[place] if prompt.labels else ""
        text = write_answer(ordered[place].tool, call.parameters, label, self.builder.format.answer)
        return (*self._tokenizer.encode(text), self._end)
