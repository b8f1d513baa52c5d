"""Middleware around every request: its id, the limit on its body, its metrics and its log event."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.logs import log
from app.api.metrics import Metrics
from app.api.problems import of_error
from app.errors import BodyTooLarge

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ADAPTERS = "/admin/adapters"
UPLOADS = ("application/x-tar", "application/gzip", "application/x-gzip", "application/octet-stream")
"""Media types of an uploaded archive. It is streamed to disk, so it may be far larger than a body held in memory."""
_IMPORTS = re.compile(r"/tools|/users/[^/]+/history")


class RequestContext:
    """ASGI middleware. The limits `max_body`, `max_import_body` and `max_adapter` are in bytes of a body."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, max_body: int, max_import_body: int, max_adapter: int
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body = max_body
        self._max_import_body = max_import_body
        self._max_adapter = max_adapter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        # A caller's id is used only if it is safe to log.
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        limit = self._limit(scope["path"], headers)
        try:
            if _declared_length(headers) > limit:
                await of_error(_too_large(limit))(scope, receive, send_with_id)
            else:
                await self._app(scope, _limited(receive, limit), send_with_id)
        finally:
            self._finish(scope, status, time.perf_counter() - started)

    def _limit(self, path: str, headers: Headers) -> int:
        if path == _ADAPTERS and media_type(headers) in UPLOADS:
            return self._max_adapter
        return self._max_import_body if _IMPORTS.fullmatch(path) else self._max_body

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request(scope["method"], route, status, seconds)
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
        )


async def disconnected(request: Request) -> None:
    """Wait until the client closes the connection. Call it only after the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def media_type(headers: Headers) -> str:
    """Media type of a request's body, in lower case and without parameters; empty if not declared."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _declared_length(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than {limit} bytes. Send it in parts, or raise PETOOL_MAX_BODY_BYTES or "
        "PETOOL_MAX_IMPORT_BODY_BYTES; for adapters PETOOL_MAX_ADAPTER_BYTES.",
        limit_bytes=limit,
    )


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive` that refuses more than `limit` bytes: a chunked body has no declared length."""
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                # While it reads a body, FastAPI passes on only this type of exception.
                raise HTTPException(413, _too_large(limit).detail)
        return message

    return receive_counted
