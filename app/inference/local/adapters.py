"""LoRA adapters of one model, by name: checked, loaded, switched, unloaded."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, LoraModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from app.errors import SetupError
from app.inference.local.model import LOADING_ERRORS, CausalModel, quiet

_WEIGHTS = "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_UNSUPPORTED = (
    *("modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters", "use_dora"),
    *("alora_invocation_tokens", "lora_bias"),
)
"""Settings of peft that other engines do not serve either: an adapter is to give the same answers everywhere."""


@dataclass(frozen=True)
class _Loaded:
    inner: str
    """peft's name for it. Ours may hold any character; peft builds module names from them."""
    weights: int
    """Number of base and adapter together, never given again."""


class Adapters:
    """The model has at most one of them active. Not safe for use by two threads at once."""

    def __init__(self, model: CausalModel) -> None:
        self._model = model
        self._tuner: LoraModel | None = None
        self._loaded: dict[str, _Loaded] = {}
        self._count = 0
        self._active: str | None = None
        self._shapes = {
            name: (module.out_features, module.in_features)
            for name, module in model.module.named_modules()
            if isinstance(module, torch.nn.Linear)
        }

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._loaded)

    def weights(self, name: str | None) -> int:
        """A number of 0 or less for the weights that `activate(name)` makes: another one after each load.

        KeyError for a name that is not loaded.
        """
        return 0 if name is None else self._loaded[name].weights

    def load(self, name: str, path: Path) -> None:
        """Reads the adapter from its directory in peft's layout; it is not active yet.

        Raises SetupError, the model as before, if the name is taken or the adapter does not fit the model.
        """
        if name in self._loaded:
            raise SetupError(f"an adapter named {name} is loaded already; give the new one another name")
        config = _config(path)
        self._check_weights(path, config)
        self._count += 1
        inner = f"adapter_{self._count}"
        try:
            with quiet():
                self._inject(inner, config, load_file(path / _WEIGHTS, device=str(self._model.device)))
        except LOADING_ERRORS as error:
            self._remove(inner)
            raise SetupError(f"{path}: peft cannot load this adapter ({str(error)[:300]})") from error
        self._loaded[name] = _Loaded(inner, -self._count)

    def unload(self, name: str) -> None:
        """KeyError for a name that is not loaded."""
        self._remove(self._loaded.pop(name).inner)

    def activate(self, name: str | None) -> None:
        """The next passes are of this adapter; of the base model for None."""
        inner = None if name is None else self._loaded[name].inner
        if inner == self._active or self._tuner is None:
            return
        if inner is None:
            self._tuner.disable_adapter_layers()
        else:
            self._tuner.set_adapter(inner, inference_mode=True)
            if self._active is None:
                self._tuner.enable_adapter_layers()
        self._active = inner

    def _inject(self, inner: str, config: LoraConfig, tensors: dict[str, torch.Tensor]) -> None:
        module = self._model.module
        self.activate(None)
        if self._tuner is None:
            self._tuner = LoraModel(module, config, inner)
        else:
            self._tuner.peft_config[inner] = config
            self._tuner.inject_adapter(module, inner)
        self._tuner.disable_adapter_layers()
        report: Any = set_peft_model_state_dict(module, tensors, adapter_name=inner)
        wrong = [key for key in report.missing_keys if f".{inner}." in key] + report.unexpected_keys
        if wrong:
            raise ValueError(f"its configuration and its tensors do not tell of the same layers: {wrong[0]}")
        for name, parameter in module.named_parameters():
            if f".{inner}." in name:
                # peft widens them to float32 for training.
                parameter.data = parameter.data.to(self._model.dtype)
        # New layers come in training mode, in which an adapter's dropout would be at work.
        module.eval().requires_grad_(False)

    def _remove(self, inner: str) -> None:
        self.activate(None)
        if self._loaded and self._tuner is not None:
            self._tuner.set_adapter([])
            if inner in self._tuner.peft_config:
                self._tuner.delete_adapter(inner)
            return
        # Without any adapter the model is the plain one again, without peft's cost in every layer.
        module = self._model.module
        for name, layer in list(module.named_modules()):
            if isinstance(layer, LoraLayer):
                parent, _, own = name.rpartition(".")
                setattr(module.get_submodule(parent), own, layer.get_base_layer())
        if hasattr(module, "peft_config"):
            del module.peft_config
        self._tuner = None

    def _check_weights(self, path: Path, config: LoraConfig) -> None:
        """Compares the tensors' names and shapes with the model's modules, before anything is changed."""
        shapes = _tensor_shapes(path)
        for key, shape in shapes.items():
            match = _KEY.fullmatch(key)
            if match is None or len(shape) != 2:
                raise SetupError(f"{path}: {key[:200]} is not a LoRA matrix of a linear layer; only these are served")
            module = match["module"]
            if module not in self._shapes:
                raise SetupError(f"{path}: it adapts {module[:200]}, which {self._model.name} does not have; it was "
                                 "trained for another base model")  # fmt: skip
            rows, columns = self._shapes[module]
            rank, side = (shape[0], shape[1]) if match["side"] == "A" else (shape[1], shape[0])
            if side != (columns if match["side"] == "A" else rows):
                raise SetupError(f"{path}: {key} has the shape {tuple(shape)}, which does not fit {self._model.name}'s "
                                 f"layer of {rows} by {columns}; it was trained for another base model")  # fmt: skip
            if not config.rank_pattern and rank != config.r:
                raise SetupError(f"{path}: its configuration tells of rank {config.r}, but {key} has rank {rank}")
        if not shapes:
            raise SetupError(f"{path}: {_WEIGHTS} holds no tensors")


def _config(path: Path) -> LoraConfig:
    file = path / "adapter_config.json"
    try:
        values = json.loads(file.read_text("utf-8"))
        if not isinstance(values, dict) or values.get("peft_type") != "LORA":
            raise SetupError(f"{file} does not describe a LoRA adapter")
        used = [name for name in _UNSUPPORTED if values.get(name)]
        if used or values.get("bias", "none") != "none":
            raise SetupError(f"{file}: {', '.join(used) or 'bias'} is not supported; train the adapter without it")
        config = LoraConfig.from_peft_type(**values)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SetupError(f"{file} cannot be read ({str(error)[:300]}); give a directory in peft's layout") from error
    assert isinstance(config, LoraConfig)
    config.inference_mode = True
    return config


def _tensor_shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(path / _WEIGHTS, framework="pt") as file:
            return {key: list(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise SetupError(
            f"{path / _WEIGHTS} cannot be read ({str(error)[:300]}); only safetensors are loaded"
        ) from error
