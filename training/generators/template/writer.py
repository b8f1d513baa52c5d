"""Text by template: from our own catalogue's frames, or from what a foreign document says."""

from collections.abc import Mapping, Sequence

from app.answers.validation import parameter_problems
from app.domain import HistorySetting, Interaction, Json, Tool
from app.retrieval.texts import split_name
from training.common.seeding import rng
from training.data.records import Attributes, ToolUse
from training.generators.catalogue.jobs import Job
from training.generators.lexicon import Attribute, lexicon
from training.generators.template.clauses import clause, sentences, without_inputs
from training.generators.template.parameters import is_known, label, value_of
from training.generators.template.requests import request
from training.generators.writer import PlannedInteraction, WriterRejected

_VERSION = "1"
_OPTIONAL = 0.3
_LONGEST_NOTE = 90


class TemplateWriter:
    def __init__(self, seed: int, jobs: Mapping[str, Job] | None = None) -> None:
        """`jobs`: the functionality of each tool of our own catalogue, by name; other tools speak for themselves."""
        self.name = f"template-{_VERSION}"
        self._seed = seed
        self._jobs = jobs or {}
        self._lexicon = lexicon()

    async def example(self, tool: Tool, key: str) -> ToolUse:
        return self._use(tool, [], "example", key)

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:  # noqa: ARG002
        """Reads the document alone: its sentences are about attributes, or about nothing, or say what the tool does."""
        of_function: list[str] = []
        found: list[Attribute] = []
        for sentence in sentences(tool.description):
            attribute = self._lexicon.of_sentence(sentence)
            if attribute is not None:
                found.append(attribute)
            elif not self._lexicon.is_neutral(sentence):
                of_function.append(sentence)
        found += self._lexicon.in_name(tool.provider)
        own = bool(found)
        if not own:
            found = self._lexicon.in_text(f"{tool.provider}. {tool.api}. {tool.description[:600]}")
        return Attributes(
            functionality=clause(tool, of_function[0] if of_function else ""),
            non_functional=self._phrase(tool, found, [] if own else of_function[1:2]),
        )

    async def history(
        self,
        setting: HistorySetting,  # noqa: ARG002 (templates do not speak of what the user thinks)
        planned: Sequence[PlannedInteraction],
        key: str,
    ) -> Sequence[ToolUse]:
        return [self._use(each.tool, [each.attributes], "history", key, place) for place, each in enumerate(planned)]

    async def instruction(
        self,
        history: Sequence[Interaction],  # noqa: ARG002
        tool: Tool,
        group: Sequence[Attributes],
        key: str,
        attempt: int,
    ) -> ToolUse:
        return self._use(tool, group, "instruction", key, attempt)

    def _phrase(self, tool: Tool, found: Sequence[Attribute], notes: Sequence[str]) -> str:
        """Tools with the same attributes have the same phrase, whatever the order and the words of their documents."""
        order = {key: place for place, key in enumerate(self._lexicon.attributes)}
        phrases = [each.phrase for each in sorted(set(found), key=lambda each: order[each.key])]
        if tool.name in self._jobs and phrases:
            return "; ".join(phrases)
        # A foreign document says who offers it rather than what it is like.
        about = f"for {split_name(tool.category).lower()} applications, offered as {split_name(tool.provider)}"
        return "; ".join([*phrases, about, *(note[:_LONGEST_NOTE] for note in notes)])

    def _use(self, tool: Tool, group: Sequence[Attributes], *key: object) -> ToolUse:
        random = rng(self._seed, *key, tool.name)
        job = self._jobs.get(tool.name)
        if job is not None:
            use = job.ask(random)
        else:
            # Whose words they are must not tell which of the group's tools is meant.
            said = (
                random.choice(group).functionality if group else clause(tool, "".join(sentences(tool.description)[:1]))
            )
            parameters: dict[str, Json] = {}
            spoken: list[tuple[str, str]] = []
            for parameter in tool.parameters:
                if not parameter.required and (random.random() >= _OPTIONAL or not is_known(parameter)):
                    continue
                value = value_of(parameter, random)
                if value is None and parameter.required:
                    raise WriterRejected("invalid_parameters", f"no value for {parameter.name}")
                if value is not None:
                    parameters[parameter.name] = value.value
                    spoken.append((label(parameter), value.said))
            use = ToolUse(request(without_inputs(said, (name for name, _ in spoken)), spoken, random), parameters)
        problems = parameter_problems(tool, use.parameters)
        if problems:
            raise WriterRejected("invalid_parameters", problems[0].reason)
        return use
