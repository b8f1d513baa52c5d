"""The header `Idempotency-Key` of POST requests: a retry gets the first response, and nothing is done twice."""

import hashlib
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import orjson
from fastapi import Request, Response

from app.api.auth import authenticate
from app.api.logs import log
from app.api.requests import StrictRequest, StrictRoute
from app.api.schemas.common import is_user_id
from app.api.state import services
from app.errors import InvalidRequest, Unavailable

HEADER = "Idempotency-Key"
_MAX_LENGTH = 255


class IdempotentRoute(StrictRoute):
    """A route whose POST requests may have an `Idempotency-Key`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def idempotent(request: Request) -> Response:
            key = request.headers.get(HEADER)
            user_id = request.path_params.get("user_id")
            # The handler refuses a user's id that cannot be stored, before it does anything.
            if key is None or request.method != "POST" or (user_id is not None and not is_user_id(user_id)):
                return await handle(request)
            if not 0 < len(key) <= _MAX_LENGTH:
                raise InvalidRequest(f"{HEADER} has to have 1 to {_MAX_LENGTH} characters; a UUID is a good choice.")
            # The body can be read once only: the handler gets the same request object's stored body.
            request = StrictRequest(request.scope, request.receive)
            return await _once(request, key, handle)

        return idempotent


async def _once(request: Request, key: str, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    owner = (await authenticate(request)).id
    body = await request.body()
    fingerprint = hashlib.sha256(b"\n".join([request.url.path.encode(), body])).digest()
    store = services(request).idempotency
    answer = await store.claim(owner, key, fingerprint, request.path_params.get("user_id"))
    if answer is not None:
        return Response(
            answer.body,
            status_code=answer.status,
            media_type="application/json",
            headers={"Idempotency-Replayed": "true"},
        )
    try:
        response = await handle(_with_body(request, body))
    except BaseException:
        # Errors are not kept: a retry shall run again.
        await store.release(owner, key)
        raise
    content = bytes(response.body)
    # A kept response is data of the user: erasing the user erases it.
    user_id = request.path_params.get("user_id") or orjson.loads(content).get("user_id")
    try:
        await store.complete(owner, key, response.status_code, content, user_id)
    except Unavailable as error:
        # The request was carried out. Answering matters more than being able to repeat the response.
        log.warning("idempotent_response_not_stored", reason=error.detail)
    return response


def _with_body(request: Request, body: bytes) -> Request:
    given = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            # After the body, the only message is that the client disconnected.
            return await request.receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
