"""The `vllm` engine: a vLLM server, over HTTP."""

import asyncio
import random
from pathlib import Path
from typing import Final

import httpx
import orjson

from app.errors import AdapterMissing, EngineDown, EngineTimeout, InvalidAdapter, SetupError
from app.inference import vllm_wire
from app.inference.breaker import Breaker
from app.inference.engine import Generation, GenerationRequest
from app.inference.gate import Gate

_KEEPALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which vLLM closes an idle connection: not reused just as the server lets go of it."""
_BACKOFF_SECONDS: Final = (0.02, 0.1)
_ADAPTER_SECONDS: Final = 120.0
"""For a large adapter from a slow disk."""
_CALM: Final = 10
"""Probes are this much rarer while all is well."""
_PATIENCE: Final = 5
"""Times `probe_seconds`: a server that does not say how it is for so long is down."""


class VllmEngine:
    """Asks a vLLM server's `/v1/completions` with token ids, so that no text becomes a special token.

    The server needs `--structured-outputs-config '{"backend": "guidance", "disable_any_whitespace": true}'` (without
    it a weak model writes white space until `max_tokens`), for adapters `--enable-lora` (to load them while it runs
    also VLLM_ALLOW_RUNTIME_LORA_UPDATING=1), and for `cached_tokens` other than 0 `--enable-prefix-caching
    --enable-prompt-tokens-details`. `label_logprobs` are those *under the schema*: the grammar's masked tokens have
    -9999, and the rest add up to one.

    A request is tried twice where the connection fails or a gateway answers; generation has no side effects.
    After a connection failure all requests fail at once (`EngineDown`) until the server answers `/health`, which
    `watch` asks every `probe_seconds`; without `watch` one request is let through every `probe_seconds`.

    url: http(s)://host:port, with a path where vLLM is behind one; SetupError for anything else.
    max_concurrency, max_waiting: requests at the server, and requests that wait here for one of those to end;
    `EngineOverloaded` beyond. Waiting counts against a request's `timeout`.
    """

    def __init__(
        self,
        url: str,
        *,
        base_model: str,
        api_key: str | None = None,
        max_concurrency: int = 64,
        max_waiting: int = 128,
        connect_timeout: float = 2.0,
        probe_seconds: float = 1.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        base = _checked_url(url)
        self._base = base
        self._completions = httpx.URL(f"{base}/v1/completions")
        self._health = httpx.URL(f"{base}/health")
        self._headers = _headers(api_key)
        # Only connecting has a limit of its own: all else is the request's.
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect_timeout).as_dict()}
        # No client before it: of what that does (redirects, cookies, the environment's proxies) nothing is wanted.
        self._transport = transport or _transport()
        self._base_model = base_model
        self._probe_seconds = probe_seconds
        self._gate = Gate(max_concurrency, max_waiting)
        self._breaker = Breaker(probe_seconds)
        self._closed = False

    @property
    def name(self) -> str:
        return "vllm"

    @property
    def place(self) -> str:
        return self._base

    @property
    def shared(self) -> bool:
        return True

    async def generate(self, request: GenerationRequest) -> Generation:
        body = vllm_wire.request_body(request, request.adapter or self._base_model)
        try:
            async with asyncio.timeout(request.timeout):
                ticket = self._enter()
                async with self._gate:
                    response = await self._send(body, ticket)
        except TimeoutError:
            # A server that hangs fails no connection: have it asked how it is.
            self._breaker.suspected.set()
            raise EngineTimeout(f"The model did not answer within {request.timeout:g} s.") from None
        if response.status_code == 200:
            return vllm_wire.generation(response.content, request.labels)
        if response.status_code >= 500:
            self._breaker.suspected.set()
        error = vllm_wire.error_of(response.status_code, response.headers.get("Retry-After"), response.content)
        if response.status_code == 404 and request.adapter is not None:
            raise AdapterMissing(error.detail)
        raise error

    async def loaded(self) -> frozenset[str]:
        return frozenset(model.name for model in await self._models() if model.is_adapter)

    async def context_tokens(self) -> int | None:
        return min((model.context for model in await self._models() if model.context is not None), default=None)

    async def load_adapter(self, name: str, path: Path) -> None:
        given = {"lora_name": name, "lora_path": str(path)}
        response = await self._ask_about_adapters("POST", "load_lora_adapter", given, _ADAPTER_SECONDS)
        # 400 where another process was quicker, and for names that a server never takes.
        if response.status_code != 200 and not (response.status_code == 400 and name in await self.loaded()):
            raise InvalidAdapter(f"{self._base} does not load it: {vllm_wire.loading_problem(response)}")

    async def unload_adapter(self, name: str) -> None:
        response = await self._ask_about_adapters("POST", "unload_lora_adapter", {"lora_name": name}, _ADAPTER_SECONDS)
        if response.status_code not in (200, 404):
            raise vllm_wire.error_of(response.status_code, None, response.content)

    async def _models(self) -> list[vllm_wire.ServedModel]:
        response = await self._ask_about_adapters("GET", "models", None, 5 * self._probe_seconds)
        if response.status_code != 200:
            raise vllm_wire.error_of(response.status_code, None, response.content)
        return vllm_wire.served_models(response.content)

    async def _ask_about_adapters(
        self, method: str, path: str, document: dict[str, str] | None, seconds: float
    ) -> httpx.Response:
        body = None if document is None else orjson.dumps(document)
        url = httpx.URL(f"{self._base}/v1/{path}")
        try:
            async with asyncio.timeout(seconds):
                try:
                    response = await self._ask(method, url, body)
                except httpx.RequestError:
                    # The server closed an idle connection just then, say. Done twice, all of these come to the same.
                    response = await self._ask(method, url, body)
        except TimeoutError:
            self._breaker.suspected.set()
            raise EngineTimeout(f"{self._base} did not answer /v1/{path} within {seconds:g} s.") from None
        except httpx.RequestError as error:
            # Not counted as a failure: `watch` and requests find out whether it is down.
            self._breaker.suspected.set()
            raise self._breaker.error(type(error).__name__) from error
        if _is_passing(response):
            raise EngineDown(f"{self._base} answered {response.status_code}.")
        return response

    async def ready(self) -> bool:
        if self._closed or self._gate.full:
            return False
        if self._breaker.watched and self._breaker.known:
            return not self._breaker.down
        return await self._is_alive(self._probe_seconds)

    async def watch(self) -> None:
        """Runs until it is cancelled or the engine closed."""
        breaker = self._breaker
        breaker.watched = True
        try:
            while not self._closed:
                breaker.suspected.clear()
                answers = breaker.answers
                alive = await self._is_alive(_PATIENCE * self._probe_seconds)
                if self._closed:
                    # Closing ended that probe; to wait for the next one would be to wait for nothing.
                    return
                # One that answers requests meanwhile is not down, but too busy for the probe.
                if not alive and not breaker.down and breaker.answers == answers:
                    breaker.failed()
                    breaker.suspected.clear()
                await self._pause()
        finally:
            breaker.watched = False

    async def close(self) -> None:
        """Requests that are under way end with `EngineDown`."""
        self._closed = True
        self._breaker.suspected.set()
        await self._transport.aclose()

    def _enter(self) -> int:
        if self._closed:
            raise EngineDown("The engine is closed.")
        return self._breaker.enter()

    async def _send(self, body: bytes, ticket: int) -> httpx.Response:
        """Raises `EngineDown` where no answer came in two tries."""
        answers = self._breaker.answers
        for is_last in (False, True):
            if self._closed:
                raise EngineDown("The engine was closed.")
            self._breaker.check(ticket)
            try:
                response = await self._ask("POST", self._completions, body)
            except httpx.RequestError as error:
                if self._closed:
                    raise EngineDown("The engine was closed.") from error
                if is_last:
                    # One that answers others meanwhile is not down.
                    if self._breaker.answers == answers:
                        self._breaker.failed()
                    raise self._breaker.error(type(error).__name__) from error
                answers = self._breaker.answers
            else:
                if not _is_passing(response):
                    self._breaker.answered()
                    return response
                if is_last:
                    self._breaker.failed()
                    return response
            await asyncio.sleep(random.uniform(*_BACKOFF_SECONDS))  # noqa: S311 (to spread the load)
        raise AssertionError("the last try returns or raises")

    async def _ask(self, method: str, url: httpx.URL, body: bytes | None = None) -> httpx.Response:
        request = httpx.Request(method, url, headers=self._headers, content=body, extensions=self._extensions)
        response = await self._transport.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    async def _is_alive(self, seconds: float) -> bool:
        """Whether `/health` says so; then the breaker closes."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._ask("GET", self._health)
        except (TimeoutError, httpx.RequestError):
            return False
        if response.status_code >= 500:
            return False
        self._breaker.answered()
        return True

    async def _pause(self) -> None:
        """Until the next probe is due."""
        breaker = self._breaker
        if breaker.down:
            # What is suspected now is known already.
            await asyncio.sleep(self._probe_seconds)
            return
        try:
            async with asyncio.timeout(_CALM * self._probe_seconds):
                await breaker.suspected.wait()
        except TimeoutError:
            pass


def _is_passing(response: httpx.Response) -> bool:
    """Whether the server may do better in a moment."""
    status = response.status_code
    return status in vllm_wire.GATEWAY_STATUSES and not vllm_wire.is_overload(
        status, response.headers.get("Retry-After"), response.content
    )


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise SetupError(f"The engine's URL {url!r} is none: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise SetupError(f"The engine's URL {url!r} must be http://host:port or https://host:port.")
    return str(parsed).rstrip("/")


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "petool"}
    if api_key:
        if not (api_key.isascii() and api_key.isprintable()):
            raise SetupError("The engine's API key holds characters that an HTTP header cannot.")
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def _transport() -> httpx.AsyncHTTPTransport:
    # How many connections there are is up to the gate.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS)
    return httpx.AsyncHTTPTransport(limits=limits)
