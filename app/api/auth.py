"""Authentication by API key, and authorization by the key's scope."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from app.api.state import services
from app.domain import Scope
from app.errors import Forbidden, Unauthenticated

# For the OpenAPI document; the header itself is read below.
_bearer = HTTPBearer(auto_error=False, description="API key, as `petool keys create` makes one.")


@dataclass(frozen=True)
class Principal:
    """Caller of a request: the key's id, such as `key:7`, and what it allows."""

    id: str
    scope: Scope


async def authenticate(request: Request) -> Principal:
    """Identify the caller and count the request, once a request.

    Raises `Unauthenticated`, or `RateLimited` for a key that exceeds its limit.
    """
    state = request.scope.setdefault("state", {})
    known: Principal | None = state.get("principal")
    if known is not None:
        return known
    principal = await _identify(request)
    await services(request).rate_limits.count(principal.id)
    state["principal"] = principal
    return principal


async def _identify(request: Request) -> Principal:
    if not services(request).keys_needed:
        _check_local(request.url.hostname or "")
        return Principal("demo", Scope.ADMIN)
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key.strip():
        raise Unauthenticated(
            "Send an API key in the header `Authorization: Bearer …`; `petool keys create` makes one."
        )
    stored = await services(request).keys.authenticate(key.strip())
    if stored is None:
        raise Unauthenticated("This API key is not known, or it was revoked; `petool keys list` shows the valid ones.")
    return Principal(f"key:{stored.id}", Scope(stored.scope))


def _check_local(host: str) -> None:
    # A web page can point a name of its own at this machine (DNS rebinding); then the Host header gives it away.
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Forbidden(f"In demo mode the service answers requests to localhost and 127.0.0.1 only, not to {host!r}.")


async def _client(request: Request, _: Annotated[object, Security(_bearer)]) -> Principal:
    return await authenticate(request)


async def _admin(principal: Annotated[Principal, Depends(_client)]) -> Principal:
    if principal.scope is not Scope.ADMIN:
        raise Forbidden(
            "This request needs a key with the scope `admin`: create one with `petool keys create --scope admin`."
        )
    return principal


Client = Depends(_client)
Admin = Depends(_admin)
