"""Errors as responses of the type application/problem+json (RFC 9457)."""

from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.api.logs import log
from app.api.schemas.common import Problem
from app.errors import PEToolError

_TITLES = {
    400: ("bad-request", "Bad request"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "Request body too large"),
    502: ("invalid-answer", "The model's answer is not a valid call"),
    415: ("unsupported-media-type", "Unsupported media type"),
}
_SHOWN_ERRORS = 20


def problem(
    status: int, type_: str, title: str, detail: str, *, retry_after: int | None = None, **extra: Any
) -> Response:
    """A problem document as a response. `retry_after` is in seconds; `extra` are further members of the document."""
    body = {
        "type": f"urn:petool:problem:{type_}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        **extra,
    }
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        # Input that is repeated here may hold values that JSON cannot express; their text is shown instead.
        orjson.dumps(body, default=str),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


def of_error(error: PEToolError) -> Response:
    return problem(error.status, error.type, error.title, error.detail, retry_after=error.retry_after, **error.extra)


async def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PEToolError)
    if error.status >= 500:
        log.warning("request_failed", path=request.url.path, problem=error.type, cause=repr(error.__cause__))
    return of_error(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    type_, title = _TITLES.get(error.status_code, ("error", "Error"))
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"There is no route {request.method} {request.url.path}; /docs lists all routes."
    response = problem(error.status_code, type_, title, detail)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """HTTP methods of all routes at this path. Starlette gives only those of the first."""
    routes = request.app.router.routes
    return [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if errors and errors[0]["type"] == "json_invalid":
        reason = errors[0]["ctx"]["error"]
        return problem(
            400, "malformed-request", "Malformed request", f"The body is not valid JSON: {reason}.",
            position=errors[0]["loc"][-1],
        )  # fmt: skip
    if isinstance(error.body, bytes) and error.body:
        return problem(
            415, "unsupported-media-type", "Unsupported media type",
            "The body has to be JSON: send it with the header Content-Type: application/json.",
        )  # fmt: skip
    return problem(
        422, "invalid-request", "Invalid request", explain(errors),
        errors=[
            {"location": [_printable(part) for part in item["loc"]], "reason": item["msg"]}
            for item in errors[:_SHOWN_ERRORS]
        ],
    )  # fmt: skip


def explain(errors: Sequence[Any]) -> str:
    """The first three of pydantic's errors in one line, each with its place and what is wrong there."""
    lines = [f"{'.'.join(str(_printable(part)) for part in item['loc'])}: {item['msg']}" for item in errors[:3]]
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return "; ".join(lines) + more


def _printable(part: int | str) -> int | str:
    return part if isinstance(part, int) else part.encode("utf-8", "replace").decode()


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    return problem(
        500,
        "internal-error",
        "Internal error",
        "An unexpected error occurred and was logged. Retry; if it happens again, report it with this request_id.",
    )


def install(app: FastAPI) -> None:
    """Answer every error with a problem document, and declare that in the OpenAPI document."""
    app.add_exception_handler(PEToolError, _known_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _unexpected)
    document = app.openapi

    def document_with_problems() -> dict[str, Any]:
        described = document()
        for operations in described["paths"].values():
            for operation in operations.values():
                for status, answer in operation["responses"].items():
                    if int(status) >= 400:
                        # FastAPI declares plain JSON for every response with a model.
                        answer["content"].pop("application/json", None)
        return described

    app.openapi = document_with_problems  # type: ignore[method-assign]


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declaration of these statuses as problem documents, for a route's `responses`."""
    return {
        status: {
            "description": _TITLES.get(status, ("", "Problem"))[1],
            "model": Problem,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
