from uuid import UUID

from fastapi import APIRouter

from app.api import cursors
from app.api.auth import Admin
from app.api.problems import responses
from app.api.requests import StrictRoute
from app.api.schemas.adapters import EventModel, EventPage, OperationList, OperationModel, StatusModel
from app.api.schemas.common import Cursor, Limit
from app.api.state import AdaptersDep

router = APIRouter(prefix="/admin", tags=["adapters"], route_class=StrictRoute, dependencies=[Admin])


@router.get("/status", summary="Show what each replica and engine serves", responses=responses(401, 403, 409, 503))
async def status(adapters: AdaptersDep) -> StatusModel:
    return StatusModel.of(await adapters.status.status())


@router.get(
    "/operations", summary="List the latest operations on adapters", responses=responses(401, 403, 409, 422, 503)
)
async def operations(adapters: AdaptersDep, limit: Limit = 20) -> OperationList:
    return OperationList(items=[OperationModel.of(found) for found in await adapters.operations.latest(limit)])


@router.get(
    "/operations/{operation}",
    summary="Show one operation on an adapter",
    responses=responses(401, 403, 404, 409, 422, 503),
)
async def operation(operation: UUID, adapters: AdaptersDep) -> OperationModel:
    return OperationModel.of(await adapters.operations.find(operation))


@router.get("/audit", summary="List the audit log of adapters", responses=responses(401, 403, 409, 422, 503))
async def audit(adapters: AdaptersDep, limit: Limit = 50, cursor: Cursor = None) -> EventPage:
    before = int(cursors.decode(cursor, int)[0]) if cursor else None
    events = await adapters.registry.events(before=before, limit=limit + 1)
    more = len(events) > limit
    return EventPage(
        items=[EventModel.of(event) for event in events[:limit]],
        next_cursor=cursors.encode(events[limit - 1].id) if more else None,
    )
