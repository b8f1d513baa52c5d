"""Prompts as token ids: the service's own, kept on disk, and none of them cut."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import SetupError
from app.prompting.tokenizer import PromptTokenizer
from tests.support.finetune_cases import BUDGET, sft_values
from tests.training.conftest import Tiny
from training.common.stages import Progress
from training.data.benchmark import open_benchmark
from training.data.records import Part
from training.examples import Examples
from training.finetune.config import FinetuneConfig
from training.finetune.prompts import WrittenExamples, write_examples
from training.finetune.sources import Sources, find_sources


class Steps:
    def __init__(self) -> None:
        self.started: list[str] = []
        self.progress = Progress(lambda label, _: self.started.append(label))


def written(tiny: Tiny, work: Path, steps: Steps, **changes: object) -> tuple[WrittenExamples, Sources]:
    config = FinetuneConfig.model_validate(sft_values(tiny.base, tiny.benchmark, work, **changes))
    sources = find_sources(config)
    return write_examples(open_benchmark(tiny.benchmark), sources, config, steps.progress), sources


def test_rows_are_the_services_prompts_and_the_right_calls(tiny: Tiny, tmp_path: Path) -> None:
    rows, sources = written(tiny, tmp_path, Steps())
    benchmark = open_benchmark(tiny.benchmark)
    train = benchmark.dataset.of(Part.TRAIN)
    assert sorted(rows.rows["id"]) == sorted(each.id for each in train)
    by_id = {row["id"]: row for row in rows.rows}
    tokenizer = PromptTokenizer.load(tiny.base)
    examples = Examples(tokenizer, sources.format, BUDGET)
    for question in benchmark.questions().of(train[:5]):
        row, prompt = by_id[question.instance.id], examples.prompt(question)
        assert row["prompt"] == list(prompt.token_ids)
        assert len(row["prompt"]) <= BUDGET
        text = tokenizer.decode(row["answer"])
        assert question.instance.answer.tool_name in text
        assert row["answer"][-1] == tokenizer.end
        assert row["length"] == len(row["prompt"]) + len(row["answer"])
        place = [each.tool.name for each in question.ordered].index(question.instance.answer.tool_name)
        assert row["answer"][row["label"]] == prompt.label_ids[place]


def test_prompts_are_written_once(tiny: Tiny, tmp_path: Path) -> None:
    first, again, other = Steps(), Steps(), Steps()
    one, _ = written(tiny, tmp_path, first, instances=8)
    assert "Writing prompts" in first.started
    two, _ = written(tiny, tmp_path, again, instances=8)
    assert again.started == []
    assert one.rows.to_list() == two.rows.to_list()
    assert one.digest == two.digest
    three, _ = written(tiny, tmp_path, other, instances=8, prompt_tokens=BUDGET + 50)
    assert "Writing prompts" in other.started
    assert three.digest != one.digest


def test_written_anew_they_have_the_same_digest(tiny: Tiny, tmp_path: Path) -> None:
    digests = {written(tiny, tmp_path / name, Steps(), instances=8)[0].digest for name in ("a", "b")}
    assert len(digests) == 1


def test_formats_without_labels_have_no_place_of_one(tiny: Tiny, tmp_path: Path) -> None:
    rows, _ = written(tiny, tmp_path, Steps(), instances=5, prompt_format="published-1", prompt_tokens=3000)
    assert set(rows.rows["label"]) == {-1}


def test_an_example_that_does_not_fit_the_budget_is_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Instance \w+-\d has no prompt"):
        written(tiny, tmp_path, Steps(), prompt_tokens=700)


def test_an_example_that_is_longer_than_the_model_takes_is_named(tiny: Tiny, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    for file in tiny.base.iterdir():
        text = file.read_bytes()
        if file.name == "config.json":
            text = text.replace(b'"max_position_embeddings": 4352', b'"max_position_embeddings": 1520')
        (short / file.name).write_bytes(text)
    with pytest.raises(SetupError, match=r"Instance \w+-\d has \d+ tokens with its answer, and short takes 1520"):
        written(replace(tiny, base=short), tmp_path, Steps())


def test_what_is_held_out_is_the_same_in_every_stage_and_not_trained_on(tiny: Tiny, tmp_path: Path) -> None:
    rows, _ = written(tiny, tmp_path, Steps())
    train, held_out = rows.split(6, seed=1)
    assert len(held_out) == 6
    assert {*train["id"]} | {*held_out["id"]} == {*rows.rows["id"]}
    assert not {*train["id"]} & {*held_out["id"]}
    assert sorted(held_out["id"]) == sorted(rows.held_out_ids(6, 1))
    assert sorted(rows.split(6, seed=2)[1]["id"]) != sorted(held_out["id"])


def test_more_held_out_than_there_are_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="hold out fewer"):
        written(tiny, tmp_path, Steps(), evaluation={"instances": 30})


def test_the_settings_of_the_history_can_be_chosen(tiny: Tiny, tmp_path: Path) -> None:
    rows, _ = written(tiny, tmp_path, Steps(), settings=["chronological"])
    told = {each.id: each.setting.value for each in open_benchmark(tiny.benchmark).dataset.instances}
    assert {told[name] for name in rows.rows["id"]} == {"chronological"}
    assert len(rows.rows) == 10


def test_a_base_without_a_manifest_needs_a_format(tiny: Tiny, tmp_path: Path) -> None:
    config = FinetuneConfig.model_validate(sft_values(tiny.base, tiny.benchmark, tmp_path, prompt_format=None))
    with pytest.raises(SetupError, match="give prompt_format"):
        find_sources(config)
