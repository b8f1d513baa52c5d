"""What a LoRA adapter's directory holds, checked against its base model. Importing it takes seconds: torch, peft."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open

from app.errors import InvalidAdapter, SetupError
from app.model_files.loading import LOADING_ERRORS, quiet
from app.model_files.manifest import MANIFEST, Manifest, read_manifest, verify_files
from app.model_files.peft_config import CONFIG, first_line, read_config

WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_NUMBERS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Tensor:
    """What the weights' header tells of one tensor."""

    numbers: str
    """Their type, in safetensors' words."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class AdapterFacts:
    rank: int
    """The highest."""
    target_modules: tuple[str, ...]
    """Last parts of the names of the layers that are adapted, such as q_proj; sorted."""
    base_name: str | None
    """The base model by the manifest, or else by peft's configuration."""
    parameters: int
    """How many numbers it has."""
    manifest: Manifest | None


def base_shapes(model: str) -> dict[str, tuple[int, int]]:
    """(out, in) of each linear layer of a model directory or of a model on the hub, by name.

    Only its config.json is read. Raises SetupError where that cannot be done.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with quiet():
            local = Path(model).is_dir()
            config = AutoConfig.from_pretrained(model, local_files_only=local, trust_remote_code=False)
            with torch.device("meta"):
                module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except LOADING_ERRORS as error:
        raise SetupError(
            f"{model}: the model's layers cannot be told from its config.json ({first_line(error)}); give a directory "
            "in Hugging Face's layout, or a model of the hub that transformers knows"
        ) from error
    return linear_shapes(module)


def linear_shapes(module: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """(out, in) of each linear layer, by its name in the module."""
    return {
        name: (layer.out_features, layer.in_features)
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """The weights' header. InvalidAdapter where it cannot be read."""
    if (directory / _PICKLED).exists() and not (directory / WEIGHTS).exists():
        raise InvalidAdapter(
            f"{_PICKLED} is a pickle, and only safetensors are loaded: save the adapter again with "
            f"`safe_serialization=True`, which writes {WEIGHTS}"
        )
    try:
        with safe_open(directory / WEIGHTS, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return {key: Tensor(str(each.get_dtype()), tuple(each.get_shape())) for key, each in slices.items()}
    except (OSError, SafetensorError) as error:
        raise InvalidAdapter(
            f"{WEIGHTS} cannot be read ({_without(directory, first_line(error))}); copy it again, whole: only "
            "safetensors are loaded"
        ) from error


def check_layers(
    tensors: Mapping[str, Tensor], config: LoraConfig, name_of_base: str, shapes: Mapping[str, tuple[int, int]]
) -> None:
    """InvalidAdapter unless the tensors are both matrices of each layer that the configuration targets, and no others.

    `shapes` are `base_shapes`. Looks at names, types and shapes, not at the numbers.
    """
    if not tensors:
        raise InvalidAdapter(f"{WEIGHTS} holds no tensors")
    try:
        targets = [module for module in shapes if config.target_modules and check_target_module_exists(config, module)]
        for key, tensor in tensors.items():
            _check_matrix(key, tensor, config, name_of_base, shapes)
    except re.error as error:
        raise InvalidAdapter(f"{CONFIG} has a pattern that is no regular expression ({error})") from error
    if other := sorted(_modules(tensors).difference(targets)):
        raise InvalidAdapter(f"{CONFIG} does not target {other[0][:200]}, of which {WEIGHTS} has matrices: list its "
                             "name in target_modules, or train the adapter again")  # fmt: skip
    for module in targets:
        for side in "AB":
            if (key := f"base_model.model.{module}.lora_{side}.weight") not in tensors:
                raise InvalidAdapter(f"{WEIGHTS} lacks {key}, though {CONFIG} targets this layer of {name_of_base}: "
                                     "save the adapter whole, or use the base model it was trained for")  # fmt: skip


def inspect_adapter(
    directory: Path, name_of_base: str, shapes: Mapping[str, tuple[int, int]], *, max_rank: int
) -> AdapterFacts:
    """Reads every file. InvalidAdapter, with the file or the tensor and what to do, if it cannot be served."""
    manifest = _manifest(directory)
    tensors = read_tensors(directory)
    config = read_config(directory)
    rank = max([config.r, *(config.rank_pattern or {}).values()])
    if rank > max_rank:
        raise InvalidAdapter(f"{CONFIG}: the rank {rank} is above {max_rank}: raise the engine's --max-lora-rank and "
                             "PETOOL_ADAPTER_MAX_RANK, or train with a lower rank")  # fmt: skip
    check_layers(tensors, config, name_of_base, shapes)
    modules = _modules(tensors)
    return AdapterFacts(
        rank=rank,
        target_modules=tuple(sorted({module.rpartition(".")[2] for module in modules})),
        base_name=manifest.base.name if manifest and manifest.base else config.base_model_name_or_path or None,
        parameters=_check_numbers(directory, sorted(modules), name_of_base),
        manifest=manifest,
    )


def _check_matrix(
    key: str, tensor: Tensor, config: LoraConfig, name_of_base: str, shapes: Mapping[str, tuple[int, int]]
) -> None:
    match = _KEY.fullmatch(key)
    if match is None or len(tensor.shape) != 2:
        raise InvalidAdapter(f"{key[:200]} is not a LoRA matrix of a linear layer; only these are served")
    module, other = match["module"], "it was trained for another base model"
    if module not in shapes:
        raise InvalidAdapter(f"it adapts {module[:200]}, which {name_of_base} does not have; {other}")
    rows, columns = shapes[module]
    rank, side, wanted = (*tensor.shape, columns) if match["side"] == "A" else (*reversed(tensor.shape), rows)
    if side != wanted:
        raise InvalidAdapter(f"{key} has the shape {tensor.shape}, which does not fit {name_of_base}'s layer of {rows} "
                             f"by {columns}; {other}")  # fmt: skip
    pattern = config.rank_pattern or {}
    told = pattern.get(get_pattern_key(list(pattern), module), config.r)
    if rank != told:
        raise InvalidAdapter(f"{CONFIG} tells of rank {told}, but {key} has rank {rank}; copy both from one training")
    if tensor.numbers not in _NUMBERS:
        raise InvalidAdapter(f"{key} holds numbers of type {tensor.numbers}; save it in bfloat16, float16 or float32")


def _check_numbers(directory: Path, modules: Iterable[str], name_of_base: str) -> int:
    """How many there are. One tensor at a time is in memory."""
    count, changes = 0, False
    with safe_open(directory / WEIGHTS, framework="pt") as file:
        for module in modules:
            filled = True
            for key in (f"base_model.model.{module}.lora_{side}.weight" for side in "AB"):
                tensor: Any = file.get_tensor(key)
                if not tensor.isfinite().all():
                    raise InvalidAdapter(f"{key} holds values that are infinite or not numbers (NaN): train it again, "
                                         "at a lower learning rate")  # fmt: skip
                count += tensor.numel()
                filled = filled and bool(tensor.any())
            changes = changes or filled
    if not changes:
        raise InvalidAdapter(f"{WEIGHTS} changes nothing: in every layer one of the two matrices is zero, so it would "
                             f"answer as {name_of_base} does; register what comes out of its training")  # fmt: skip
    return count


def _manifest(directory: Path) -> Manifest | None:
    try:
        manifest = read_manifest(directory)
        if manifest is not None and manifest.kind != "adapter":
            raise InvalidAdapter(
                f"{MANIFEST} tells of a {manifest.kind}, not of an adapter; give an adapter's directory"
            )
        if manifest is not None:
            verify_files(directory, manifest)
    except SetupError as error:
        raise InvalidAdapter(_without(directory, error.detail)) from error
    return manifest


def _modules(tensors: Iterable[str]) -> frozenset[str]:
    return frozenset(match["module"] for match in map(_KEY.fullmatch, tensors) if match)


def _without(directory: Path, text: str) -> str:
    """Where the service has its files is not its callers' concern."""
    return text.replace(f"{directory}{os.sep}", "")
