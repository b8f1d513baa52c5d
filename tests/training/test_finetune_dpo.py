"""Direct preference optimization: from the SFT adapter, which is the reference too."""

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from app.errors import SetupError
from app.inference.local.adapters import Adapters
from app.inference.local.model import CausalModel
from app.model_files.manifest import read_manifest, verify_files, weights_digest
from tests.support.finetune_cases import BUDGET, dpo_values, run, sft_values, tensors
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS
from training.data.benchmark import open_benchmark
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_model, load_tokenizer
from training.finetune.pair_rows import gather_dpo, make_pairs
from training.finetune.sources import find_sources
from training.finetune.trainers import PairTrainer, training_arguments


@pytest.fixture(scope="module")
def trained(tiny: Tiny) -> Path:
    """The work folder of a DPO run from the session's SFT adapter."""
    values = dpo_values(tiny.base, tiny.benchmark, tiny.work)
    make_pairs(FinetuneConfig.model_validate(values), NO_PROGRESS)
    run(values)
    return tiny.work


def history(work: Path) -> list[dict[str, Any]]:
    text = (work / "work" / "runs" / "tiny-dpo" / "checkpoint-3" / "trainer_state.json").read_text("utf-8")
    return list(json.loads(text)["log_history"])


def test_the_first_steps_loss_is_ln_2(trained: Path) -> None:
    """Policy and reference are the same then, which they would not be if the bare base were the reference."""
    first = next(row for row in history(trained) if row.get("step") == 1 and "loss" in row)
    assert abs(first["loss"] - log(2)) < 1e-3
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    later = [row["loss"] for row in history(trained) if row.get("step") == 3 and "loss" in row]
    assert abs(later[0] - log(2)) > 1e-3


def test_without_sft_the_base_is_start_and_reference(tiny: Tiny, tmp_path: Path) -> None:
    new = {"adapter": None, "prompt_format": "hinted-1", "prompt_tokens": BUDGET, "max_steps": 1}
    values = dpo_values(tiny.base, tiny.benchmark, tmp_path, **new, pairs={"samples": 1, "instances": 8})
    report = make_pairs(FinetuneConfig.model_validate(values), NO_PROGRESS).report
    assert report["adapter"] == weights_digest(tiny.base)
    manifest = run(values).manifest
    assert manifest.scores["loss"] == pytest.approx(log(2), abs=1e-3)
    assert (manifest.stage, manifest.config["run"]["adapter"]) == ("dpo", None)


def test_the_reference_is_the_sft_model_and_training_leaves_it_alone(trained: Path, tiny: Tiny, tmp_path: Path) -> None:
    config = FinetuneConfig.model_validate(dpo_values(tiny.base, tiny.benchmark, tiny.work))
    sources = find_sources(config)
    material = gather_dpo(open_benchmark(tiny.benchmark), sources, config, NO_PROGRESS, main=True)
    trainer = PairTrainer(
        model=load_model(sources, config),
        args=training_arguments(config, tmp_path, 1, evaluates=False),
        train_dataset=material.train,
        data_collator=material.collator,
        processing_class=load_tokenizer(tiny.base),
    )
    trainer.train()
    sft, dpo = tensors(tiny.adapter), tensors(trained / "dpo")
    assert trainer.model is not None
    state = trainer.model.state_dict()
    for key, tensor in sft.items():
        assert torch.equal(state[key.replace(".weight", ".ref.weight")], tensor)
    assert any(not torch.equal(sft[key], dpo[key]) for key in sft)
    assert any(tensor.abs().max() > 0 for key, tensor in sft.items() if "lora_B" in key)


def test_nothing_of_a_pair_is_cut(trained: Path, tiny: Tiny) -> None:
    config = FinetuneConfig.model_validate(dpo_values(tiny.base, tiny.benchmark, tiny.work))
    sources = find_sources(config)
    material = gather_dpo(open_benchmark(tiny.benchmark), sources, config, NO_PROGRESS, main=True)
    pairs = {
        json.loads(line)["chosen_text"]: json.loads(line)["rejected_text"]
        for line in (trained / "work" / "pairs" / "tiny-dpo" / "pairs.jsonl").read_text("utf-8").splitlines()
    }
    for row in material.train:
        batch = material.collator([row])
        chosen, rejected = (
            sources.tokenizer.decode(ids[mask.bool()].tolist())
            for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
        )
        assert chosen.endswith("<|end|>")
        assert pairs[chosen.removesuffix("<|end|>")] == rejected.removesuffix("<|end|>")
        assert batch["input_ids"][0, : len(row["prompt_ids"])].tolist() == row["prompt_ids"]


def test_the_adapter_is_one_that_the_service_takes(trained: Path, tiny: Tiny) -> None:
    manifest = read_manifest(trained / "dpo")
    assert manifest is not None
    verify_files(trained / "dpo", manifest)
    assert manifest.stage == "dpo"
    assert {"loss.png", "reward-accuracy.png", "reward-margins.png"} <= {*manifest.files}
    assert manifest.config["pairs"]["pairs"] == manifest.scores["examples"] + manifest.scores["held_out"]
    assert (manifest.prompt_format, manifest.prompt_tokens) == ("hinted-1", 1500)
    Adapters(CausalModel(tiny.base, device="cpu", dtype="float32")).load("dpo", trained / "dpo")
    assert "fallback_because" in (trained / "dpo" / "README.md").read_text("utf-8")


def test_pairs_of_another_adapter_are_refused(trained: Path, tiny: Tiny, tmp_path: Path) -> None:
    other = run(sft_values(tiny.base, tiny.benchmark, tmp_path, instances=8, max_steps=1, seed=9))
    values = dpo_values(tiny.base, tiny.benchmark, tiny.work, adapter=str(other.directory), name="tiny-dpo")
    with pytest.raises(SetupError, match="sampled from another model"):
        run(values)


def test_without_pairs_dpo_says_how_to_make_them(tiny: Tiny) -> None:
    with pytest.raises(SetupError, match="petool-train pairs"):
        run(dpo_values(tiny.base, tiny.benchmark, tiny.work, name="no-pairs"))


def test_an_adapter_of_another_base_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    from tests.support.tiny_model import tiny_model

    other = tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(SetupError, match="name the base it was trained for"):
        run(dpo_values(other, tiny.benchmark, tiny.work))


def test_a_file_of_the_adapter_that_was_changed_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny.adapter.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(SetupError, match=r"adapter_model\.safetensors is not the file"):
        run(dpo_values(tiny.base, tiny.benchmark, tiny.work, adapter=str(copy)))


def test_another_format_than_the_adapters_is_refused(tiny: Tiny) -> None:
    with pytest.raises(SetupError, match="leave prompt_format and prompt_tokens out"):
        run(dpo_values(tiny.base, tiny.benchmark, tiny.work, prompt_format="brief-1"))
