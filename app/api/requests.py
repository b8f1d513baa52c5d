"""Strict reading of JSON bodies: what PostgreSQL cannot store is refused for every route in one place."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.auth import authenticate

_MAX_DEPTH = 200


class StrictRequest(Request):
    """A request whose body is parsed by `parse_json`."""

    async def json(self) -> Any:
        """The parsed body. Raises `json.JSONDecodeError`, which is answered with status 400."""
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


def parse_json(body: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises `json.JSONDecodeError` also for NaN and infinity, NUL, lone surrogates, and nesting beyond 200 levels.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("not UTF-8", "", error.start) from None

    def refuse_constant(name: str) -> NoReturn:
        raise json.JSONDecodeError(f"{name} is not JSON", "", max(text.find(name), 0))

    def finite(number: str) -> float:
        value = float(number)
        if math.isinf(value):
            raise json.JSONDecodeError("a number that is too large", "", max(text.find(number), 0))
        return value

    try:
        value = json.loads(text, parse_constant=refuse_constant, parse_float=finite)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            raise
        raise json.JSONDecodeError("a number with too many digits", "", 0) from None
    # Checking every string takes time, so only a body with escapes of this kind is checked.
    if "\\u" in text and not _storable(value):
        raise json.JSONDecodeError("it holds a NUL character or half of a surrogate pair", "", 0)
    if text.count("[") + text.count("{") > _MAX_DEPTH and _too_deep(value):
        raise json.JSONDecodeError("nested too deeply", "", 0)
    return value


def _storable(value: Any) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\x00" in item or (not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item)):
                return False
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return True


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


class StrictRoute(APIRoute):
    """A route that authenticates the caller before it reads the body, and passes a `StrictRequest` to the endpoint."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            await authenticate(request)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict
