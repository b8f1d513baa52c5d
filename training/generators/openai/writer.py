"""The `openai` writer: the paper's five tasks, asked of a chat model, each answer checked and repaired once."""

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeVar

from app.domain import HistorySetting, Interaction, Tool
from training.data.records import Attributes, ToolUse
from training.generators.openai import answers, prompts
from training.generators.openai.prompts import Prompt
from training.generators.writer import PlannedInteraction, WriterRejected
from training.openai.client import ChatClient, Sleep
from training.openai.costs import UsageReport
from training.openai.settings import OpenAISettings
from training.openai.wire import Answer, ChatRequest

_ENTRIES: Final = 8
"""Interactions of a history that `max_tokens` has room for; a longer history gets as much again."""

_Text = TypeVar("_Text")


class OpenAIWriter:
    """A `training.generators.writer.Writer`. An async context manager; or call `aclose`.

    Apart from WriterRejected, each method raises BudgetSpent where the next request might pass the budget, and
    SetupError where the server or the cache fails for good; what was answered until then is in the cache. The model's
    `seed` is made from the item's key, and the cache has its answer: the same key gives the same text.
    """

    def __init__(self, settings: OpenAISettings, *, sleep: Sleep = asyncio.sleep) -> None:
        """Opens the cache (SetupError); connects to nothing. `sleep` passes the time between tries."""
        self.name = f"openai/{settings.model}/prompts-{prompts.VERSION}"
        self._max_tokens = settings.max_tokens
        self._client = ChatClient(settings, sleep=sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    def usage(self) -> UsageReport:
        """Of this run, and of the whole cache. Not after `aclose`."""
        return self._client.usage()

    async def example(self, tool: Tool, key: str) -> ToolUse:
        return await self._write(prompts.example(tool), lambda answer: answers.tool_use(answer, tool), key)

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:
        return await self._write(prompts.attributes(tool, example), answers.attributes, tool.name)

    async def history(
        self, setting: HistorySetting, planned: Sequence[PlannedInteraction], key: str
    ) -> Sequence[ToolUse]:
        if not planned:
            return []
        prompt = prompts.history(setting, planned)
        max_tokens = self._max_tokens * math.ceil(len(planned) / _ENTRIES)
        return await self._write(prompt, lambda answer: answers.history(answer, planned), key, max_tokens=max_tokens)

    async def instruction(
        self, history: Sequence[Interaction], tool: Tool, group: Sequence[Attributes], key: str, attempt: int
    ) -> ToolUse:
        prompt = prompts.instruction(history, tool, group, attempt)
        return await self._write(prompt, lambda answer: answers.instruction(answer, tool), key, attempt=attempt)

    async def _write(
        self,
        prompt: Prompt,
        read: Callable[[Answer], _Text],
        key: str,
        *,
        attempt: int = 0,
        max_tokens: int | None = None,
    ) -> _Text:
        """What `read` makes of the answer; of a second one, where it rejects the first."""
        counts = self._client.ledger.counts

        async def ask(prompt: Prompt) -> Answer:
            limit = self._max_tokens if max_tokens is None else max_tokens
            shape = prompt.shape
            return await self._client.complete(
                ChatRequest(prompt.messages, shape.name, shape.schema, limit, _seed(key, attempt), attempt)
            )

        try:
            answer = await ask(prompt)
            try:
                return read(answer)
            except WriterRejected as rejected:
                problem = rejected.detail
            counts.repairs += 1
            return read(await ask(prompts.repair(prompt, answer.text, problem)))
        except WriterRejected:
            counts.rejected += 1
            raise


def _seed(key: str, attempt: int) -> int:
    """31 bits, which every server takes."""
    digest = hashlib.sha256(f"{attempt} {key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
