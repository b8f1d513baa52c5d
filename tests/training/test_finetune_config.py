"""Configs of fine-tuning: those that ship say what the paper says, and mistakes are told."""

from pathlib import Path
from typing import Any

import pytest

from app.domain import HistorySetting
from app.errors import SetupError
from training.finetune.config import CONFIGS, FinetuneConfig, load_config

SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
WITHOUT_SFT = "small-only-dpo"
"""For the paper's ablation."""
SFT: dict[str, Any] = {"name": "a", "stage": "sft", "base": "b", "out": "c", "lr": 1e-4, "batch": 16, "device_batch": 4}


def test_every_model_ships_with_both_stages() -> None:
    models = ("llama-3.1-8b", "llama-3.2-3b", "qwen2.5-7b", "small")
    both = [f"{model}-{stage}" for model in models for stage in ("sft", "dpo")]
    assert sorted([*both, WITHOUT_SFT]) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_is_valid_and_named_like_its_file(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert name.endswith(config.stage)
    if name == WITHOUT_SFT:
        assert config.adapter is None
    elif config.stage == "dpo":
        first = load_config(name.replace("dpo", "sft"))
        assert config.adapter == first.out
        assert (config.base, config.prompt_format, config.prompt_tokens, config.seed) == (
            first.base, first.prompt_format, first.prompt_tokens, first.seed,
        )  # fmt: skip


def test_the_large_models_are_trained_as_the_paper_says() -> None:
    sft, dpo = load_config("llama-3.1-8b-sft"), load_config("llama-3.1-8b-dpo")
    assert (sft.lr, sft.warmup, sft.batch, sft.epochs) == (1e-4, 0.1, 16, 1)
    assert (dpo.lr, dpo.beta, dpo.batch) == (1e-6, 0.1, 32)
    assert sft.prompt_tokens == 4000
    assert set(sft.settings) == set(HistorySetting) - {HistorySetting.AUTO, HistorySetting.NONE}


def test_values_are_changed_by_name() -> None:
    config = load_config("small-sft", ["lr=3e-5", "lora.r=4", "settings=[chronological]", "max_steps=7", "out=x/y"])
    assert (config.lr, config.lora.r, config.max_steps, config.out) == (3e-5, 4, 7, Path("x/y"))
    assert config.settings == (HistorySetting.CHRONOLOGICAL,)
    assert config.lora.alpha == load_config("small-sft").lora.alpha


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lr", "field=value"),
        ("lr=fast", "lr"),
        ("none=1", "none"),
        ("lora.none=1", r"lora\.none"),
        ("lr.x=1", "lr is no section"),
        ("batch=15", "multiple of device_batch"),
        ("adapter=x", "leave adapter out"),
        ("settings=[auto]", "settings"),
        ("lora.target_modules=[lm_head]", "lm_head"),
        ("lr=[", "not YAML"),
    ],
)
def test_a_mistake_is_told_with_the_field(change: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        load_config("llama-3.1-8b-sft", [change])


def test_a_config_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(SetupError, match="small-dpo"):
        load_config("none-such")


def test_the_passes_of_a_step_follow_from_batch_and_processes() -> None:
    config = FinetuneConfig.model_validate(SFT)
    assert [config.accumulation(processes) for processes in (1, 2, 4)] == [4, 2, 1]
    with pytest.raises(SetupError, match="3 processes"):
        config.accumulation(3)
