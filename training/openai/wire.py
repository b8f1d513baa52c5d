"""What goes over the wire: a request's body in the words the server knows, and what its response means."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Final

import httpx

from app.domain import Json
from app.errors import SetupError
from app.json_data.values import UNSTORABLE
from training.generators.writer import WriterRejected
from training.openai.costs import TokenUsage

_SHOWN: Final = 300
"""Characters of a server's words that are passed on."""
_PLAUSIBLE: Final = 10**9
"""A usage of more tokens is none."""
_PASSING: Final = frozenset({408, 409, 425, 429})
_ADVICE: Final = {
    401: "check the API key",
    402: "the account has no credit",
    403: "the API key may not use this model",
    404: "there is no such model, or base_url is not the API's (it ends in /v1, mostly)",
    405: "base_url is not the API's (it ends in /v1, mostly)",
    **dict.fromkeys((301, 302, 303, 307, 308), "base_url has moved: give the new one"),
}
_TOO_LONG: Final = ("context length", "context_length", "context window", "maximum model length", "too long")
_FILTERED: Final = ("content_filter", "content_policy", "content management policy")


class Passing(Exception):
    """A failure that may be over in a moment."""

    def __init__(self, detail: str, *, retry_after: float | None = None, is_lost: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds that the server asks for."""
        self.is_lost = is_lost
        """Whether the server may have worked, and may bill."""


@dataclass(frozen=True)
class Answer:
    text: str
    """Can be stored; empty where the model said nothing, or refused."""
    finish_reason: str
    usage: TokenUsage

    @property
    def is_cut_off(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True)
class ChatRequest:
    """Everything that determines the answer, but for model and temperature."""

    messages: tuple[tuple[str, str], ...]
    """Roles and texts."""
    schema_name: str
    schema: Mapping[str, Json]
    """Of the answer, by the rules of OpenAI's strict mode."""
    max_tokens: int
    seed: int
    attempt: int = 0

    def key(self, model: str, temperature: float) -> str:
        """SHA-256 of the content. The server's address is not in it: a cache moves with the model."""
        content = {
            "model": model,
            "messages": self.messages,
            "schema": self.schema,
            "temperature": float(temperature),
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "attempt": self.attempt,
        }
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def most_usage(self) -> TokenUsage:
        """The most tokens it is likely to take. Three bytes a token: more than English or JSON need, and what
        scripts that tokenizers know little of do need; a schema is read as part of the prompt."""
        texts = [text for _, text in self.messages]
        size = sum(len(text.encode("utf-8", "replace")) for text in [*texts, json.dumps(self.schema)])
        return TokenUsage(math.ceil(size / 3) + 8 * (len(texts) + 1), self.max_tokens, told=False)


class AnswerFormat(IntEnum):
    """How much of `response_format` the server knows."""

    SCHEMA = 0
    OBJECT = 1
    NONE = 2


@dataclass(frozen=True)
class Dialect:
    """How the server wants to be asked, as far as its refusals told."""

    format: AnswerFormat = AnswerFormat.SCHEMA
    limit: str = "max_tokens"
    """Newer models of OpenAI's know it only as `max_completion_tokens`."""
    has_seed: bool = True

    def body(self, request: ChatRequest, model: str, temperature: float) -> bytes:
        document: dict[str, Json] = {
            "model": model,
            # What is no Unicode, no server takes.
            "messages": [{"role": role, "content": UNSTORABLE.sub("\ufffd", text)} for role, text in request.messages],
            "temperature": temperature,
            self.limit: request.max_tokens,
        }
        if self.has_seed:
            document["seed"] = request.seed
        if self.format is AnswerFormat.SCHEMA:
            schema = {"name": request.schema_name, "schema": request.schema, "strict": True}
            document["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.format is AnswerFormat.OBJECT:
            document["response_format"] = {"type": "json_object"}
        return json.dumps(document).encode("ascii")

    def after(self, response: httpx.Response) -> "Dialect | None":
        """How to ask instead of what was refused; None where asking otherwise will not help."""
        if response.status_code not in (400, 422):
            return None
        text = response.text.casefold()
        if _says(text, *_TOO_LONG, *_FILTERED):
            return None
        if self.limit == "max_tokens" and "max_completion_tokens" in text:
            return replace(self, limit="max_completion_tokens")
        if self.has_seed and _says(text, '"seed"', "'seed'", "`seed`", "random_seed", "parameter: seed"):
            return replace(self, has_seed=False)
        about_format = _says(text, "response_format", "json_schema", "json_object", "schema", "structured", "grammar")
        if about_format and self.format is not AnswerFormat.NONE:
            return replace(self, format=AnswerFormat(self.format + 1))
        return None


def answer_of(response: httpx.Response, most: TokenUsage) -> Answer:
    """The answer in a response. `most` is counted where the server does not tell its usage.

    Raises Passing for what may go better in a moment, WriterRejected (blank) where the server does not take this one
    prompt, SetupError for what only the operator can change.
    """
    status = response.status_code
    if status == 200:
        return _read(response, most)
    said = _message(response)
    text = response.text.casefold()
    if status == 429 and "insufficient_quota" in text:
        raise SetupError(f"The model's server says that the account has no credit left: {said}")
    if status in _PASSING or status >= 500:
        raise Passing(f"it answered {status}: {said}", retry_after=_retry_after(response.headers.get("Retry-After")))
    if status in (400, 413, 422) and (status == 413 or _says(text, *_TOO_LONG, *_FILTERED)):
        raise WriterRejected("blank", f"the model's server does not take the prompt: {said}")
    advice = f" ({_ADVICE[status]})" if status in _ADVICE else ""
    raise SetupError(f"The model's server refuses with {status}{advice}: {said}")


def _says(text: str, *words: str) -> bool:
    return any(word in text for word in words)


def _read(response: httpx.Response, most: TokenUsage) -> Answer:
    document = _json(response)
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        detail = "it answered 200 with what is no chat completion (is base_url an OpenAI-compatible API's?)"
        raise Passing(f"{detail}: {_message(response)}", is_lost=True)
    content = message.get("content")
    text = UNSTORABLE.sub("\ufffd", content) if isinstance(content, str) else ""
    finish_reason = choice.get("finish_reason") if isinstance(choice, dict) else None
    is_known = isinstance(finish_reason, str) and finish_reason.isascii()
    return Answer(text, str(finish_reason) if is_known else "stop", _usage(document.get("usage"), most))


def _usage(usage: Json, most: TokenUsage) -> TokenUsage:
    if not isinstance(usage, dict):
        return most
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or completion is None:
        return most
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return TokenUsage(prompt, completion, cached or 0)


def _count(value: Json) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _PLAUSIBLE
    return value if is_count else None


def _json(response: httpx.Response) -> Json:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _message(response: httpx.Response) -> str:
    """What the server says is wrong, on one line."""
    document = _json(response)
    error = document.get("error", document) if isinstance(document, dict) else None
    said = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    text = " ".join((said if isinstance(said, str) else response.text).split())
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return UNSTORABLE.sub("\ufffd", shown) or "nothing"


def _retry_after(value: str | None) -> float | None:
    """Seconds; None where the header is not there, or says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
