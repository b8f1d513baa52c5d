"""`Idempotency-Key` on POSTs that write: a retry gets the first answer, and nothing happens twice."""

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
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def idempotent(request: Request) -> Response:
            key = request.headers.get(HEADER)
            user_id = request.path_params.get("user_id")
            # An id that cannot be stored is refused by the handler, before anything is done.
            if key is None or request.method != "POST" or (user_id is not None and not is_user_id(user_id)):
                return await handle(request)
            if not 0 < len(key) <= _MAX_LENGTH:
                raise InvalidRequest(f"{HEADER} has 1 to {_MAX_LENGTH} characters; a UUID is a good choice.")
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
        # An error is not an answer to keep: the retry shall try again.
        await store.release(owner, key)
        raise
    content = bytes(response.body)
    # Kept answers are a user's data too: erasing the user erases them.
    user_id = request.path_params.get("user_id") or orjson.loads(content).get("user_id")
    try:
        await store.complete(owner, key, response.status_code, content, user_id)
    except Unavailable as error:
        # The work is done, and saying so matters more than being able to say so again.
        log.warning("answer_not_kept", reason=error.detail)
    return response


def _with_body(request: Request, body: bytes) -> Request:
    given = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            # What comes after the body: that the client went away.
            return await request.receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
