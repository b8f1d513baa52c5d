"""DPO's pairs: what the model wrote told apart by the user's preference, and the fallback where it was always right."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.answers.reading import read_answer, write_answer
from app.answers.validation import parameter_problems
from app.decision.model import Model
from app.domain import Json, ToolCall
from app.errors import EngineDown, SetupError
from app.inference.engine import Generation, GenerationRequest
from app.prompting.formats import format_named
from app.prompting.tokenizer import PromptTokenizer
from tests.support.finetune_cases import dpo_values, sft_values
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS
from training.data.benchmark import open_benchmark
from training.data.records import Part
from training.examples import Examples, Question
from training.finetune.config import FinetuneConfig, PairSettings
from training.finetune.pair_rows import make_pairs
from training.finetune.pairs import FALLBACK, SAMPLED, Pair, choose_pair, count_pairs, judge_text
from training.finetune.sampling import Sampled, Sampler, read_samples, sample_all


@pytest.fixture(scope="module")
def questions(tiny: Tiny) -> list[Question]:
    benchmark = open_benchmark(tiny.benchmark)
    return benchmark.questions().of(benchmark.dataset.of(Part.TRAIN)[:8])


@pytest.fixture(scope="module", params=["hinted-1", "brief-1", "published-1"])
def examples(tiny: Tiny, request: pytest.FixtureRequest) -> Examples:
    return Examples(PromptTokenizer.load(tiny.base), format_named(request.param), 3000)


class Case:
    """One question, and texts as a model would write them for it."""

    def __init__(self, question: Question, examples: Examples) -> None:
        self.question, self.examples = question, examples
        self.prompt = examples.prompt(question)
        self.right = question.instance.answer
        self.rivals = [each for each in question.ordered if each.tool.name in question.instance.same_function]
        group = {self.right.tool_name, *question.instance.same_function}
        self.others = [each for each in question.ordered if each.tool.name not in group]

    def text(self, name: str, parameters: dict[str, Json]) -> str:
        place = [each.tool.name for each in self.question.ordered].index(name)
        label = self.prompt.labels[place] if self.prompt.labels else ""
        return write_answer(self.question.ordered[place].tool, parameters, label, self.examples.builder.format.answer)

    @property
    def right_text(self) -> str:
        return self.text(self.right.tool_name, dict(self.right.parameters))

    @property
    def rival_text(self) -> str:
        return self.text(self.rivals[0].tool.name, dict(self.right.parameters))

    @property
    def other_text(self) -> str:
        return self.text(self.others[0].tool.name, {})

    @property
    def wrong_text(self) -> str:
        return self.text(self.right.tool_name, dict.fromkeys(self.right.parameters, "elsewhere"))

    def pair(self, texts: list[str], chances: dict[str, float] | None = None, **settings: Any) -> Pair | None:
        sampled = Sampled(self.question.instance.id, tuple(texts), chances)
        return choose_pair(self.question, sampled, self.examples, PairSettings(**settings))


@pytest.fixture
def case(questions: list[Question], examples: Examples) -> Case:
    """One whose rivals take the right call's parameters, of which there are some."""
    for question in questions:
        case = Case(question, examples)
        if case.right.parameters and case.rivals and not parameter_problems(case.rivals[0].tool, case.right.parameters):
            return case
    raise AssertionError("the benchmark has none")


def test_what_the_model_wrote_is_told_apart(case: Case) -> None:
    texts = {
        "right": case.right_text,
        "preference": case.rival_text,
        "functionality": case.other_text,
        "parameters": case.wrong_text,
        "invalid": "I would look it up.",
    }
    found = {kind: judge_text(text, case.question, case.prompt, case.examples).kind for kind, text in texts.items()}
    assert found == {kind: kind for kind in texts}


def test_the_call_of_a_tool_that_is_not_preferred_is_rejected(case: Case) -> None:
    pair = case.pair([case.right_text, case.other_text, case.other_text, case.rival_text])
    assert pair is not None
    assert (pair.kind, pair.source) == ("preference", SAMPLED)
    assert pair.rejected.tool_name == case.rivals[0].tool.name
    assert (pair.chosen_text, pair.rejected_text) == (case.right_text, case.rival_text)
    assert pair.chosen == case.right
    assert pair.seen == {"right": 1, "functionality": 2, "preference": 1}


def test_of_several_the_one_written_most_often_is_rejected(case: Case) -> None:
    often = case.text(case.others[1].tool.name, {})
    pair = case.pair([case.other_text, often, often, case.right_text])
    assert pair is not None
    assert (pair.kind, pair.rejected_text) == ("functionality", often)


def test_wrong_parameters_are_rejected_only_if_asked_for(case: Case) -> None:
    pair = case.pair([case.wrong_text], kinds=("preference", "parameters"))
    assert pair is not None
    assert (pair.kind, pair.source, pair.rejected_text) == ("parameters", SAMPLED, case.wrong_text)
    pair = case.pair([case.wrong_text])
    assert pair is not None
    assert pair.source == FALLBACK


def test_a_model_that_is_always_right_gets_the_likeliest_rival(case: Case) -> None:
    """The right parameters are carried over."""
    names = [each.tool.name for each in case.question.ordered]
    for favourite in case.rivals:
        chances = {name: -1.0 if name == favourite.tool.name else -5.0 for name in names}
        pair = case.pair([case.right_text] * 3, chances)
        if parameter_problems(favourite.tool, case.right.parameters):
            continue
        assert pair is not None
        assert (pair.kind, pair.source) == ("preference", FALLBACK)
        assert pair.rejected == ToolCall(favourite.tool.name, case.right.parameters)
        assert pair.chosen == case.right


def test_without_the_fallback_there_is_no_pair_then(case: Case) -> None:
    assert case.pair([case.right_text], fallback=False) is None
    assert case.pair(["nothing"], fallback=False) is None


def test_without_probabilities_the_ranker_tells_the_likeliest(case: Case) -> None:
    pair = case.pair([case.right_text])
    assert pair is not None
    ranked = [
        each.tool.name for each in case.question.ranked.candidates if each.tool in [rival.tool for rival in case.rivals]
    ]
    assert pair.rejected.tool_name == ranked[0]


def test_pairs_are_counted_by_where_they_come_from(case: Case) -> None:
    texts = [[case.rival_text], [case.right_text], ["nothing"], [case.wrong_text]]
    pairs = [pair for each in texts if (pair := case.pair(each)) is not None]
    assert len(pairs) == 4
    report = count_pairs(pairs, 5, [pair.seen for pair in pairs])
    assert report["questions"] == 5
    assert report["without_pair"] == 1
    assert report["sampled"] == {"preference": 1}
    assert report["fallback"] == 3
    assert report["fallback_because"] == {
        "every call was right": 1, "no call was of a candidate": 1, "no call of the kinds asked for": 1
    }  # fmt: skip
    assert report["calls"] == {"preference": 1, "right": 1, "invalid": 1, "parameters": 1}


class Writing:
    """An engine that writes numbered texts, and breaks off after so many."""

    name = "scripted"

    def __init__(self, most: int = 1000) -> None:
        self.asked: list[GenerationRequest] = []
        self._most = most

    async def generate(self, request: GenerationRequest) -> Generation:
        if len(self.asked) >= self._most:
            raise EngineDown("enough")
        self.asked.append(request)
        await asyncio.sleep(0)
        logprobs = {label: -float(place) for place, label in enumerate(request.labels)}
        return Generation(f"text {len(self.asked)}", 1, 1, "model", label_logprobs=logprobs)

    async def ready(self) -> bool:
        return True

    async def watch(self) -> None: ...

    async def close(self) -> None: ...


def sampled(engine: Writing, examples: Examples, questions: list[Question], path: Path) -> None:
    sampler = Sampler(Model(engine, examples.builder, "sft"), PairSettings(samples=3, temperature=0.7))
    asyncio.run(sample_all(sampler, questions, path, NO_PROGRESS))


def test_sampling_goes_on_behind_what_is_there(examples: Examples, questions: list[Question], tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with pytest.raises(EngineDown):
        sampled(Writing(most=14), examples, questions, path)
    done = [each.id for each in read_samples(path)]
    assert 0 < len(done) < len(questions)
    with path.open("a") as file:
        file.write('{"id": "cut sho')
    again = Writing()
    sampled(again, examples, questions, path)
    rows = list(read_samples(path))
    assert [each.id for each in rows[: len(done)]] == done
    assert sorted(each.id for each in rows) == sorted(each.instance.id for each in questions)
    assert len(again.asked) == 3 * (len(questions) - len(done))
    assert {len(each.texts) for each in rows} == {3}


def test_the_model_is_asked_as_in_service(examples: Examples, questions: list[Question], tmp_path: Path) -> None:
    engine = Writing()
    sampled(engine, examples, questions[:1], tmp_path / "samples.jsonl")
    request, prompt = engine.asked[0], examples.prompt(questions[0])
    assert request.prompt == prompt.token_ids
    assert (request.adapter, request.temperature) == ("sft", 0.7)
    assert request.schema is not None
    assert len(request.schema["anyOf"]) == 10
    (row,) = read_samples(tmp_path / "samples.jsonl")
    if prompt.label_ids:
        assert row.chances == {each.tool.name: -float(place) for place, each in enumerate(questions[0].ordered)}
    else:
        assert row.chances is None


def test_pairs_are_sampled_from_the_adapter_and_can_be_read(tiny: Tiny) -> None:
    config = FinetuneConfig.model_validate(dpo_values(tiny.base, tiny.benchmark, tiny.work, name="pairs"))
    made = make_pairs(config, NO_PROGRESS)
    rows = [json.loads(line) for line in (made.directory / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == made.report["pairs"] <= 16
    benchmark = open_benchmark(tiny.benchmark)
    by_id = {each.id: each for each in benchmark.dataset.instances}
    for row in rows:
        instance = by_id[row["id"]]
        assert row["chosen"] == {"tool_name": instance.answer.tool_name, "parameters": dict(instance.answer.parameters)}
        if row["kind"] == "preference":
            assert row["rejected"]["tool_name"] in instance.same_function
        tools = [benchmark.dataset.tools[name] for name in instance.candidates]
        labels = [""] * len(tools)
        style = format_named("published-1").answer
        text = row["rejected_text"].replace(f'"{row["rejected_text"][14]} ', '"')
        assert read_answer(text, tools, labels, style=style).tool.name == row["rejected"]["tool_name"]
    before = made.report["digest"]
    assert make_pairs(config, NO_PROGRESS).report["digest"] == before


def test_dpo_of_an_adapter_that_does_not_exist_is_told(tiny: Tiny, tmp_path: Path) -> None:
    config = FinetuneConfig.model_validate(dpo_values(tiny.base, tiny.benchmark, tmp_path))
    with pytest.raises(SetupError, match="run petool-train sft first"):
        make_pairs(config, NO_PROGRESS)
    sft = FinetuneConfig.model_validate(sft_values(tiny.base, tiny.benchmark, tmp_path))
    assert sft.adapter is None
