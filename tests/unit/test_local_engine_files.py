"""Models and adapters that are not what they should be."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.errors import InvalidAdapter, SetupError
from app.inference.engine import GenerationRequest
from app.inference.local import LocalEngine
from tests.support.local_engines import PATIENCE, started
from tests.support.tiny_model import tiny_adapter, tiny_model

REQUEST = GenerationRequest(list(range(10, 60)), None, 20, PATIENCE)
WEIGHTS = "model.safetensors"
MATRICES = "adapter_model.safetensors"


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), "utf-8")


def change_tensors(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def pickled(file: Path) -> None:
    """The same weights in the format that runs code when it is read."""
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    torch.save(load_file(file), file.with_name("adapter_model.bin"))
    file.unlink()


def no_tokenizer(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()


def drop_one(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[sorted(tensors)[-1]]


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] *= torch.nan


BROKEN_MODELS: dict[str, Callable[[Path], object]] = {
    "no config": lambda model: (model / "config.json").unlink(),
    "config is no JSON": lambda model: (model / "config.json").write_text("{"),
    "unknown architecture": lambda model: change_json(model / "config.json", model_type="banana"),
    "impossible shape": lambda model: change_json(model / "config.json", num_attention_heads=7),
    "another shape": lambda model: change_json(model / "config.json", intermediate_size=100),
    "no weights": lambda model: (model / WEIGHTS).unlink(),
    "weights cut off": lambda model: cut(model / WEIGHTS),
    "weights empty": lambda model: (model / WEIGHTS).write_bytes(b""),
    "weights pickled": lambda model: pickled(model / WEIGHTS),
    "a tensor lacks": lambda model: change_tensors(model / WEIGHTS, drop_one),
    "not a number": lambda model: change_tensors(model / WEIGHTS, poison),
    "no tokenizer": lambda model: no_tokenizer(model),
    "tokenizer is no JSON": lambda model: (model / "tokenizer.json").write_text("{"),
}

BROKEN_ADAPTERS: dict[str, Callable[[Path], object]] = {
    "no config": lambda adapter: (adapter / "adapter_config.json").unlink(),
    "config is no JSON": lambda adapter: (adapter / "adapter_config.json").write_text("["),
    "config is a list": lambda adapter: (adapter / "adapter_config.json").write_text("[]"),
    "not LoRA": lambda adapter: change_json(adapter / "adapter_config.json", peft_type="PREFIX_TUNING"),
    "rank of another": lambda adapter: change_json(adapter / "adapter_config.json", r=8),
    "no such modules": lambda adapter: change_json(adapter / "adapter_config.json", target_modules=["banana"]),
    "fewer modules": lambda adapter: change_json(adapter / "adapter_config.json", target_modules=["q_proj"]),
    "whole modules": lambda adapter: change_json(adapter / "adapter_config.json", modules_to_save=["lm_head"]),
    "biases": lambda adapter: change_json(adapter / "adapter_config.json", bias="all"),
    "no weights": lambda adapter: (adapter / MATRICES).unlink(),
    "weights cut off": lambda adapter: cut(adapter / MATRICES),
    "weights pickled": lambda adapter: pickled(adapter / MATRICES),
    "a matrix lacks": lambda adapter: change_tensors(adapter / MATRICES, drop_one),
    "no tensors": lambda adapter: change_tensors(adapter / MATRICES, dict.clear),
    "other tensors": lambda adapter: change_tensors(
        adapter / MATRICES, lambda tensors: tensors.update({"base_model.model.lm_head.weight": torch.zeros(3)})
    ),
}


def the_copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


@pytest.mark.parametrize("problem", BROKEN_MODELS)
def test_a_broken_model_is_told_with_its_path(model_dir: Path, tmp_path: Path, problem: str) -> None:
    model = the_copy(model_dir, tmp_path / "model")
    BROKEN_MODELS[problem](model)
    with pytest.raises(SetupError) as error:
        LocalEngine(model)
    assert str(model) in error.value.detail
    assert len(error.value.detail) < 1000


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_directory_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(SetupError, match="no such directory"):
            LocalEngine(path)


def test_a_tokenizer_larger_than_the_model_is_of_another_model(model_dir: Path, tmp_path: Path) -> None:
    model = the_copy(model_dir, tmp_path / "model")
    tiny_model(tmp_path / "large", vocabulary=2400)
    shutil.copy(tmp_path / "large" / "tokenizer.json", model)
    with pytest.raises(SetupError, match="do not belong together"):
        LocalEngine(model)


@pytest.mark.parametrize("problem", BROKEN_ADAPTERS)
async def test_a_broken_adapter_is_told_with_its_path_and_leaves_all_as_it_was(
    model_dir: Path, adapter_dir: Path, tmp_path: Path, problem: str
) -> None:
    broken = the_copy(adapter_dir, tmp_path / "broken")
    BROKEN_ADAPTERS[problem](broken)
    with pytest.raises(SetupError, match="broken"):
        LocalEngine(model_dir, adapters={"broken": broken})
    async with started(model_dir) as engine:
        before = await engine.generate(REQUEST)
        for loaded in (frozenset[str](), frozenset({"good"})):
            with pytest.raises(InvalidAdapter) as error:
                await engine.load_adapter("broken", broken)
            assert str(broken) in error.value.detail
            assert engine.adapters == loaded
            assert (await engine.generate(REQUEST)).text == before.text
            if not loaded:
                await engine.load_adapter("good", adapter_dir)
                good = await engine.generate(replace(REQUEST, adapter="good"))
        assert (await engine.generate(replace(REQUEST, adapter="good"))).text == good.text != before.text


async def test_an_adapter_of_another_base_is_told_so(model_dir: Path, tmp_path: Path) -> None:
    narrow = tiny_adapter(tiny_model(tmp_path / "narrow", hidden=32), tmp_path / "narrow_adapter", seed=1)
    deep = tiny_adapter(tiny_model(tmp_path / "deep", layers=3), tmp_path / "deep_adapter", seed=1)
    async with started(model_dir) as engine:
        for adapter in (narrow, deep):
            with pytest.raises(InvalidAdapter, match="another base model"):
                await engine.load_adapter("other", adapter)


async def test_an_adapters_dropout_is_for_training_only(model_dir: Path, adapter_dir: Path, tmp_path: Path) -> None:
    dropping = the_copy(adapter_dir, tmp_path / "dropping")
    change_json(dropping / "adapter_config.json", lora_dropout=0.5)
    async with started(model_dir, adapters={"plain": adapter_dir, "dropping": dropping}) as engine:
        plain = await engine.generate(replace(REQUEST, adapter="plain"))
        assert (await engine.generate(replace(REQUEST, adapter="dropping"))).text == plain.text


async def test_a_name_may_hold_any_characters(model_dir: Path, adapter_dir: Path) -> None:
    names = ["a.b@0123456789ab", "keys", "ünï/codé", "with space", ""]
    async with started(model_dir, adapters=dict.fromkeys(names, adapter_dir)) as engine:
        texts = {(await engine.generate(replace(REQUEST, adapter=name))).text for name in names}
        assert len(texts) == 1
        assert engine.adapters == set(names)


def test_loading_and_answering_write_nothing_to_the_log(
    model_dir: Path, adapter_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LocalEngine(model_dir, adapters={"random": adapter_dir})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "wrong", [{"max_batch": 0}, {"max_waiting": -1}, {"threads": 0}, {"prefix_cache_mb": -1}, {"dtype": "banana"}]
)
def test_settings_that_make_no_sense_are_told(model_dir: Path, wrong: Any) -> None:
    with pytest.raises(SetupError):
        LocalEngine(model_dir, **wrong)
