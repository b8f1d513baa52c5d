from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from app.api import cursors
from app.api.auth import Client
from app.api.idempotency import IdempotentRoute
from app.api.problems import explain, responses
from app.api.schemas.common import Cursor, Limit, UserId
from app.api.schemas.users import (
    ErasureResponse,
    HistoryPage,
    HistoryRequest,
    HistoryResponse,
    InteractionInput,
    InteractionModel,
    ItemReport,
)
from app.api.state import ServicesDep
from app.db.repositories.interactions import TimelinePosition
from app.domain import Interaction, Json
from app.errors import InvalidRequest
from app.services import histories

router = APIRouter(prefix="/users/{user_id}", tags=["users"], route_class=IdempotentRoute, dependencies=[Client])
_interaction = TypeAdapter(InteractionInput)


@router.post("/history", summary="Import interactions", responses=responses(400, 401, 409, 413, 422, 503))
async def add_history(user_id: UserId, request: HistoryRequest, services: ServicesDep) -> HistoryResponse:
    """Checks each interaction by itself: invalid ones are listed with their reason, the others are stored."""
    now = datetime.now(UTC)
    readable: dict[int, Interaction] = {}
    refused: list[histories.ItemReport] = []
    for index, item in enumerate(request.interactions):
        if isinstance(item, InteractionInput):
            readable[index] = item.to_domain(now)
        else:
            refused.append(histories.ItemReport(index, _why_unreadable(item)))
    report = await services.histories.add(user_id, readable, refused)
    return HistoryResponse(
        imported=report.imported,
        updated=report.updated,
        rejected=[ItemReport(index=item.index, reason=item.reason) for item in report.rejected],
        warnings=[ItemReport(index=item.index, reason=item.reason) for item in report.warnings],
    )


def _why_unreadable(item: Any) -> str:
    try:
        _interaction.validate_python(item)
    except ValidationError as error:
        return explain(error.errors())
    return "this is not an interaction: give an object with instruction and tool_call"


@router.get("/history", summary="List a user's interactions", responses=responses(401, 404, 422, 503))
async def get_history(user_id: UserId, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> HistoryPage:
    items = await services.histories.page(user_id, after=_position(cursor), limit=limit + 1)
    last = items[limit - 1] if len(items) > limit else None
    return HistoryPage(
        items=[InteractionModel.of(item) for item in items[:limit]],
        next_cursor=cursors.encode(last.occurred_at.isoformat(), last.id) if last else None,
    )


def _position(cursor: str | None) -> TimelinePosition | None:
    if cursor is None:
        return None
    when, interaction_id = cursors.decode(cursor, str, int)
    try:
        return TimelinePosition(datetime.fromisoformat(str(when)).astimezone(UTC), int(interaction_id))
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "This cursor was not made by this service; send next_cursor unchanged, or leave it out."
        ) from None


@router.delete(
    "/history/{interaction_id}",
    status_code=204,
    summary="Delete one interaction",
    responses=responses(401, 404, 422, 503),
)
async def delete_interaction(
    user_id: UserId, interaction_id: Annotated[int, Path(ge=1, lt=2**63)], services: ServicesDep
) -> None:
    await services.histories.delete(user_id, interaction_id)


@router.delete("", summary="Erase a user", responses=responses(401, 404, 422, 503))
async def erase_user(user_id: UserId, services: ServicesDep) -> ErasureResponse:
    """Deletes everything stored about the user. The response has the number of deleted rows by kind."""
    return ErasureResponse(user_id=user_id, erased=await services.histories.erase(user_id))


@router.get(
    "/export",
    summary="Export everything stored about a user",
    response_class=StreamingResponse,
    responses=responses(401, 404, 422, 503)
    | {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export_user(user_id: UserId, services: ServicesDep) -> StreamingResponse:
    """Everything stored about the user, as one JSON object a line: `{"kind": "user" | "interaction" | "call", …}`."""
    pieces = services.histories.export(user_id)
    # The first piece is read before the response begins, so that an unknown user gets status 404.
    first = await anext(pieces)
    return StreamingResponse(_lines(first, pieces), media_type="application/x-ndjson")


async def _lines(
    first: tuple[str, Json | Interaction], rest: AsyncIterator[tuple[str, Json | Interaction]]
) -> AsyncIterator[bytes]:
    yield _line(*first)
    async for kind, value in rest:
        yield _line(kind, value)


def _line(kind: str, value: Json | Interaction) -> bytes:
    content = InteractionModel.of(value).model_dump() if isinstance(value, Interaction) else value
    # By pydantic, as other responses: integers of any size, times with a Z.
    return to_json({"kind": kind, **content}) + b"\n"
