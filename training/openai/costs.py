"""Tokens and dollars: what was used, and that a run's budget is never passed."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from app.domain import Json
from app.errors import SetupError

_MILLION = 1_000_000


class BudgetSpent(SetupError):
    """The next request might pass the run's budget. What was answered is in the cache."""


@dataclass(frozen=True)
class TokenUsage:
    prompt: int
    completion: int
    cached_prompt: int = 0
    """Of `prompt`, what the server had in its own prefix cache; 0 where it does not tell."""
    told: bool = True
    """False: the server did not say, and these are the most there can have been."""


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens. What a provider takes off for cached prompts is not known here: costs are then a
    little less than what is told."""

    input: float
    output: float

    def cost(self, usage: TokenUsage) -> float:
        return (usage.prompt * self.input + usage.completion * self.output) / _MILLION


@dataclass(frozen=True)
class CacheTotals:
    """Everything a cache file holds, of all runs and models."""

    answers: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """None where the price of an answer was not known when it came."""


@dataclass(frozen=True)
class UsageReport:
    """What this run used, and what is in the cache."""

    model: str
    requests: int
    """Sent over HTTP, retries among them."""
    answers: int
    """Of the requests, those that brought a text."""
    retries: int
    cache_hits: int
    repairs: int
    """Answers that were sent back once, with what is wrong with them."""
    rejected: int
    """Items that could not be written."""
    prompt_tokens: int
    cached_prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Answers without `usage`: the most they can have taken is counted."""
    cost: float | None
    """Dollars; None where the prices are not known."""
    lost_cost: float | None
    """The most that requests can have cost which the server got and never answered; not in `cost`."""
    budget: float | None
    cache: CacheTotals

    def to_json(self) -> dict[str, Json]:
        return asdict(self)


@dataclass
class Counts:
    requests: int = 0
    answers: int = 0
    retries: int = 0
    cache_hits: int = 0
    repairs: int = 0
    rejected: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0


class Ledger:
    """One run's account. Never overspends, as far as the estimates hold: a request reserves the most it may cost.

    What was sent and never answered counts against the budget too, since the provider may bill it.
    """

    def __init__(self, prices: Prices | None, budget: float | None) -> None:
        self.counts = Counts()
        self._prices = prices
        self._budget = budget
        self._spent = 0.0
        self._lost = 0.0
        self._under_way: dict[object, float] = {}
        self._settled = asyncio.Event()
        self._stopped = False

    @property
    def cost(self) -> float | None:
        return None if self._prices is None else self._spent

    @property
    def lost_cost(self) -> float | None:
        return None if self._prices is None else self._lost

    @asynccontextmanager
    async def reserved(self, most: TokenUsage) -> AsyncIterator[None]:
        """Room for a request of at most so many tokens; BudgetSpent where there is none.

        Where there might be once the requests under way are settled, those are waited for: whoever gives up at the
        exception would otherwise throw away answers that are being paid for. After the first BudgetSpent no request
        of this run gets room, so that the run ends, and does not pick what is cheap.
        """
        dollars = self._price(most)
        while self._stopped or not self._has_room(dollars):
            if self._stopped or not self._under_way:
                self._stopped = True
                raise BudgetSpent(self._message(dollars))
            await self._settled.wait()
        ticket = object()
        self._under_way[ticket] = dollars
        try:
            yield
        finally:
            del self._under_way[ticket]
            settled, self._settled = self._settled, asyncio.Event()
            settled.set()

    def answered(self, usage: TokenUsage) -> float | None:
        """Counts an answer and gives its cost. To be called within `reserved`."""
        self.counts.answers += 1
        self.counts.prompt_tokens += usage.prompt
        self.counts.cached_prompt_tokens += usage.cached_prompt
        self.counts.completion_tokens += usage.completion
        self.counts.estimated += not usage.told
        cost = self._price(usage)
        self._spent += cost
        return None if self._prices is None else cost

    def lost(self, most: TokenUsage) -> None:
        """Counts a try that the server may have worked on, without an answer. To be called within `reserved`."""
        self._lost += self._price(most)

    def _has_room(self, dollars: float) -> bool:
        if self._budget is None:
            return True
        return math.fsum([self._spent, self._lost, *self._under_way.values(), dollars]) <= self._budget

    def _price(self, usage: TokenUsage) -> float:
        return 0.0 if self._prices is None else self._prices.cost(usage)

    def _message(self, dollars: float) -> str:
        unanswered = f", and up to ${self._lost:.6f} for requests that were never answered" if self._lost else ""
        return (
            f"The budget of ${self._budget:g} has no room for the next request, which may cost ${dollars:.6f}: spent "
            f"are ${self._spent:.6f} for {self.counts.answers} answers{unanswered}. What is done is kept in "
            f"the cache: run the same command again with a higher budget, and only the rest is asked for."
        )
