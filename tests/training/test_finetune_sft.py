"""Supervised fine-tuning from a config to an adapter that the service takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import SetupError
from app.inference.local.adapters import Adapters
from app.inference.local.model import CausalModel, Piece
from app.model_files.manifest import read_manifest, verify_files, weights_digest
from app.prompting.tokenizer import PromptTokenizer
from tests.support.finetune_cases import BUDGET, run, sft_values
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS, Progress
from training.data.benchmark import open_benchmark
from training.finetune.batches import IGNORED, AnswerCollator
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_model, load_tokenizer
from training.finetune.prompts import write_examples
from training.finetune.sources import find_sources
from training.finetune.trainers import AnswerTrainer, newest_checkpoint, training_arguments


def test_the_adapter_is_one_that_the_local_engine_takes_and_changes_its_answers(tiny: Tiny) -> None:
    model = CausalModel(tiny.base, device="cpu", dtype="float32")
    adapters = Adapters(model)
    adapters.load("sft", tiny.adapter)
    logits = []
    for name in (None, "sft"):
        adapters.activate(name)
        logits.append(model.forward([Piece(model.new_cache(8), 0, [5, 6, 7], [2])]))
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_manifest_and_card_tell_what_it_is(tiny: Tiny) -> None:
    manifest = read_manifest(tiny.adapter)
    assert manifest is not None
    verify_files(tiny.adapter, manifest)
    assert {*manifest.files} == {"adapter_config.json", "adapter_model.safetensors", "loss.png"}
    assert (manifest.kind, manifest.stage, manifest.name) == ("adapter", "sft", "tiny-sft")
    assert (manifest.prompt_format, manifest.prompt_tokens) == ("hinted-1", BUDGET)
    assert manifest.base is not None
    assert manifest.base.digest == weights_digest(tiny.base)
    assert manifest.data == open_benchmark(tiny.benchmark).data
    assert manifest.scores["steps"] == 4
    assert manifest.scores["examples"] == 26
    card = (tiny.adapter / "README.md").read_text("utf-8")
    assert f"{manifest.scores['eval_loss']:.4g}" in card
    assert "hinted-1" in card
    assert "![loss](loss.png)" in card


def test_the_adapters_config_names_the_base_as_the_run_does(tiny: Tiny) -> None:
    values = json.loads((tiny.adapter / "adapter_config.json").read_text("utf-8"))
    assert values["base_model_name_or_path"] == str(tiny.base)
    assert values["target_modules"] == sorted(values["target_modules"])
    assert (values["r"], values["lora_alpha"]) == (4, 8)


def test_logs_are_written_for_tensorboard(tiny: Tiny) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    events = EventAccumulator(str(tiny.work / "work" / "runs" / "tiny-sft" / "tensorboard"))
    events.Reload()
    assert [each.step for each in events.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [each.step for each in events.Scalars("eval/loss")] == [2, 4]


def test_a_run_that_is_finished_is_kept(tiny: Tiny) -> None:
    before = (tiny.adapter / "petool.json").stat().st_mtime_ns
    finished = run(sft_values(tiny.base, tiny.benchmark, tiny.work, log_every=3))
    assert finished.kept
    assert (tiny.adapter / "petool.json").stat().st_mtime_ns == before


def test_checkpoints_of_other_settings_are_not_gone_on_from(tiny: Tiny) -> None:
    with pytest.raises(SetupError, match=r"changed: lr\)\. Give --restart"):
        run(sft_values(tiny.base, tiny.benchmark, tiny.work, lr=0.02))


def test_training_learns(tiny: Tiny, tmp_path: Path) -> None:
    """Eight examples again and again."""
    changes: dict[str, Any] = {
        "instances": 8, "max_steps": 12, "evaluation": {"instances": 0}, "lr": 0.02, "label_weight": 3.0, "batch": 2
    }  # fmt: skip
    run(sft_values(tiny.base, tiny.benchmark, tmp_path, **changes))
    state = tmp_path / "work" / "runs" / "tiny-sft" / "checkpoint-12" / "trainer_state.json"
    losses = [row["loss"] for row in json.loads(state.read_text("utf-8"))["log_history"] if "loss" in row]
    assert len(losses) == 12
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_what_reaches_the_model_is_the_whole_prompt_with_labels_on_the_answer(tiny: Tiny, tmp_path: Path) -> None:
    """Looked at behind TRL's dataset, sampler and collator, where the model is called."""
    changes: dict[str, Any] = {"instances": 6, "max_steps": 2, "evaluation": {"instances": 0}}
    config = FinetuneConfig.model_validate(sft_values(tiny.base, tiny.benchmark, tmp_path, **changes))
    sources = find_sources(config)
    rows = write_examples(open_benchmark(tiny.benchmark), sources, config, NO_PROGRESS).rows
    trainer = AnswerTrainer(
        model=load_model(sources, config),
        args=training_arguments(config, tmp_path / "run", 1, evaluates=False),
        train_dataset=rows,
        data_collator=AnswerCollator(pad=3),
        processing_class=load_tokenizer(tiny.base),
    )
    seen: dict[tuple[int, ...], tuple[int, ...]] = {}

    def look(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        for ids, labels in zip(given["input_ids"].tolist(), given["labels"].tolist(), strict=True):
            kept = [place for place, label in enumerate(labels) if label != IGNORED]
            seen[tuple(ids[: kept[-1] + 1])] = tuple(labels[place] for place in kept)
            assert kept == list(range(kept[0], kept[-1] + 1))
            assert set(ids[kept[-1] + 1 :]) <= {3}

    assert trainer.model is not None
    hook = trainer.model.register_forward_pre_hook(look, with_kwargs=True)
    trainer.train()
    hook.remove()
    assert seen == {(*row["prompt"], *row["answer"]): tuple(row["answer"]) for row in rows}
    tokenizer = PromptTokenizer.load(tiny.base)
    assert all(tokenizer.decode(answer).endswith("}}<|end|>") for answer in seen.values())


def test_a_checkpoint_that_was_cut_short_is_removed(tmp_path: Path) -> None:
    for step, whole in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / "whole").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
    assert newest_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantization": "nf4"}, "needs a CUDA GPU"),
        ({"fsdp": True}, "accelerate launch or torchrun"),
        ({"lora": {"target_modules": ["no_such"]}}, "target_modules"),
        ({"lora": {"target_modules": ["q_proj", "no_such"]}}, "no layers named no_such"),
        ({"benchmark": "nowhere"}, "no finished stage"),
        ({"prompt_format": "no-such"}, "hinted-1"),
    ],
)
def test_what_does_not_fit_is_told(tiny: Tiny, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    values = sft_values(tiny.base, tiny.benchmark, tmp_path, instances=6)
    with pytest.raises(SetupError, match=said):
        run({**values, **changes})


def test_weights_that_cannot_be_loaded_are_told(tiny: Tiny, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny.base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 100 if file.suffix == ".safetensors" else None])
    with pytest.raises(SetupError, match="not a model that can be loaded"):
        run(sft_values(broken, tiny.benchmark, tmp_path, instances=6))


def test_progress_is_told(tiny: Tiny, tmp_path: Path) -> None:
    started: list[tuple[str, int | None]] = []
    steps: list[int] = []
    told: list[str] = []
    values = sft_values(
        tiny.base, tiny.benchmark, tmp_path, instances=6, max_steps=2, evaluation={"instances": 2, "every": 1}
    )
    run(values, progress=Progress(lambda label, total: started.append((label, total)), steps.append), told=told)
    assert ("Training", 2) in started
    assert told[0] == "4 examples, 4 to a step (1 processes x 2 x 2 passes)."
    assert [line.split(":")[0] for line in told[1:]] == ["Step 1", "Step 2"]
