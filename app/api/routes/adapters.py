import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError

from app.adapters.services import AdapterServices
from app.api.auth import Admin, Principal
from app.api.middleware import UPLOADS, media_type
from app.api.problems import explain, responses
from app.api.requests import StrictRequest, StrictRoute
from app.api.schemas.adapters import (
    ActivateRequest,
    AdapterList,
    AdapterModel,
    ComparisonModel,
    OperationModel,
    RegisterRequest,
)
from app.api.schemas.common import NO_NUL
from app.api.state import AdaptersDep
from app.errors import InvalidRequest

router = APIRouter(prefix="/admin/adapters", tags=["adapters"], route_class=StrictRoute)
AdapterName = Annotated[
    str,
    Path(max_length=200, pattern=NO_NUL, description="A version (`name@hash`), or a name for its newest version."),
]
Wait = Annotated[bool, Query(description="Answer when the operation has ended, not when it has begun.")]
AdminDep = Annotated[Principal, Admin]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": RegisterRequest.model_json_schema()},
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in UPLOADS[:2]},
        },
    }
}


@router.post(
    "",
    status_code=201,
    summary="Register an adapter",
    openapi_extra=_BODY,
    responses=responses(400, 401, 403, 409, 413, 415, 422, 503) | {200: {"model": AdapterModel}},
)
async def register_adapter(
    request: Request,
    response: Response,
    adapters: AdaptersDep,
    principal: AdminDep,
    name: Annotated[str | None, Query(max_length=64, description="Of an upload.")] = None,
    prompt_format: Annotated[str | None, Query(max_length=64, description="Of an upload without petool.json.")] = None,
    prompt_tokens: Annotated[int | None, Query(ge=1, le=1_000_000, description="Likewise.")] = None,
) -> AdapterModel:
    """A directory below the configured source (JSON), or a tar of peft's files (application/x-tar, may be gzipped).

    Checked against the base model, then stored for good under the hash of its files. 200 where it is there already.
    """
    if media_type(request.headers) in UPLOADS:
        if name is None:
            raise InvalidRequest("An upload needs a name: POST /admin/adapters?name=…")
        adapter, is_new = await _uploaded(request, adapters, principal.id, name, prompt_format, prompt_tokens)
    else:
        given = await _registration(request)
        adapter, is_new = await adapters.registry.register_directory(
            given.name, given.path, principal.id, prompt_format=given.prompt_format, prompt_tokens=given.prompt_tokens
        )
    response.status_code = 201 if is_new else 200
    return AdapterModel.of(adapter)


async def _registration(request: Request) -> RegisterRequest:
    try:
        return RegisterRequest.model_validate(await StrictRequest(request.scope, request.receive).json())
    except ValidationError as error:
        raise InvalidRequest(explain(error.errors())) from error
    except ValueError as error:
        raise InvalidRequest(
            f"The body is neither JSON ({error}) nor declared as a tar: send Content-Type: application/x-tar."
        ) from error


async def _uploaded(
    request: Request, adapters: AdapterServices, actor: str, name: str, prompt_format: str | None, tokens: int | None
) -> Any:
    with adapters.store.upload_file() as file:
        async for chunk in request.stream():
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.seek, 0)
        return await adapters.registry.register_upload(
            name, file, actor, prompt_format=prompt_format, prompt_tokens=tokens
        )


@router.get("", dependencies=[Admin], summary="List adapters", responses=responses(401, 403, 409, 503))
async def list_adapters(adapters: AdaptersDep) -> AdapterList:
    return AdapterList(items=[AdapterModel.of(adapter) for adapter in await adapters.registry.all()])


@router.get(
    "/canary",
    dependencies=[Admin],
    summary="How users fare with the canary and without",
    responses=responses(401, 403, 404, 409, 503),
)
async def compare_canary(adapters: AdaptersDep) -> ComparisonModel:
    return ComparisonModel.of(await adapters.canary.compare())


@router.post(
    "/canary/promote",
    status_code=202,
    summary="Give all users to the canary",
    responses=responses(401, 403, 409, 422, 503) | {200: {"model": OperationModel}},
)
async def promote_canary(
    adapters: AdaptersDep, principal: AdminDep, response: Response, wait: Wait = False
) -> OperationModel:
    operation = await adapters.operations.promote(principal.id)
    return await _followed(adapters, operation.id, response, wait)


@router.post(
    "/canary/abort",
    status_code=202,
    summary="Give all users back to the active adapter",
    responses=responses(401, 403, 409, 422, 503) | {200: {"model": OperationModel}},
)
async def abort_canary(
    adapters: AdaptersDep, principal: AdminDep, response: Response, wait: Wait = False
) -> OperationModel:
    operation = await adapters.operations.abort(principal.id)
    return await _followed(adapters, operation.id, response, wait)


@router.post(
    "/rollback",
    status_code=202,
    summary="Activate what was active before",
    responses=responses(401, 403, 409, 422, 503) | {200: {"model": OperationModel}},
)
async def roll_back(
    adapters: AdaptersDep, principal: AdminDep, response: Response, wait: Wait = False
) -> OperationModel:
    operation = await adapters.operations.rollback(principal.id)
    return await _followed(adapters, operation.id, response, wait)


@router.post(
    "/{name}/activate",
    status_code=202,
    summary="Serve an adapter to all users, or to some",
    responses=responses(400, 401, 403, 404, 409, 413, 415, 422, 503) | {200: {"model": OperationModel}},
)
async def activate_adapter(
    name: AdapterName,
    adapters: AdaptersDep,
    principal: AdminDep,
    response: Response,
    request: ActivateRequest | None = None,
    wait: Wait = False,
) -> OperationModel:
    """Loads and probes it on every engine, then gives users to it, and takes the former one off when its requests have
    ended. Whatever fails, the former one is served on. The name `configured` stands for what the settings say.
    `wait`: 200 with the outcome, which may be that it failed.
    """
    asked = request or ActivateRequest()
    if asked.canary is None:
        operation = await adapters.operations.activate(name, principal.id, min_score=asked.min_score)
    else:
        operation = await adapters.operations.canary(
            name,
            principal.id,
            percent=asked.canary.percent,
            users=asked.canary.checked(),
            min_score=asked.min_score,
        )
    return await _followed(adapters, operation.id, response, wait)


@router.get("/{name}", dependencies=[Admin], summary="One adapter", responses=responses(401, 403, 404, 409, 422, 503))
async def get_adapter(name: AdapterName, adapters: AdaptersDep) -> AdapterModel:
    return AdapterModel.of(await adapters.registry.find(name))


@router.delete("/{name}", summary="Delete a version", responses=responses(401, 403, 404, 409, 422, 503))
async def delete_adapter(name: AdapterName, adapters: AdaptersDep, principal: AdminDep) -> AdapterModel:
    """Its files too; refused for what is served. By a name alone: its newest version."""
    return AdapterModel.of(await adapters.registry.delete(name, principal.id))


async def _followed(adapters: AdapterServices, operation: Any, response: Response, wait: bool) -> OperationModel:
    response.headers["Location"] = f"/admin/operations/{operation}"
    if not wait:
        return OperationModel.of(await adapters.operations.find(operation))
    response.status_code = 200
    return OperationModel.of(await adapters.operations.ended(operation))
