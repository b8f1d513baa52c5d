"""What goes over the wire to vLLM's `/v1/completions` and comes back: bytes and statuses, no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from app.domain import Json
from app.errors import EngineDown, EngineError, EngineFailed, EngineOverloaded, EngineRefused
from app.inference.engine import Generation, GenerationRequest
from app.inference.gate import RETRY_SECONDS

GATEWAY_STATUSES = frozenset({408, 502, 503, 504})
"""Worth another try: the server, or a gateway before it, was not up to it for a moment."""
MASKED = -9999.0
"""vLLM's log-probability of a token that the grammar forbids."""
_TOP = 20
"""vLLM's default --max-logprobs. Matters only to servers that do not know `logprob_token_ids` (before 0.24 or so):
they tell of the most probable tokens, and as the grammar has masked all others, the labels are among them."""
_NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Said every time: the server would take what is left out from the model's generation_config.json."""
_TOKEN_ID = "token_id:"  # noqa: S105 (how vLLM writes a token by its id)
_SHOWN = 500


def request_body(request: GenerationRequest, model: str) -> bytes:
    """Raises `EngineRefused` for what JSON cannot say."""
    prompt = request.prompt
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt if isinstance(prompt, list) else list(prompt),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        **_NEUTRAL,
    }
    if request.schema is not None:
        schema = {"name": "call", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.labels:
        body["logprobs"] = _TOP
        body["logprob_token_ids"] = list(request.labels)
        body["return_tokens_as_token_ids"] = True
    try:
        return orjson.dumps(body)
    except TypeError:
        pass  # Integers beyond 64 bits and lone surrogates: the standard library writes them.
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineRefused(f"The request cannot be written as JSON: {error}") from error


def generation(content: bytes, labels: Sequence[int]) -> Generation:
    """Of an answer with status 200. Raises `EngineDown` where it is none, or was broken off by the server."""
    try:
        answer = orjson.loads(content)
        choice, usage = answer["choices"][0], answer["usage"]
        reason = choice["finish_reason"]
        if reason in ("stop", "length"):
            details = usage.get("prompt_tokens_details") or {}
            return Generation(
                text=_text(choice["text"]),
                prompt_tokens=int(usage["prompt_tokens"]),
                completion_tokens=int(usage["completion_tokens"]),
                model=_text(answer["model"]),
                finished=reason == "stop",
                cached_tokens=int(details.get("cached_tokens") or 0),
                label_logprobs=_label_logprobs(choice.get("logprobs"), labels),
            )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise EngineDown(f"The model's server gave an unreadable answer: {_shown(content)}", retry_after=1) from error
    raise EngineFailed(f"The model's server broke the answer off ({reason}).", retry_after=1)


@dataclass(frozen=True)
class ServedModel:
    """An entry of `/v1/models`."""

    name: str
    is_adapter: bool
    """Adapters have a parent."""
    context: int | None
    """Tokens; None where the server does not tell."""


def served_models(content: bytes) -> list[ServedModel]:
    """Raises `EngineDown` for anything else."""
    try:
        return [
            ServedModel(_text(model["id"]), model.get("parent") is not None, _whole(model.get("max_model_len")))
            for model in orjson.loads(content)["data"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise EngineDown(f"The model's server gave an unreadable answer: {_shown(content)}", retry_after=1) from error


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def loading_problem(response: httpx.Response) -> str:
    """Why a server did not load an adapter, and what can be done about it."""
    message, _ = _message(response.content)
    if response.status_code == 404 and "adapter" not in message.lower():
        return (
            "it does not load adapters while it runs; start it with --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment"
        )
    if response.status_code == 404:
        return f"{message} It has to see the adapters' directory, as PETOOL_ENGINE_ADAPTERS_DIR says."
    return f"{response.status_code} {message}"


def error_of(status: int, retry_after: str | None, content: bytes) -> EngineError:
    """Of any other status."""
    message, kind = _message(content)
    if is_overload(status, retry_after, content):
        return EngineOverloaded(
            f"The model's server takes no more requests: {message}", retry_after=_seconds(retry_after)
        )
    if 400 <= status < 500 and status not in GATEWAY_STATUSES:
        return EngineRefused(f"The model's server refused the request ({status} {kind}): {message}")
    error = EngineDown if status in GATEWAY_STATUSES else EngineFailed
    return error(f"The model's server failed ({status} {kind}): {message}", retry_after=_seconds(retry_after))


def is_overload(status: int, retry_after: str | None, content: bytes) -> bool:
    """429, or a 503 that says so: vLLM's own when its queue is full (type "Service Unavailable"), or any that tells
    when to come back."""
    return status == 429 or (
        status == 503 and (retry_after is not None or _message(content)[1] == "Service Unavailable")
    )


def _label_logprobs(logprobs: Mapping[str, Json] | None, labels: Sequence[int]) -> dict[int, float] | None:
    if not labels or not logprobs:
        return None
    names = {f"{_TOKEN_ID}{label}": label for label in labels}
    step = next((step for step, token in enumerate(logprobs["tokens"]) if token in names), None)
    if step is None:
        return None
    top = logprobs["top_logprobs"][step]
    found = {label: float(top[name]) for name, label in names.items() if name in top}
    if len(found) < len(names):
        # Only the most probable were told; of the others it is known only whether the grammar forbids them.
        if min(top.values()) > MASKED:
            return None
        found |= {label: MASKED for label in names.values() if label not in found}
    return found


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _message(content: bytes) -> tuple[str, str]:
    """What an error says, and its type; vLLM's own and those of gateways."""
    try:
        document = orjson.loads(content)
    except ValueError:
        return _shown(content), ""
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or content.decode(errors="replace")
        return str(message)[:_SHOWN], str(error.get("type", ""))[:_SHOWN]
    return str(error)[:_SHOWN], ""


def _shown(content: bytes) -> str:
    return content[:_SHOWN].decode(errors="replace") or "(nothing)"


def _seconds(retry_after: str | None) -> int:
    """Of a Retry-After header; its dates are not read."""
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6:
        return max(1, int(retry_after))
    return RETRY_SECONDS
