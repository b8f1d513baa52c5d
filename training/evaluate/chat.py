"""A model behind an OpenAI-compatible chat endpoint on the benchmark."""

import asyncio
from typing import Final

import httpx

from app.decision.model import build_prompt
from app.errors import PromptTooLong
from app.prompting.builder import PromptBuilder
from training.evaluate.answers import Row
from training.evaluate.config import ChatConfig
from training.evaluate.patience import Failed, Sleep, patiently
from training.evaluate.systems import read_call
from training.examples import Question
from training.generators.writer import WriterRejected
from training.openai.wire import Answer, AnswerFormat, ChatRequest, Dialect, Passing, answer_of

_CONNECT_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn, and so vLLM, closes an idle connection."""
_SEED: Final = 1


class AskedEndpoint:
    """The same wire and the same patience as the `openai` writer, without its cache: the answers are one."""

    def __init__(
        self, config: ChatConfig, prompts: PromptBuilder, api_key: str | None, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._config = config
        self._prompts = prompts
        self._sleep = sleep
        self._dialect = Dialect(AnswerFormat.NONE)
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        headers = {"Content-Type": "application/json", "User-Agent": "petool"}
        self._http = httpx.AsyncClient(
            headers=headers | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, question: Question) -> Row:
        try:
            prompt, candidates = await build_prompt(self._prompts, question.ranked)
        except PromptTooLong as error:
            raise Failed(error.detail, alone=True) from error
        messages = tuple((message["role"], message["content"]) for message in prompt.messages)
        request = ChatRequest(messages, "", {}, self._config.max_tokens, _SEED)
        answer = await patiently(lambda: self._try(request), self._config.retries, self._sleep)
        tools = [candidate.tool for candidate in candidates]
        return Row(
            question.instance.id,
            read_call(answer.text, tools, prompt.labels, self._prompts.format.answer),
            text=answer.text,
            decided_by="model",
            prompt_tokens=answer.usage.prompt,
            completion_tokens=answer.usage.completion,
        )

    async def _try(self, request: ChatRequest) -> Answer:
        """Raises Passing; Failed where the server does not take this one prompt; SetupError where it takes none."""
        while True:
            dialect = self._dialect
            response = await self._post(dialect.body(request, self._config.model, self._config.temperature))
            known = dialect.after(response)
            if known is None:
                break
            self._dialect = known
        try:
            return answer_of(response, request.most_usage())
        except WriterRejected as error:
            raise Failed(str(error), alone=True) from error

    async def _post(self, body: bytes) -> httpx.Response:
        try:
            async with asyncio.timeout(self._config.timeout):
                return await self._http.post(self._url, content=body)
        except TimeoutError as error:
            raise Passing(f"it did not answer within {self._config.timeout:g} s") from error
        except httpx.RequestError as error:
            raise Passing(f"the connection failed ({type(error).__name__}: {error})") from error
