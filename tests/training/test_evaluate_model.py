"""Models of the service's engines on the benchmark: the scripted engine, and a real one in this process."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.answers.reading import write_answer
from app.decision.model import Model
from app.decision.policy import Policy
from app.domain import AnswerStyle
from app.errors import EngineDown, EngineRefused, SetupError
from app.inference.engine import GenerationRequest
from app.prompting.builder import PromptBuilder
from app.prompting.formats import format_named
from app.prompting.tokenizer import PromptTokenizer
from tests.support.evaluate_cases import benchmark, questions
from tests.support.fake_vllm import FakeVllm, answering, completion, reply
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_model import tiny_adapter, tiny_model, tiny_tokenizer
from training.data.records import Part
from training.evaluate.answers import AnswerFile
from training.evaluate.build_system import open_system
from training.evaluate.config import ModelConfig
from training.evaluate.metrics import AnsweredCall, judge
from training.evaluate.patience import Failed
from training.evaluate.run import Evaluation, Selection
from training.evaluate.systems import ModelSystem, RightCutPrompts
from training.examples import Question

QUESTION = questions()[1]
OTHER = [each.tool.name for each in QUESTION.ordered].index(QUESTION.ranked.candidates[-1].tool.name)
"""Place of the tool that the ranker wants least."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(directory)
    return PromptTokenizer.load(directory)


async def no_sleep(_: float) -> None:
    pass


def system(
    tokenizer: PromptTokenizer,
    engine: ScriptedEngine,
    *,
    format: str = "hinted-1",  # noqa: A002
    budget: int = 4000,
    **settings: Any,
) -> ModelSystem:
    config = ModelConfig.model_validate({"name": "m", "kind": "model", "base": "b", **settings})
    prompts = (RightCutPrompts if config.right_cut else PromptBuilder)(tokenizer, format_named(format), budget)
    return ModelSystem(config, Model(engine, prompts), sleep=no_sleep)


def right_answer(question: Question, style: AnswerStyle) -> str:
    names = [candidate.tool.name for candidate in question.ordered]
    place = names.index(question.instance.answer.tool_name)
    label = "" if style is AnswerStyle.NAME else "ABCDEFGHIJ"[place]
    return write_answer(question.ordered[place].tool, question.instance.answer.parameters, label, style)


def favouring(question: Question, favourite: int) -> Any:
    """Label log-probabilities that favour one place of the prompt."""
    return lambda request: {label: -0.1 if at == favourite else -5.0 for at, label in enumerate(request.labels)}


async def test_a_right_answer_is_read_as_the_right_call_with_probabilities(tokenizer: PromptTokenizer) -> None:
    place = [each.tool.name for each in QUESTION.ordered].index(QUESTION.instance.answer.tool_name)
    engine = ScriptedEngine(
        lambda _: right_answer(QUESTION, AnswerStyle.LABELLED_NAME), label_logprobs=favouring(QUESTION, place)
    )
    row = await system(tokenizer, engine).answer(QUESTION)
    # A required parameter that the benchmark's call lacks takes the document's default, as in service.
    assert row.call == AnsweredCall(
        QUESTION.instance.answer.tool_name, {"sort": "asc", **QUESTION.instance.answer.parameters}
    )
    assert row.probabilities is not None
    assert max(row.probabilities, key=row.probabilities.__getitem__) == QUESTION.instance.answer.tool_name
    request = engine.requests[0]
    assert (request.temperature, request.schema is not None, row.decided_by) == (0.1, True, "model")


async def test_fused_has_the_model_write_the_other_tool_anew(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine()
    row = await system(tokenizer, engine, decision="fused", fusion_weight=1.0).answer(QUESTION)
    assert (row.call.tool, row.decided_by) == (QUESTION.ranked.candidates[0].tool.name, "fused")
    whole, one = [request.schema for request in engine.requests]
    assert whole is not None
    assert one is not None
    assert ("anyOf" in whole, "anyOf" in one) == (True, False)
    await system(tokenizer, engine, decision="fused", fusion_weight=0.0).answer(QUESTION)
    assert len(engine.requests) == 3


async def test_fused_keeps_the_models_own_answer_where_the_other_is_not_written(tokenizer: PromptTokenizer) -> None:
    other = QUESTION.ordered[OTHER].tool
    own = write_answer(other, {}, "ABCDEFGHIJ"[OTHER], AnswerStyle.LABELLED_NAME)

    def once(request: GenerationRequest) -> Any:
        assert request.schema is not None
        return own if "anyOf" in request.schema else EngineRefused("no")

    engine = ScriptedEngine(once, label_logprobs=favouring(QUESTION, OTHER))
    row = await system(tokenizer, engine, decision="fused", fusion_weight=1.0).answer(QUESTION)
    assert (row.call.tool, row.decided_by, len(engine.requests)) == (other.name, "model", 2)


async def test_parameters_may_be_the_rules(tokenizer: PromptTokenizer) -> None:
    written = json.loads(right_answer(QUESTION, AnswerStyle.LABELLED_NAME)) | {"parameters": {"days": 5}}
    engine = ScriptedEngine(lambda _: json.dumps(written))
    by_model = await system(tokenizer, engine).answer(QUESTION)
    by_rules = await system(tokenizer, engine, parameters="rules").answer(QUESTION)
    assert (by_model.call.parameters, by_model.call.tool) == ({"sort": "asc", "days": 5}, by_rules.call.tool)
    assert by_rules.call.parameters != {"days": 5}


async def test_free_generation_may_be_anything(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine(lambda _: "I would rather not.")
    row = await system(tokenizer, engine, schema=False, fallback=False).answer(QUESTION)
    assert engine.requests[0].schema is None
    assert (row.call.problem, row.text) == ("invalid_format", "I would rather not.")
    engine.answer = lambda _: '{"tool_name": "Made.Up.Tool", "parameters": {"days": 3}}'
    row = await system(tokenizer, engine, schema=False, fallback=False).answer(QUESTION)
    assert (row.call.problem, row.call.parameters) == ("tool_hallucination", {"days": 3})


async def test_what_is_no_call_is_answered_by_the_ranker_as_in_service(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine(lambda _: "I would rather not.")
    row = await system(tokenizer, engine, schema=False).answer(QUESTION)
    assert (row.call.tool, row.call.problem) == (QUESTION.ranked.candidates[0].tool.name, None)
    assert (row.decided_by, row.text) == ("ranker", "I would rather not.")


async def test_invalid_parameters_are_repaired_as_in_service(tokenizer: PromptTokenizer) -> None:
    written = json.loads(right_answer(QUESTION, AnswerStyle.LABELLED_NAME)) | {
        "parameters": {"days": "5", "made": "up"}
    }
    row = await system(tokenizer, ScriptedEngine(lambda _: json.dumps(written))).answer(QUESTION)
    assert row.call.parameters is not None
    assert row.call.parameters["days"] == 5
    assert "made" not in row.call.parameters


async def test_candidates_that_do_not_fit_are_left_out_as_in_service(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine()
    whole = await system(tokenizer, engine).answer(QUESTION)
    budget = len(engine.requests[0].prompt) // 2
    row = await system(tokenizer, engine, budget=budget).answer(QUESTION)
    assert row.call.tool in {each.tool.name for each in QUESTION.ranked.candidates}
    assert len(engine.requests[1].labels) < len(engine.requests[0].labels)
    assert len(row.probabilities or ()) == len(engine.requests[1].labels) < len(whole.probabilities or ())


async def test_right_cut_prompts_lose_their_right_end(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine()
    await system(tokenizer, engine, format="published-1").answer(QUESTION)
    whole = engine.requests[0].prompt
    await system(tokenizer, engine, format="published-1", budget=600, right_cut=True).answer(QUESTION)
    assert engine.requests[1].prompt == whole[:600]
    assert QUESTION.instance.instruction in tokenizer.decode(whole)
    assert QUESTION.instance.instruction not in tokenizer.decode(whole[:600])


async def test_without_hints_candidates_are_told_apart_by_nothing_in_them(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine()
    for hints in (True, False):
        await system(tokenizer, engine).answer(questions(policy=Policy(hints=hints))[1])
    said = [tokenizer.decode(request.prompt) for request in engine.requests]
    assert (
        said[1].count("fit 9, liked 9, disliked 9") == len(QUESTION.ranked.candidates) > said[0].count("fit 9, liked 9")
    )


async def test_an_engine_that_is_away_is_asked_again_and_one_that_refuses_is_not(tokenizer: PromptTokenizer) -> None:
    engine = ScriptedEngine()
    answers: list[Any] = [EngineDown("away"), EngineDown("away"), right_answer(QUESTION, AnswerStyle.LABELLED_NAME)]
    engine.answer = lambda _: answers.pop(0)
    assert judge((await system(tokenizer, engine).answer(QUESTION)).call, QUESTION.instance).tool
    engine.answer = lambda _: EngineDown("away")
    with pytest.raises(Failed, match="asked 3 times"):
        await system(tokenizer, engine, retries=2).answer(QUESTION)
    engine.answer = lambda _: EngineRefused("too long")
    with pytest.raises(Failed, match="too long"):
        await system(tokenizer, engine, retries=2).answer(QUESTION)
    assert len(engine.requests) == 3 + 3 + 1


async def test_a_prompt_without_room_for_any_candidate_is_answered_by_the_ranker_or_fails_alone(
    tokenizer: PromptTokenizer,
) -> None:
    engine = ScriptedEngine()
    row = await system(tokenizer, engine, budget=610).answer(QUESTION)
    assert (row.call.tool, row.decided_by) == (QUESTION.ranked.candidates[0].tool.name, "ranker")
    with pytest.raises(Failed) as failed:
        await system(tokenizer, engine, budget=610, fallback=False).answer(QUESTION)
    assert failed.value.alone
    assert not engine.requests


async def test_a_model_behind_vllm_is_asked_by_its_names_there(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path)
    server = FakeVllm()
    server.behaviour = answering(reply(completion(right_answer(QUESTION, AnswerStyle.LABELLED_NAME), model="dpo")))
    await server.start()
    values = {"name": "v", "kind": "model", "engine": "vllm", "base": str(tmp_path), "url": server.url}
    config = ModelConfig.model_validate(
        {**values, "adapter": "models/none/dpo", "served_model": "big", "prompt_format": "hinted-1"}
    )
    for settings, model in (({}, "dpo"), ({"served_adapter": "one"}, "one"), ({"adapter": None}, "big")):
        opened = open_system(config.model_copy(update=settings))
        row = await opened.answer(QUESTION)
        assert judge(row.call, QUESTION.instance).tool
        assert server.received[-1].document["model"] == model
        await opened.close()
    await server.stop()


def test_a_model_in_this_process_is_evaluated_from_its_files(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    adapter = tiny_adapter(base, tmp_path / "adapter", 1)
    values = {"name": "tiny", "kind": "model", "base": str(base), "adapter": str(adapter), "threads": 1}
    config = ModelConfig.model_validate({**values, "prompt_format": "hinted-1", "max_tokens": 60})
    evaluation = Evaluation(benchmark(tmp_path / "benchmark"))
    done = evaluation.evaluate(config, Selection(Part.TEST, count=2))
    assert (done.counts.asked, done.counts.failed) == (2, 0)
    assert all(row.text and row.probabilities for row in AnswerFile(done.directory).rows(Part.TEST).values())
    # Other weights are another system.
    tiny_adapter(base, adapter, 2)
    with pytest.raises(SetupError, match=r"adapter adapter_model\.safetensors changed"):
        evaluation.evaluate(config, Selection(Part.TEST))
    gone = ModelConfig.model_validate({**values, "adapter": str(tmp_path / "gone")})
    with pytest.raises(SetupError, match="train it first"):
        evaluation.evaluate(gone, Selection(Part.TEST))
    with pytest.raises(SetupError, match="prompt_format"):
        evaluation.evaluate(ModelConfig.model_validate({**values, "name": "other"}), Selection(Part.TEST))
