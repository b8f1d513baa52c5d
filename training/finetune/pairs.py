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
from training.examples import Examples, Question
from training.finetune.config import PairSettings
from training.finetune.sampling import Sampled

SAMPLED, FALLBACK = "sampled", "fallback"
RIGHT, PREFERENCE, FUNCTIONALITY, PARAMETERS, INVALID = (
    "right", "preference", "functionality", "parameters", "invalid",
)  # fmt: skip
"""What a sampled call is: the right one; of a tool that does the job but is not preferred; of another tool; of the
right tool with other parameters; no call of a candidate."""


@dataclass(frozen=True)
class Pair:
    id: str
    """The instance's."""
    setting: str
    chosen: ToolCall
    rejected: ToolCall
    chosen_text: str
    rejected_text: str
    """As the prompt's format has an answer, without the token that ends it."""
    kind: str
    """What is wrong with the rejected call: preference, functionality or parameters."""
    source: str
    """`sampled`, or `fallback`."""
    seen: Mapping[str, int]
    """What the model's calls for the instruction were."""

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
class Verdict:
    kind: str
    call: ToolCall | None
    """None for `invalid`."""


def judge(text: str, question: Question, prompt: Prompt, examples: Examples) -> Verdict:
    instance = question.instance
    tools = [candidate.tool for candidate in question.ordered]
    labels = prompt.labels or [""] * len(tools)
    try:
        answer = read_answer(text, tools, labels, style=examples.builder.format.answer)
    except InvalidAnswer:
        return Verdict(INVALID, None)
    call = ToolCall(answer.tool.name, answer.parameters)
    if call.tool_name == instance.answer.tool_name:
        same = same_value(dict(call.parameters), dict(instance.answer.parameters))
        return Verdict(RIGHT if same else PARAMETERS, call)
    return Verdict(PREFERENCE if call.tool_name in instance.same_function else FUNCTIONALITY, call)


def same_value(one: Json, other: Json) -> bool:
    """As JSON: 1 is 1.0, but true is not 1."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Json) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool):
        return ("bool", value)
    return float(value) if isinstance(value, int) else value


def pair_of(question: Question, sampled: Sampled, examples: Examples, settings: PairSettings) -> Pair | None:
    """None where there is nothing to reject."""
    prompt = examples.prompt(question)
    verdicts = [judge(text, question, prompt, examples) for text in sampled.texts]
    right = question.instance.answer
    texts = {candidate.tool.name: place for place, candidate in enumerate(question.ordered)}

    def text_of(call: ToolCall) -> str:
        place = texts[call.tool_name]
        label = prompt.labels[place] if prompt.labels else ""
        return write_answer(question.ordered[place].tool, call.parameters, label, examples.builder.format.answer)

    found = _sampled_rejection(verdicts, settings.kinds, text_of)
    source = SAMPLED
    if found is None and settings.fallback:
        rival = _likeliest_rival(question, sampled.chances)
        found = None if rival is None else Verdict(PREFERENCE, rival)
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
        dict(Counter(verdict.kind for verdict in verdicts)),
    )


def _sampled_rejection(verdicts: Sequence[Verdict], kinds: Iterable[str], text_of: Any) -> Verdict | None:
    """The call sampled most often, the first of many, of the first kind that was sampled at all."""
    for kind in kinds:
        by_text: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            if verdict.kind == kind and verdict.call is not None:
                by_text.setdefault(text_of(verdict.call), []).append(verdict)
        if by_text:
            return max(by_text.values(), key=len)[0]
    return None


def _likeliest_rival(question: Question, chances: Mapping[str, float] | None) -> ToolCall | None:
    """The right parameters, as far as the tool has them, with the first rival that may be called so.

    Likeliest first by the model's log-probabilities; without them, best first by the ranker.
    """
    rivals = [each.tool for each in question.ranked.candidates if each.tool.name in question.instance.same_function]
    if chances is not None:
        rivals.sort(key=lambda tool: -chances[tool.name])
    for tool in rivals:
        carried = _carried(question.instance.answer.parameters, tool)
        if not parameter_problems(tool, carried):
            return ToolCall(tool.name, carried)
    return None


def _carried(parameters: Mapping[str, Json], tool: Tool) -> dict[str, Json]:
    known = {parameter.name for parameter in tool.parameters}
    return {name: value for name, value in parameters.items() if name in known}


def report_of(pairs: Sequence[Pair], questions: int, sampled: Sequence[Mapping[str, int]]) -> dict[str, Json]:
    """Counts: what the model wrote, and where the pairs come from. `sampled`: what the calls were, by question."""
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
