"""What a run would take, told without weights."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from app.errors import SetupError
from tests.support.finetune_cases import dpo_values, sft_values
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS
from training.data.benchmark import open_benchmark
from training.finetune.batches import AnswerCollator
from training.finetune.config import FinetuneConfig, load_config
from training.finetune.head import add_answer_head
from training.finetune.memory import Lengths, memory
from training.finetune.models import load_model
from training.finetune.plan import make_plan
from training.finetune.prompts import write_examples
from training.finetune.shape import shape_of
from training.finetune.sources import find_sources

LLAMA_8B: dict[str, Any] = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
}  # fmt: skip


@pytest.fixture(scope="module")
def llama(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama 3.1 8B's config.json, with a tokenizer, and no weights."""
    directory = tmp_path_factory.mktemp("llama")
    LlamaConfig(**LLAMA_8B, tie_word_embeddings=False, architectures=["LlamaForCausalLM"]).save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny.base / name, directory / name)
    return directory


def planned(name: str, tiny: Tiny, llama: Path, tmp_path: Path, *changes: str, processes: int = 1) -> str:
    given = [f"base={llama}", f"benchmark={tiny.benchmark}", f"work={tmp_path}", "evaluation.instances=4", *changes]
    return make_plan(load_config(name, given), processes, NO_PROGRESS)


def sizes(text: str) -> dict[str, float]:
    """GiB, by part."""
    found = re.findall(r"^  (\S.*?)\s+([\d,.]+) (GiB|MiB)$", text, re.MULTILINE)
    return {name: float(size.replace(",", "")) / (1 if unit == "GiB" else 1024) for name, size, unit in found}


def test_an_8b_model_is_counted_from_its_config_alone(tiny: Tiny, llama: Path, tmp_path: Path) -> None:
    text = planned("llama-3.1-8b-sft", tiny, llama, tmp_path)
    assert "8,030,261,248 in the base; 41,943,040 of the adapter are trained (0.52%)" in text
    assert "Examples: 26 to train on, 4 held out." in text
    assert "Steps: 2 of 26 examples, 16 to a step (1 x 2 x 8 passes)." in text
    parts = sizes(text)
    assert parts["base, frozen"] == pytest.approx(8_030_261_248 * 2 / 2**30, abs=0.01)
    assert parts["AdamW's moments"] == pytest.approx(41_943_040 * 8 / 2**30, abs=0.01)
    assert parts["together"] == pytest.approx(sum(size for name, size in parts.items() if name != "together"), abs=0.02)


def test_four_bits_and_shards_make_it_smaller(tiny: Tiny, llama: Path, tmp_path: Path) -> None:
    whole, quantized, sharded = (
        sizes(planned("llama-3.1-8b-sft", tiny, llama, tmp_path, *changes, processes=processes))
        for changes, processes in (((), 1), (("quantization=nf4",), 1), (("fsdp=true",), 4))
    )
    # Embeddings and head stay as they are: a billion of the parameters.
    assert 5.0 < quantized["base, frozen"] < 5.8
    assert sharded["base, frozen"] == pytest.approx(whole["base, frozen"] / 4, abs=0.01)
    assert sharded["together"] < whole["together"]


def test_dpo_counts_the_reference_and_both_calls(tiny: Tiny, llama: Path, tmp_path: Path) -> None:
    sft = sizes(planned("llama-3.1-8b-sft", tiny, llama, tmp_path, "device_batch=1", "lora.dropout=0"))
    text = planned("llama-3.1-8b-dpo", tiny, llama, tmp_path, "device_batch=1")
    dpo = sizes(text)
    assert dpo["LoRA of the reference"] == pytest.approx(dpo["LoRA"])
    assert dpo["activations between layers"] == pytest.approx(2 * sft["activations between layers"], rel=0.02)
    assert "pairs at most" in text


def test_the_profile_is_of_the_prompts_that_training_uses(tiny: Tiny, tmp_path: Path) -> None:
    config = FinetuneConfig.model_validate(sft_values(tiny.base, tiny.benchmark, tmp_path))
    text = make_plan(config, 1, NO_PROGRESS)
    rows = write_examples(open_benchmark(tiny.benchmark), find_sources(config), config, NO_PROGRESS).rows
    lengths = [len(each) for each in rows["prompt"]]
    (told,) = re.findall(r"^prompt(.*)$", text, re.MULTILINE)
    numbers = [int(number.replace(",", "")) for number in told.split()]
    assert (numbers[0], numbers[-2], numbers[-1]) == (min(lengths), max(lengths), sum(lengths))
    bars = re.findall(r"^ +([\d,]+) to +([\d,]+) +(\d+) (#*)$", text, re.MULTILINE)
    assert sum(int(count) for _, _, count, _ in bars) == len(rows)
    assert max(len(bar) for *_, bar in bars) == 40


def test_without_a_benchmark_prompts_are_as_long_as_the_budget(llama: Path, tiny: Tiny, tmp_path: Path) -> None:
    text = planned("llama-3.1-8b-sft", tiny, llama, tmp_path, f"benchmark={tmp_path / 'none'}")
    assert "No benchmark" in text
    assert "Steps: 1 epochs" in text


def test_a_plan_of_dpo_knows_its_pairs_once_they_are_there(tiny: Tiny, tmp_path: Path) -> None:
    values = dpo_values(tiny.base, tiny.benchmark, tiny.work, max_steps=None)
    config = FinetuneConfig.model_validate({**values, "work": str(tmp_path)})
    assert "of 26 pairs at most" in make_plan(config, 1, NO_PROGRESS)
    directory = tmp_path / "pairs" / config.name
    directory.mkdir(parents=True)
    (directory / "report.json").write_text('{"pairs": 9}')
    assert "Steps: 3 of 9 pairs, 4 to a step" in make_plan(config, 1, NO_PROGRESS)


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [
        ({"dtype": "float32", "autocast": False, "lora": {"dropout": 0.1}}, 0.9, 1.1),
        ({"dtype": "float32", "autocast": False, "lora": {"dropout": 0.0}}, 0.9, 1.1),
        ({"dtype": "bfloat16", "autocast": True, "lora": {"dropout": 0.1}}, 0.7, 1.3),
        ({"dtype": "bfloat16", "autocast": True, "lora": {"dropout": 0.0}}, 0.7, 1.3),
    ],
)
def test_the_estimate_of_activations_is_near_what_autograd_keeps(
    tmp_path: Path, changes: dict[str, Any], least: float, most: float
) -> None:
    torch.manual_seed(1)
    base = tmp_path / "base"
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1024, hidden_size=128, intermediate_size=352, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).save_pretrained(base)  # fmt: skip
    config = FinetuneConfig.model_validate(sft_values(base, tmp_path, tmp_path, **changes))
    sources = find_sources(config)
    model: Any = load_model(sources, config)
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "is_top1"))
    add_answer_head(model.get_base_model())
    model.train()
    rows = [{"prompt": [5] * 460, "answer": [6] * 40, "label": 0}] * config.device_batch
    kept: dict[int, Any] = {}
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            # The storage too, so that its place is not given again.
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=config.autocast),
    ):
        model(**AnswerCollator(pad=3)(rows), fused_lm_head=True)
    measured = sum(storage.nbytes() for storage in kept.values())
    parts = memory(config, shape_of(sources, config), Lengths(500, 40), 1)
    estimated = parts["activations of all layers"] + parts["logits of the answers"]
    assert least < estimated / measured < most


def test_what_is_no_language_model_is_told(tiny: Tiny, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny.base / name, base / name)
    (base / "config.json").write_text('{"model_type": "no-such"}')
    config = FinetuneConfig.model_validate(sft_values(base, tmp_path / "none", tmp_path))
    with pytest.raises(SetupError, match="cannot be built"):
        make_plan(config, 1, NO_PROGRESS)
