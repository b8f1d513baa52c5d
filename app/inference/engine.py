"""What every engine is: a prompt of token ids in, text under a JSON Schema out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.domain import Json


@dataclass(frozen=True)
class GenerationRequest:
    prompt: Sequence[int]
    """Token ids, chat template included."""
    schema: Mapping[str, Json] | None
    """JSON Schema of the answer (`app.answers.schema.answer`); None lets the model write what it will."""
    max_tokens: int
    timeout: float
    """Seconds until the answer is of no use: `EngineTimeout`."""
    labels: Sequence[int] = ()
    """Token ids of the candidates' labels, whose log-probabilities at the choice are wanted."""
    adapter: str | None = None
    """Name of a LoRA adapter; None for the base model."""
    temperature: float = 0.0
    user: str = ""
    """Whose prompt it is: one user's requests go to the same of several engines, where their prefix is kept."""


@dataclass(frozen=True)
class Generation:
    text: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    """The adapter that wrote it, or the base model's name: what the engine says, not what was asked for."""
    finished: bool = True
    """False: cut off at `max_tokens`."""
    cached_tokens: int = 0
    """Tokens of the prompt that were not computed again."""
    label_logprobs: Mapping[int, float] | None = None
    """By token id, at the first generated token that is a label; None where the engine does not tell."""


class Engine(Protocol):
    """All methods are safe to call at once from many tasks of one event loop."""

    @property
    def name(self) -> str:
        """vllm or local."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Raises `EngineDown`, `EngineOverloaded`, `EngineTimeout` or `EngineRefused`.

        Cancelling the task frees what the engine spends on it.
        """

    async def ready(self) -> bool:
        """Whether it would take a request now; quick, never raises."""

    async def watch(self) -> None:
        """Run for as long as the service does: notice when the engine comes back. Returns if there is nothing to do."""

    async def close(self) -> None: ...


class AdapterEngine(Engine, Protocol):
    """An engine whose adapters come and go while it runs."""

    @property
    def place(self) -> str:
        """Where it runs, for people: a URL, or "in process"."""

    @property
    def shared(self) -> bool:
        """Whether other processes use it too, so that its adapters are not this one's alone."""

    async def loaded(self) -> frozenset[str]:
        """Names of the adapters that it serves now: asked anew, not remembered. Raises `EngineError`."""

    async def context_tokens(self) -> int | None:
        """What prompt and answer may have together; None where it does not tell. Raises `EngineError`."""

    async def load_adapter(self, name: str, path: Path) -> None:
        """Serve the adapter in the directory, as the engine's machine sees it; a name loaded already is no error.

        Raises `InvalidAdapter` with the engine's own reason, `EngineError` where it does not answer.
        """

    async def unload_adapter(self, name: str) -> None:
        """Requests for it are refused from now on; one that is not there is no error. Raises `EngineError`."""
