"""Our own model from nothing: tokenizer, examples, network, training that can be stopped."""

import random
from datetime import date
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from app.answers.reading import read_answer
from app.domain import AnswerStyle, Parameter, Tool, ToolCall
from app.model_files.manifest import read_manifest, verify_files
from app.prompting.tokenizer import PromptTokenizer
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS
from training.data.benchmark import OpenedBenchmark, open_benchmark
from training.data.records import Part
from training.pretraining.base import Material, make_base
from training.pretraining.config import Architecture, Pretraining, SmallConfig
from training.pretraining.network import SmallLlama
from training.pretraining.pretrain import Pretrainer, Writer, batches
from training.pretraining.tokenizer import save_tokenizer, train_tokenizer
from training.pretraining.uses import Drills, Redrawer, Rivals, Use, uses_of

SHAPE = Architecture(vocabulary=600, width=32, layers=2, heads=2, inner=48, context=1600)
CONFIG = SmallConfig(
    name="few",
    architecture=SHAPE,
    pretraining=Pretraining(examples=2048, step_tokens=4096, held_out=4, checkpoint_every=1, matrix_lr=0.02),
)


@pytest.fixture(scope="module")
def benchmark(tiny: Tiny) -> OpenedBenchmark:
    return open_benchmark(tiny.benchmark)


@pytest.fixture(scope="module")
def material(benchmark: OpenedBenchmark) -> Material:
    return Material.of(benchmark)


@pytest.fixture(scope="module")
def tokenizer(material: Material, tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(material.texts(), SHAPE.vocabulary), folder, SHAPE.context)
    return PromptTokenizer.load(folder)


def test_the_base_is_made_from_histories_and_no_right_call_of_an_instance(
    benchmark: OpenedBenchmark, material: Material
) -> None:
    answers = {instance.instruction for instance in benchmark.dataset.instances}
    assert material.uses
    assert answers.isdisjoint(use.instruction for use in material.uses)
    assert len(uses_of(benchmark.dataset.of(Part.TRAIN))) > len(material.uses)


def test_a_word_has_the_same_tokens_behind_a_space_and_behind_a_quotation_mark(tokenizer: PromptTokenizer) -> None:
    for word in ("Lisbon", "Zürich", "4711", "page_url", "x"):
        own = tokenizer.encode(word)
        for text in (f'"{word}"', f"go to {word} now", f"({word})", f'{{"to":"{word}"}}', f"{word}\n"):
            ids = tokenizer.encode(text)
            assert any(ids[at : at + len(own)] == own for at in range(len(ids))), (word, text)


def test_there_are_ten_labels(tokenizer: PromptTokenizer) -> None:
    assert len(tokenizer.labels(10)) == 10


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_its_tokens(tokenizer: PromptTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_values_are_redrawn_in_the_instruction_and_in_the_call_alike(material: Material) -> None:
    redrawer = Redrawer(material.uses)
    changed = 0
    for number, use in enumerate(material.uses):
        tool = material.tools[use.call.tool_name]
        drawn = redrawer.redraw(use, tool, random.Random(number), 1.0)
        for name, value in use.call.parameters.items():
            if drawn.call.parameters[name] != value:
                changed += 1
                assert str(drawn.call.parameters[name]) in drawn.instruction
                assert type(drawn.call.parameters[name]) is type(value)
                assert "enum" not in next(each for each in tool.parameters if each.name == name).schema
    assert changed > len(material.uses) / 2


def test_rivals_do_not_do_the_same(material: Material) -> None:
    rivals, chance = Rivals(material.tools), random.Random(1)
    counts = set()
    for use in material.uses:
        right = material.tools[use.call.tool_name]
        drawn = rivals.draw(use, chance)
        counts.add(len(drawn))
        assert [each.tool.name for each in drawn].count(right.name) == 1
        assert any(each.hints is not None and each.hints.overall == 0 for each in drawn)
        names = {parameter.name for parameter in right.parameters}
        for each in drawn:
            same = each.tool.category == right.category and {one.name for one in each.tool.parameters} == names
            assert each.tool is right or not same
    assert {1, 2, 3} < counts <= set(range(1, 11))


def test_a_drill_s_values_stand_in_its_instruction(material: Material) -> None:
    drills, chance = Drills(material.tools, material.uses), random.Random(1)
    for _ in range(200):
        use, tool = drills.draw(chance)
        assert use.call.parameters.keys() == {parameter.name for parameter in tool.parameters}
        assert all(str(value) in use.instruction for value in use.call.parameters.values())


def test_an_example_s_answer_is_the_call(material: Material, tokenizer: PromptTokenizer) -> None:
    tool = Tool("W.P.now", "W", "P", "now", "", (Parameter("city", {"type": "string"}, True, "City"),))
    use = Use("Weather in São Paulo", ToolCall("W.P.now", {"city": "São Paulo"}), date(2026, 1, 1))
    writer = Writer(CONFIG, tokenizer, {**material.tools, tool.name: tool}, [*material.uses, use])
    example = writer._example(use, random.Random(1))
    assert example is not None
    text = tokenizer.decode(example.tokens[example.start :]).removesuffix("<|end|>")
    label = tokenizer.decode([example.tokens[example.start + example.label]])
    answer = read_answer(text, [tool], [label], style=AnswerStyle.LABEL)
    assert answer.parameters == {"city": "São Paulo"}


def test_batches_hold_every_example_once_and_no_more_tokens_than_a_step_has(
    material: Material, tokenizer: PromptTokenizer
) -> None:
    examples = Writer(CONFIG, tokenizer, dict(material.tools), material.uses).pool(0)
    made = batches(examples, 4096, 3, 2.0)
    assert sum(len(batch.labels) for batch in made) == len(examples)
    assert all(batch.tokens.numel() <= 4096 or len(batch.tokens) == 1 for batch in made)
    wanted = sorted(number for example in examples for number in example.tokens[example.start :])
    assert sorted(number for batch in made for number in batch.wanted.tolist()) == wanted
    for batch in made:
        # What is to be predicted stands right behind the place it is predicted from.
        assert torch.equal(batch.tokens.view(-1)[batch.places + 1], batch.wanted)
        assert torch.equal(batch.weights[batch.labels], torch.full((len(batch.labels),), 2.0))


def test_transformers_computes_the_same_from_the_saved_directory(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = SmallLlama(SHAPE, 600)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    network.save(tmp_path, {"bos_token": 0, "eos_token": 1, "pad_token": 3})
    tokens = torch.randint(0, 600, (2, 37))
    with torch.no_grad():
        ours = network.logits(network(tokens).view(-1, SHAPE.width)).view(2, 37, 600)
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)(tokens).logits
    # Ours multiplies in bfloat16, which has 8 bits.
    assert torch.allclose(ours, theirs, atol=0.05 * float(theirs.abs().max()))
    assert (ours.argmax(-1) == theirs.argmax(-1)).float().mean() > 0.9


def test_training_that_was_stopped_ends_as_an_undisturbed_one(
    material: Material, tokenizer: PromptTokenizer, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def trainer(folder: str) -> Pretrainer:
        writer = Writer(CONFIG, tokenizer, dict(material.tools), material.uses)
        return Pretrainer(CONFIG, writer, 600, 3, tmp_path / folder)

    whole = trainer("whole")
    log = whole.train(NO_PROGRESS, lambda _: None)
    assert log[-1]["loss"] < log[0]["loss"]
    # Stopped before the second checkpoint is written: what came after the first is done again.
    told: list[str] = []

    def stop_at_second(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            raise Stop

    with pytest.raises(Stop):
        trainer("stopped").train(NO_PROGRESS, stop_at_second)
    resumed = trainer("stopped")
    resumed.train(NO_PROGRESS, lambda _: None)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_base_s_directory_says_what_it_is_and_is_kept(benchmark: OpenedBenchmark, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"pretraining": CONFIG.pretraining.model_copy(update={"examples": 1024})})
    out = tmp_path / "models" / "base"
    out.parent.mkdir()
    make_base(config, benchmark, out, tmp_path / "work", NO_PROGRESS, lambda _: None)
    manifest = read_manifest(out)
    assert manifest is not None
    verify_files(out, manifest)
    assert (manifest.stage, manifest.prompt_format, manifest.data) == ("base", "terse-1", benchmark.data)
    told: list[str] = []
    make_base(config, benchmark, out, tmp_path / "work", NO_PROGRESS, told.append)
    assert not told
    assert PromptTokenizer.load(out).end is not None
