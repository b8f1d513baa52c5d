"""What the `openai` writer is told by the configuration."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.errors import SetupError
from training.openai.costs import Prices


@dataclass(frozen=True)
class OpenAISettings:
    """SetupError for values that cannot work."""

    base_url: str
    """As OpenAI's SDKs take it, with the version: https://api.openai.com/v1."""
    model: str
    cache: Path
    """An SQLite file; it is made where there is none. Several processes may share it."""
    api_key: str | None = field(default=None, repr=False)
    temperature: float = 0.7
    max_tokens: int = 1024
    """Of one answer; a long history gets a multiple of it."""
    timeout: float = 60.0
    """Seconds for one HTTP request, from connecting to the answer's last byte."""
    concurrency: int = 8
    """HTTP requests at a time."""
    retries: int = 6
    """After the first try, of what may go better in a moment."""
    budget: float | None = None
    """Dollars for this run; needs both prices."""
    input_price: float | None = None
    """Dollars per million tokens; None: unknown."""
    output_price: float | None = None

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if not self.model.strip():
            raise SetupError("The writer needs the name of a model.")
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise SetupError("The writer's API key holds characters that an HTTP header cannot.")
        for name, least in (("max_tokens", 1), ("concurrency", 1), ("retries", 0), ("temperature", 0)):
            if not getattr(self, name) >= least:
                raise SetupError(f"The writer's {name} must be at least {least}.")
        if not (self.timeout > 0 and math.isfinite(self.timeout) and math.isfinite(self.temperature)):
            raise SetupError("The writer's timeout must be above 0, and timeout and temperature finite.")
        for name in ("budget", "input_price", "output_price"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise SetupError(f"The writer's {name} must be a number of dollars.")
        if self.budget is not None and self.prices is None:
            raise SetupError(
                "A budget needs the model's prices: give input_price and output_price, in dollars per million tokens "
                "(0 for a server of your own)."
            )

    @property
    def prices(self) -> Prices | None:
        if self.input_price is None or self.output_price is None:
            return None
        return Prices(self.input_price, self.output_price)


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SetupError(f"The writer's base_url {url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise SetupError(f"The writer's base_url {url!r} must be like https://api.openai.com/v1.")
