"""LoRA adapters of one model, by name: checked, loaded, switched, unloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, LoraModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from app.errors import InvalidAdapter, SetupError
from app.inference.local.model import CausalModel
from app.model_files.inspection import WEIGHTS, check_layers, linear_shapes, read_tensors
from app.model_files.loading import LOADING_ERRORS, quiet
from app.model_files.peft_config import read_config


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
        self._shapes = linear_shapes(model.module)

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
        config = self._checked(path)
        self._count += 1
        inner = f"adapter_{self._count}"
        try:
            with quiet():
                self._inject(inner, config, load_file(path / WEIGHTS, device=str(self._model.device)))
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

    def _checked(self, path: Path) -> LoraConfig:
        """Compares the tensors' names and shapes with the model's modules, before anything is changed."""
        try:
            config = read_config(path)
            check_layers(read_tensors(path), config, self._model.name, self._shapes)
        except InvalidAdapter as error:
            raise SetupError(f"{path}: {error.detail}") from error
        return config
