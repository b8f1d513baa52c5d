"""Adapters checked against a base model: what is told of good ones, and why others cannot be served."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.composition.served_model import MODELS
from app.errors import InvalidAdapter, SetupError
from app.model_files.inspection import AdapterFacts, base_shapes, inspect_adapter
from app.model_files.manifest import file_digests, read_manifest
from app.model_files.peft_config import read_config
from tests.support.shipped import manifest
from tests.support.tiny_model import TARGETS, tiny_adapter, tiny_model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def shapes(model_dir: Path) -> dict[str, tuple[int, int]]:
    return base_shapes(str(model_dir))


@pytest.fixture
def adapter(adapter_dir: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(adapter_dir, tmp_path / "an-adapter")


def inspect(adapter: Path, shapes: Mapping[str, tuple[int, int]], max_rank: int = 16) -> AdapterFacts:
    return inspect_adapter(adapter, "tiny-base", shapes, max_rank=max_rank)


def config(**values: Any) -> Change:
    def change(adapter: Path) -> None:
        file = adapter / CONFIG
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), "utf-8")

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def apply(adapter: Path) -> None:
        values = load_file(adapter / WEIGHTS)
        change(values)
        save_file(values, adapter / WEIGHTS)

    return apply


def set_to(key: str, value: float) -> Change:
    return tensors(lambda values: values[key].view(-1)[-1:].fill_(value))


def put(key: str, *shape: int, dtype: torch.dtype = torch.float32) -> Change:
    return tensors(lambda values: values.update({key: torch.ones(shape).to(dtype)}))


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def pickled(adapter: Path) -> None:
    torch.save(load_file(adapter / WEIGHTS), adapter / "adapter_model.bin")
    (adapter / WEIGHTS).unlink()


def zero(values: dict[str, torch.Tensor]) -> None:
    """Half of the layers by one matrix, half by the other."""
    for number, module in enumerate(sorted({key.rpartition(".lora_")[0] for key in values})):
        values[f"{module}.lora_{'AB'[number % 2]}.weight"].zero_()


def with_manifest(change: Change) -> Change:
    def apply(adapter: Path) -> None:
        base = adapter.with_name("base")
        base.mkdir()
        (base / "model.safetensors").write_bytes(b"weights")
        manifest(adapter, "sft", base)
        change(adapter)

    return apply


def test_the_shapes_of_a_base_model_come_from_its_config_alone(model_dir: Path, tmp_path: Path) -> None:
    shutil.copy(model_dir / "config.json", tmp_path)
    shapes = base_shapes(str(tmp_path))
    assert len(shapes) == 2 * len(TARGETS) + 1
    assert shapes["model.layers.1.mlp.down_proj"] == (64, 128)
    assert shapes["model.layers.0.self_attn.k_proj"] == (32, 64)


def test_reading_the_shapes_writes_nothing_to_the_log(model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base_shapes(str(model_dir))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"model_type": "banana"}', '{"model_type": "llama", "vocab_size": "x"}']
)
def test_a_base_model_whose_config_cannot_be_read_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(SetupError, match="give a directory in Hugging Face's layout") as error:
        base_shapes(str(tmp_path))
    assert str(tmp_path) in error.value.detail


def test_the_shipped_adapter_fits_the_shipped_base() -> None:
    base, directory = MODELS / "small" / "base", MODELS / "small" / "sft"
    facts = inspect_adapter(directory, "base", base_shapes(str(base)), max_rank=16)
    values = load_file(directory / WEIGHTS).values()
    assert facts == AdapterFacts(
        rank=16,
        target_modules=tuple(sorted(TARGETS)),
        base_name="base",
        parameters=sum(value.numel() for value in values),
        manifest=read_manifest(directory),
    )
    assert facts.manifest is not None
    assert facts.manifest.name == "small-sft"


def test_an_adapter_of_peft_needs_no_manifest(
    adapter: Path, model_dir: Path, shapes: dict[str, tuple[int, int]]
) -> None:
    facts = inspect(adapter, shapes)
    assert facts == AdapterFacts(4, tuple(sorted(TARGETS)), str(model_dir), facts.parameters, None)
    config(base_model_name_or_path=None)(adapter)
    assert inspect(adapter, shapes).base_name is None


def test_the_manifest_names_the_base(adapter: Path, shapes: dict[str, tuple[int, int]]) -> None:
    with_manifest(lambda _: None)(adapter)
    assert inspect(adapter, shapes).base_name == "tiny-base"


GOOD: dict[str, Change] = {
    "half precision": tensors(lambda values: values.update({key: value.half() for key, value in values.items()})),
    "bfloat16": tensors(lambda values: values.update({key: value.bfloat16() for key, value in values.items()})),
    "modules by a pattern": config(target_modules=r".*\.(self_attn|mlp)\.\w+_proj"),
    "rank by a pattern": config(r=8, rank_pattern={r"\w+_proj": 4}),
    "one matrix of zeros": tensors(lambda values: values[A].zero_()),
    "settings of a newer peft": config(something_new={"a": 1}),
    "drawn by a normal distribution": config(init_lora_weights="gaussian"),
    "old settings": config(rank_pattern=None, alpha_pattern=None, init_lora_weights=None),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_can_be_served_passes(adapter: Path, shapes: dict[str, tuple[int, int]], kind: str) -> None:
    GOOD[kind](adapter)
    assert inspect(adapter, shapes).target_modules == tuple(sorted(TARGETS))


def test_the_rank_is_the_highest(adapter: Path, shapes: dict[str, tuple[int, int]]) -> None:
    put(A, 12, 64)(adapter)
    put(B, 64, 12)(adapter)
    config(rank_pattern={"layers.0.self_attn.q_proj": 12})(adapter)
    assert inspect(adapter, shapes).rank == 12
    with pytest.raises(InvalidAdapter, match="the rank 12 is above 8"):
        inspect(adapter, shapes, max_rank=8)


def test_only_some_modules_may_be_adapted(adapter: Path, shapes: dict[str, tuple[int, int]]) -> None:
    tensors(lambda values: [values.pop(key) for key in list(values) if key not in (A, B)])(adapter)
    config(target_modules=["q_proj"], layers_to_transform=[0])(adapter)
    facts = inspect(adapter, shapes)
    assert (facts.target_modules, facts.parameters) == (("q_proj",), 2 * 4 * 64)


BAD: dict[str, tuple[Change, str]] = {
    "no weights": (lambda adapter: (adapter / WEIGHTS).unlink(), f"{WEIGHTS} cannot be read"),
    "weights cut off": (lambda adapter: half(adapter / WEIGHTS), f"{WEIGHTS} cannot be read"),
    "weights empty": (lambda adapter: (adapter / WEIGHTS).write_bytes(b""), f"{WEIGHTS} cannot be read"),
    "pickled": (pickled, "adapter_model.bin is a pickle, and only safetensors are loaded: save the adapter again with "
                         "`safe_serialization=True`"),
    "no tensors": (tensors(dict.clear), "holds no tensors"),
    "no config": (lambda adapter: (adapter / CONFIG).unlink(), f"{CONFIG} cannot be read (No such file"),
    "config is no JSON": (lambda adapter: (adapter / CONFIG).write_text("{"), f"{CONFIG} cannot be read"),
    "config is deep": (lambda adapter: (adapter / CONFIG).write_text("[" * 100_000), f"{CONFIG} cannot be read"),
    "config is a list": (lambda adapter: (adapter / CONFIG).write_text("[]"), "does not describe a LoRA adapter"),
    "another method": (config(peft_type="IA3"), "does not describe a LoRA adapter"),
    "whole modules": (config(modules_to_save=["lm_head"]), "modules_to_save is not supported"),
    "dora": (config(use_dora=True), "use_dora is not supported"),
    "biases": (config(bias="all"), "bias is not supported"),
    "a changed base": (config(init_lora_weights="pissa_niter_4"), "has changed its base model as well"),
    "rank is no number": (config(r="4"), f"{CONFIG}: r: Input should be a valid integer"),
    "rank is negative": (config(rank_pattern={"q_proj": -1}), "rank_pattern.q_proj: Input should be greater"),
    "no strength": (config(lora_alpha=0), "lora_alpha: Input should be greater than 0"),
    "strength is no number": (config(lora_alpha=float("nan")), "lora_alpha: Input should be a finite number"),
    "modules are numbers": (config(target_modules=[1]), "target_modules"),
    "no modules": (config(target_modules=None), f"{CONFIG} does not target model.layers.0."),
    "broken pattern": (config(target_modules="("), "no regular expression"),
    "broken pattern of ranks": (config(rank_pattern={"(": 4}), "no regular expression"),
    "a pattern without end": (config(target_modules="([a-z_.0-9]+)+!"), "of regular expressions only names"),
    "a pattern of many loops": (config(target_modules=".*.*.*.*!"), "of regular expressions only names"),
    "a huge repetition": (config(layers_pattern="a{99999999999999999999}"), "of regular expressions only names"),
    "high rank": (config(r=17), "raise the engine's --max-lora-rank and PETOOL_ADAPTER_MAX_RANK, or train"),
    "another rank": (config(r=8), f"{CONFIG} tells of rank 8, but base_model.model.model.layers.0"),
    "modules not listed": (config(target_modules=["q_proj"]), f"{CONFIG} does not target model.layers.0.mlp.down_proj"),
    "modules without matrices": (config(target_modules=[*TARGETS, "lm_head"]), f"{WEIGHTS} lacks base_model.model.lm_"),
    "a matrix lacks": (tensors(lambda values: values.pop(B)), f"{WEIGHTS} lacks {B}"),
    "a layer lacks": (tensors(lambda values: (values.pop(A), values.pop(B))), f"{WEIGHTS} lacks {A}"),
    "an embedding": (put("base_model.model.model.embed_tokens.lora_embedding_A", 4, 9), "not a LoRA matrix of a lin"),
    "a convolution": (put(A, 4, 64, 1, 1), f"{A} is not a LoRA matrix of a linear"),
    "an unknown module": (put("base_model.model.x.lora_A.weight", 4, 64), "it adapts x, which tiny-base does not have; "
                                                                           "it was trained for another base model"),
    "another width": (put(A, 4, 32), f"{A} has the shape (4, 32), which does not fit tiny-base's layer of 64 by 64; "
                                     "it was trained for another base model"),
    "whole numbers": (put(A, 4, 64, dtype=torch.int32), f"{A} holds numbers of type I32; save it in bfloat16"),
    "not a number": (set_to(B, float("nan")), f"{B} holds values that are infinite or not numbers (NaN)"),
    "infinite": (set_to(A, float("-inf")), f"{A} holds values that are infinite"),
    "equal to the base": (tensors(zero), f"{WEIGHTS} changes nothing"),
    "manifest is no JSON": (lambda adapter: (adapter / "petool.json").write_text("{"), "petool.json is not JSON"),
    "manifest of a model": (lambda adapter: manifest(adapter, "sft"), "petool.json tells of a model, not of an ada"),
    "another file": (with_manifest(set_to(A, 3.0)), f"{WEIGHTS} is not the file that petool.json tells of"),
    "a file lacks": (with_manifest(lambda adapter: (adapter / CONFIG).unlink()), f"{CONFIG} cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("problem", BAD)
def test_what_cannot_be_served_is_told_with_the_reason(
    adapter: Path, shapes: dict[str, tuple[int, int]], problem: str
) -> None:
    change, text = BAD[problem]
    change(adapter)
    with pytest.raises(InvalidAdapter) as error:
        inspect(adapter, shapes)
    assert text in error.value.detail
    assert str(adapter.parent) not in error.value.detail
    assert len(error.value.detail) < 1000


@pytest.mark.parametrize("other", [{"hidden": 32}, {"layers": 3}, {"layers": 1}])
def test_an_adapter_of_another_base_is_told_so(
    adapter: Path, tmp_path: Path, other: dict[str, int], shapes: dict[str, tuple[int, int]]
) -> None:
    made = tiny_adapter(tiny_model(tmp_path / "model", **other), tmp_path / "other", seed=1)
    with pytest.raises(InvalidAdapter, match="base model"):
        inspect(made, shapes)


def test_the_configuration_does_not_start_the_base_anew(adapter: Path) -> None:
    config(init_lora_weights="orthogonal")(adapter)
    assert read_config(adapter).init_lora_weights is True


def test_looking_changes_nothing(adapter: Path, shapes: dict[str, tuple[int, int]]) -> None:
    before = file_digests(adapter)
    inspect(adapter, shapes)
    assert file_digests(adapter) == before
