"""What a run would take, told without weights."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from app.errors import SetupError
from tests.support.finetune_cases import dpo_values, sft_values
from tests.training.conftest import Tiny
from training.common.stages import NO_PROGRESS
from training.data.benchmark import open_benchmark
from training.finetune.config import FinetuneConfig, load_config
from training.finetune.plan import make_plan
from training.finetune.prompts import write_examples
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


def test_an_8b_model_is_counted_from_its_config_alone(tiny: Tiny, llama: Path, tmp_path: Path) -> None:
    text = planned("llama-3.1-8b-sft", tiny, llama, tmp_path)
    assert "8,030,261,248 in the base; 41,943,040 of the adapter are trained (0.52%)" in text
    assert "Examples: 26 to train on, 4 held out." in text
    assert "Steps: 2 of 26 examples, 16 to a step (1 x 2 x 8 passes)." in text


def test_dpo_trains_as_many_parameters_and_has_at_most_a_pair_an_example(
    tiny: Tiny, llama: Path, tmp_path: Path
) -> None:
    text = planned("llama-3.1-8b-dpo", tiny, llama, tmp_path)
    assert "41,943,040 of the adapter are trained" in text
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


def test_without_a_benchmark_the_plan_has_no_tokens(llama: Path, tiny: Tiny, tmp_path: Path) -> None:
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


def test_what_is_no_language_model_is_told(tiny: Tiny, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny.base / name, base / name)
    (base / "config.json").write_text('{"model_type": "no-such"}')
    config = FinetuneConfig.model_validate(sft_values(base, tmp_path / "none", tmp_path))
    with pytest.raises(SetupError, match="cannot be built"):
        make_plan(config, 1, NO_PROGRESS)
