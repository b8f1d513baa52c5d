"""One model behind an OpenAI-compatible chat endpoint: cached, counted, within a budget, patient."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from app.errors import SetupError
from training.openai.cache import Cache
from training.openai.costs import Ledger, UsageReport
from training.openai.settings import OpenAISettings
from training.openai.wire import Answer, ChatRequest, Dialect, Passing, answer_of

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
"""Seconds between tries, where the server does not ask for more."""
_PATIENCE: Final = 300.0
"""Seconds that a server may ask for; at more the run ends, since whoever started it should know."""
_CONNECT_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn, and so vLLM, closes an idle connection."""
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

Sleep = Callable[[float], Awaitable[None]]


class ChatClient:
    """Asks for one text at a time, as many at once as the settings say. `aclose` when done."""

    def __init__(self, settings: OpenAISettings, *, sleep: Sleep = asyncio.sleep) -> None:
        """Opens the cache: SetupError where that cannot be used."""
        self.ledger = Ledger(settings.prices, settings.budget)
        self._settings = settings
        self._sleep = sleep
        self._dialect = Dialect()
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self._cache = Cache(settings.cache)
        self._http = httpx.AsyncClient(
            headers=_headers(settings.api_key),
            timeout=httpx.Timeout(None, connect=min(_CONNECT_SECONDS, settings.timeout)),
            # How many connections there are is up to the slots.
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=settings.concurrency,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        )

    async def aclose(self) -> None:
        await self._http.aclose()
        self._cache.close()

    async def complete(self, request: ChatRequest) -> Answer:
        """The answer, from the cache where it has one: that costs nothing and needs no network.

        Raises BudgetSpent where the request might pass the budget, WriterRejected (blank) where the server does not
        take this prompt, and SetupError where it takes none, or has not answered at the last try.
        """
        key = request.key(self._settings.model, self._settings.temperature)
        kept = self._kept(key)
        if kept is not None:
            return kept
        async with self._slots:
            # Somebody else may have asked the same since.
            return self._kept(key) or await self._ask(request, key)

    def usage(self) -> UsageReport:
        ledger, counts = self.ledger, self.ledger.counts
        return UsageReport(
            model=self._settings.model,
            **vars(counts),
            cost=ledger.cost,
            lost_cost=ledger.lost_cost,
            budget=self._settings.budget,
            cache=self._cache.totals(),
        )

    def _kept(self, key: str) -> Answer | None:
        kept = self._cache.get(key)
        self.ledger.counts.cache_hits += kept is not None
        return kept

    async def _ask(self, request: ChatRequest, key: str) -> Answer:
        """Tries until there is an answer; what may be wrong for longer ends the run."""
        for number in range(self._settings.retries + 1):
            try:
                return await self._try(request, key)
            except Passing as failure:
                if number == self._settings.retries:
                    raise SetupError(self._given_up(failure, number + 1)) from failure
                wait = self._wait(failure, number)
            self.ledger.counts.retries += 1
            await self._sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _try(self, request: ChatRequest, key: str) -> Answer:
        """One try, within the budget. The answer is stored before anything can cancel it."""
        most = request.most_usage()
        async with self.ledger.reserved(most):
            try:
                response = await self._exchange(request)
                answer = answer_of(response, most)
            except Passing as failure:
                if failure.is_lost:
                    self.ledger.lost(most)
                raise
            except asyncio.CancelledError:
                self.ledger.lost(most)
                raise
            cost = self.ledger.answered(answer.usage)
            return self._cache.put(key, self._settings.model, answer, cost)

    async def _exchange(self, request: ChatRequest) -> httpx.Response:
        """The server's response, asked in words that it knows: what it refuses to know once is not tried again."""
        while True:
            dialect = self._dialect
            body = dialect.body(request, self._settings.model, self._settings.temperature)
            response = await self._post(body)
            known = dialect.after(response)
            if known is None:
                return response
            if self._dialect is dialect:
                # Else another request was refused at the same time, and has learned the same.
                self._dialect = known

    async def _post(self, body: bytes) -> httpx.Response:
        self.ledger.counts.requests += 1
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._http.post(self._url, content=body)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise Passing(f"it did not answer within {self._settings.timeout:g} s", is_lost=True) from error
        except httpx.RequestError as error:
            detail = f"the connection failed ({type(error).__name__}: {error})"
            raise Passing(detail, is_lost=not isinstance(error, _NEVER_SENT)) from error

    def _wait(self, failure: Passing, number: int) -> float:
        """Seconds: twice as long from try to try, spread so that not all come back at once."""
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2**number)
        own = random.uniform(longest / 2, longest)  # noqa: S311 (to spread the load)
        if failure.retry_after is None:
            return own
        if failure.retry_after > _PATIENCE:
            raise SetupError(
                f"The model's server at {self._settings.base_url} asks to wait {failure.retry_after:.0f} s "
                f"({failure.detail}). Run the same command again then: what is done is kept in the cache."
            ) from failure
        return failure.retry_after + own / 2

    def _given_up(self, failure: Passing, tries: int) -> str:
        times = "once" if tries == 1 else f"{tries} times"
        return (
            f"The model's server at {self._settings.base_url} was asked {times}; the last time {failure.detail}. "
            f"What is done is kept in the cache: run the same command again when it works."
        )


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "petool"}
    return headers | {"Authorization": f"Bearer {api_key}"} if api_key else headers
