"""What the tests of the local engine share: prompts, schemas, and transformers' own answers to compare with."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from app.inference.engine import GenerationRequest
from app.inference.local import LocalEngine

PATIENCE = 120.0
TEXT = "Find me a book about volcanoes, translate it, and tell me whether it will rain in Porto tomorrow. "
LETTERS = "ABC"
CHOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tool_name": {"enum": [f"{letter} Weather.Provider {letter}.Forecast" for letter in LETTERS]},
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
    "required": ["tool_name", "parameters"],
    "additionalProperties": False,
}
LONG: dict[str, Any] = {"type": "string", "minLength": 20_000}
"""An answer that has no end within any test's number of tokens."""


@asynccontextmanager
async def started(model: Path, **given: Any) -> AsyncIterator[LocalEngine]:
    settings: dict[str, Any] = {"threads": 1, "dtype": "float32"} | given
    engine = await asyncio.to_thread(LocalEngine, model, **settings)
    try:
        yield engine
    finally:
        await engine.close()


def slow(prompt: Sequence[int], **given: Any) -> GenerationRequest:
    values: dict[str, Any] = {"schema": LONG, "max_tokens": 4000, "timeout": PATIENCE}
    return GenerationRequest(prompt=prompt, **(values | given))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (an engine has no event for it)
            await asyncio.sleep(0.005)


class Reference:
    """The same model in transformers' hands."""

    def __init__(self, directory: Path, adapter: Path | None = None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(directory)
        self._model: Any = AutoModelForCausalLM.from_pretrained(directory)
        if adapter is not None:
            self._add(adapter)

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def token(self, text: str) -> int:
        (token,) = self.encode(text)
        return token

    def text(self, prompt: Sequence[int], tokens: int) -> str:
        return str(self.tokenizer.decode(self.continuation(prompt, tokens), skip_special_tokens=True))

    def continuation(self, prompt: Sequence[int], tokens: int) -> list[int]:
        output = self._model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=tokens
        )
        return [int(token) for token in output[0, len(prompt) :]]

    def logprobs(self, tokens: Sequence[int]) -> torch.Tensor:
        """(vocabulary,), of what comes after the tokens."""
        with torch.inference_mode():
            return torch.log_softmax(self._model(torch.tensor([tokens])).logits[0, -1], -1)

    def _add(self, adapter: Path) -> None:
        """Adds the products of LoRA's matrices to the weights: what an adapter is, by its definition."""
        settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        tensors = load_file(adapter / "adapter_model.safetensors")
        for name, low in tensors.items():
            if ".lora_A." in name:
                high = tensors[name.replace(".lora_A.", ".lora_B.")]
                layer = self._model.get_submodule(name.removeprefix("base_model.model.").split(".lora_A.")[0])
                with torch.no_grad():
                    layer.weight += settings["lora_alpha"] / settings["r"] * high @ low
