"""DPO's preference data D = {(x, c_w, c_l)}: a call that the user prefers against one they do not (paper, section 4).

The paper samples calls from the SFT model and tells them apart by the preference that the benchmark was built with. So
here: c_w is the right call, c_l the call that the model wrote most often of a tool that does the job but is not
preferred; where it wrote none, one that is wrong in another of the configured ways. A model that is right every time
gives no contrast; then, unless `fallback` is off, c_l is the right call's parameters with the tool, of those that do
the job but are not preferred, which the model holds likeliest. Every pair says where it comes from.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.answers.reading import read_answer, write_answer
from app.answers.validation import parameter_problems
from app.domain import Json, Tool, ToolCall
from app.errors import InvalidAnswer
from app.prompting.prompt import Prompt
from training.data.records import call_to_json
from training.evaluate.metrics import AnsweredCall, ErrorKind, judge
from training.examples import Examples, Question
from training.finetune.config import PairSettings
from training.finetune.sampling import Sampled

SAMPLED, FALLBACK = "sampled", "fallback"
RIGHT, PREFERENCE, FUNCTIONALITY, PARAMETERS, INVALID = (
    "right", "preference", "functionality", "parameters", "invalid",
)  # fmt: skip
"""Kinds of sampled calls: the right one; one of a tool that does the job but is not preferred; of another tool; of the
right tool with other parameters; no call of a candidate."""
_KINDS = {
    None: RIGHT,
    ErrorKind.TOOL_PREFERENCE_MISMATCH: PREFERENCE,
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH: FUNCTIONALITY,
    ErrorKind.PARAMETER_NAME_MISMATCH: PARAMETERS,
    ErrorKind.PARAMETER_VALUE_MISMATCH: PARAMETERS,
}


@dataclass(frozen=True)
class Pair:
    id: str
    """The instance's."""
    setting: str
    chosen: ToolCall
    rejected: ToolCall
    chosen_text: str
    rejected_text: str
    """Both calls in the prompt's answer format, without the token that ends an answer."""
    kind: str
    """What is wrong with the rejected call: preference, functionality or parameters."""
    source: str
    """`sampled`, or `fallback`."""
    seen: Mapping[str, int]
    """How many of the model's calls for the instruction were of each kind."""

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "setting": self.setting,
            "kind": self.kind,
            "source": self.source,
            "seen": dict(self.seen),
            "chosen": call_to_json(self.chosen),
            "rejected": call_to_json(self.rejected),
            "chosen_text": self.chosen_text,
            "rejected_text": self.rejected_text,
        }


@dataclass(frozen=True)
class JudgedCall:
    kind: str
    call: ToolCall | None
    """None for `invalid`."""


def judge_text(text: str, question: Question, prompt: Prompt, examples: Examples) -> JudgedCall:
    """Tell of which kind a sampled text is, as evaluation would judge it."""
    tools = [candidate.tool for candidate in question.ordered]
    labels = prompt.labels or [""] * len(tools)
    try:
        answer = read_answer(text, tools, labels, style=examples.builder.format.answer)
    except InvalidAnswer:
        return JudgedCall(INVALID, None)
    judgement = judge(AnsweredCall(answer.tool.name, answer.parameters), question.instance)
    return JudgedCall(_KINDS[judgement.error], ToolCall(answer.tool.name, answer.parameters))


def choose_pair(question: Question, sampled: Sampled, examples: Examples, settings: PairSettings) -> Pair | None:
    """Choose what is rejected for the right call; None where there is nothing to reject."""
    prompt = examples.prompt(question)
    calls = [judge_text(text, question, prompt, examples) for text in sampled.texts]
    right = question.instance.answer
    texts = {candidate.tool.name: place for place, candidate in enumerate(question.ordered)}

    def text_of(call: ToolCall) -> str:
        place = texts[call.tool_name]
        label = prompt.labels[place] if prompt.labels else ""
        return write_answer(question.ordered[place].tool, call.parameters, label, examples.builder.format.answer)

    found = _sampled_rejection(calls, settings.kinds, text_of)
    source = SAMPLED
    if found is None and settings.fallback:
        rival = _likeliest_rival(question, sampled.chances)
        found = None if rival is None else JudgedCall(PREFERENCE, rival)
        source = FALLBACK
    if found is None or found.call is None:
        return None
    return Pair(
        question.instance.id,
        question.instance.setting.value,
        right,
        found.call,
        text_of(right),
        text_of(found.call),
        found.kind,
        source,
        dict(Counter(call.kind for call in calls)),
    )


def _sampled_rejection(calls: Sequence[JudgedCall], kinds: Iterable[str], text_of: Any) -> JudgedCall | None:
    """Of the first kind that was sampled at all, the call sampled most often."""
    for kind in kinds:
        by_text: dict[str, list[JudgedCall]] = {}
        for judged in calls:
            if judged.kind == kind and judged.call is not None:
                by_text.setdefault(text_of(judged.call), []).append(judged)
        if by_text:
            return max(by_text.values(), key=len)[0]
    return None


def _likeliest_rival(question: Question, chances: Mapping[str, float] | None) -> ToolCall | None:
    """Return the right parameters, as far as the tool has them, with the likeliest rival that takes them.

    The model's log-probabilities tell what is likeliest; without them, the ranker does.
    """
    rivals = [each.tool for each in question.ranked.candidates if each.tool.name in question.instance.same_function]
    if chances is not None:
        rivals.sort(key=lambda tool: -chances[tool.name])
    for tool in rivals:
        parameters = _known_parameters(question.instance.answer.parameters, tool)
        if not parameter_problems(tool, parameters):
            return ToolCall(tool.name, parameters)
    return None


def _known_parameters(parameters: Mapping[str, Json], tool: Tool) -> dict[str, Json]:
    known = {parameter.name for parameter in tool.parameters}
    return {name: value for name, value in parameters.items() if name in known}


def count_pairs(pairs: Sequence[Pair], questions: int, sampled: Sequence[Mapping[str, int]]) -> dict[str, Json]:
    """Count what the model wrote, and where the pairs come from; `sampled` has the calls' kinds, by question."""
    calls: Counter[str] = Counter()
    for each in sampled:
        calls.update(each)
    fallbacks = [each for each in pairs if each.source == FALLBACK]
    return {
        "questions": questions,
        "pairs": len(pairs),
        "without_pair": questions - len(pairs),
        "sampled": dict(Counter(each.kind for each in pairs if each.source == SAMPLED)),
        "fallback": len(fallbacks),
        "fallback_because": dict(
            Counter(
                "every call was right" if set(each.seen) == {RIGHT} else
                "no call was of a candidate" if set(each.seen) == {INVALID} else "no call of the kinds asked for"
                for each in fallbacks
            )
        ),
        "calls": dict(calls.most_common()),
    }  # fmt: skip
