"""Instances as a language model is asked them: the service's own candidates, hints, prompt and answer.

Training, pair sampling and evaluation all go through here, so that a model sees in training what it sees in service.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from app.answers.reading import write_answer
from app.decision.ranked import Ranked
from app.domain import Candidate, HistorySetting, ToolCall
from app.errors import SetupError
from app.extraction.extract import input_features
from app.prompting.builder import BUDGET, PromptBuilder
from app.prompting.formats import PromptFormat
from app.prompting.prompt import Prompt, prompt_order
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.functional_fit import functional_fit
from app.retrieval.matcher import Matcher
from app.retrieval.preferences import PreferenceRanker, Profile
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Instance
from training.data.systems import Scene, Scenes


@dataclass(frozen=True)
class Question:
    """An instance with all that the service would know of it when it asks the model."""

    instance: Instance
    ranked: tuple[Candidate, ...]
    """The ten candidates, best first by the preference ranker, with hints."""
    profile: Profile
    relevance: tuple[float, ...] | None
    """Of each of the profile's interactions to the candidates; None without history."""

    @property
    def ordered(self) -> list[Candidate]:
        """In the order of the prompt."""
        return prompt_order(self.ranked)


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
        self, instances: Sequence[Instance], progress: Progress = NO_PROGRESS, *, history: bool = True
    ) -> list[Question]:
        """In the order of `instances`. `history`: False asks as if the user had none (the paper's ablation)."""
        scenes = self._scenes.of(instances, progress)
        progress.start("Making hints", len(scenes))
        questions = []
        for scene in scenes:
            questions.append(self._question(scene, history))
            progress.advance(1)
        return questions

    def _question(self, scene: Scene, history: bool) -> Question:
        instance = scene.instance
        setting = instance.setting if history else HistorySetting.NONE
        profile = self._ranker.profile(setting, instance.history, self._scenes.signatures)
        candidates = self._ranker.rank(functional_fit(scene.found), scene.tools, scene.attributes, profile)
        ranked = Ranked.of(candidates, scene.found, scene.attributes, scene.queries, profile)
        relevance = ranked.interaction_relevance
        return Question(instance, tuple(self._hinted(instance, ranked)), profile, tuple(relevance) or None)

    def _hinted(self, instance: Instance, ranked: Ranked) -> list[Candidate]:
        if self._matcher_of is None:
            return ranked.hinted()
        tools = [candidate.tool for candidate in ranked.candidates]
        return ranked.matched(
            self._matcher_of(instance), input_features(instance.instruction, tools, now=instance.asked_at)
        )


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
            question.profile.setting,
            question.profile.interactions,
            question.ordered,
            relevance=question.relevance,
            today=today_of(instance),
        )

    def answer(self, question: Question, prompt: Prompt, call: ToolCall | None = None) -> tuple[int, ...]:
        """Of the instance's right call, or of another one of a candidate. Raises ValueError for any other tool."""
        call = call or question.instance.answer
        ordered = question.ordered
        place = [candidate.tool.name for candidate in ordered].index(call.tool_name)
        label = prompt.labels[place] if prompt.labels else ""
        text = write_answer(ordered[place].tool, call.parameters, label, self.builder.format.answer)
        return (*self._tokenizer.encode(text), self._end)


def today_of(instance: Instance) -> date:
    return instance.asked_at.date()
