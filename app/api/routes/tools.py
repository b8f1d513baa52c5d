from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api import cursors
from app.api.auth import Admin, Client
from app.api.problems import responses
from app.api.requests import StrictRoute
from app.api.schemas.common import NO_NUL, Cursor, Limit
from app.api.schemas.tools import (
    FoundTool,
    ImportRequest,
    ImportResponse,
    RejectedDocument,
    SearchResponse,
    ToolModel,
    ToolPage,
    ToolPatch,
    ToolSummary,
)
from app.api.state import ServicesDep
from app.catalogue.openai import to_openai
from app.db.repositories.tools import StoredTool

router = APIRouter(prefix="/tools", tags=["tools"], route_class=StrictRoute)
ToolName = Annotated[
    str,
    Path(
        min_length=1,
        max_length=512,
        pattern=NO_NUL,
        description="Full name of the tool, URL-encoded. Slashes in it are allowed.",
    ),
]


@router.put(
    "",
    dependencies=[Admin],
    summary="Import tool documents",
    responses=responses(400, 401, 403, 413, 422, 503),
)
async def import_tools(request: ImportRequest, services: ServicesDep) -> ImportResponse:
    """Adds new tools, and replaces tools of the same name. Each document that cannot be imported is listed with the
    reason; the others are imported.
    """
    report = await services.catalogue.import_documents(request.format, request.documents)
    return ImportResponse(
        imported=report.imported,
        updated=report.updated,
        unchanged=report.unchanged,
        rejected=[RejectedDocument(index=item.index, name=item.name, reason=item.reason) for item in report.rejected],
    )


@router.get("", dependencies=[Client], summary="List tools", responses=responses(401, 422, 503))
async def list_tools(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    category: Annotated[str | None, Query(max_length=512, pattern=NO_NUL)] = None,
    active: bool | None = None,
) -> ToolPage:
    after = int(cursors.decode(cursor, int)[0]) if cursor else 0
    tools = await services.catalogue.page(after=after, limit=limit + 1, category=category, active=active)
    more = len(tools) > limit
    return ToolPage(
        items=[_summary(tool) for tool in tools[:limit]],
        next_cursor=cursors.encode(tools[limit - 1].id) if more else None,
    )


@router.get("/search", dependencies=[Client], summary="Find tools by what they do", responses=responses(401, 422, 503))
async def search_tools(
    services: ServicesDep,
    q: Annotated[str, Query(min_length=1, max_length=8000, description="Instruction or a few words to search for.")],
    limit: Limit = 10,
) -> SearchResponse:
    found = await services.catalogue.search(q, limit)
    return SearchResponse(
        items=[
            FoundTool(
                tool_name=item.tool.name,
                score=round(item.relevance, 6),
                category=item.tool.category,
                provider=item.tool.provider,
                description=item.tool.description,
            )
            for item in found
        ]
    )


@router.get(
    "/{tool_name:path}", dependencies=[Client], summary="Show one tool", responses=responses(401, 404, 422, 503)
)
async def get_tool(tool_name: ToolName, services: ServicesDep) -> ToolModel:
    return _tool(await services.catalogue.get(tool_name))


@router.patch(
    "/{tool_name:path}",
    dependencies=[Admin],
    summary="Deactivate or activate a tool",
    responses=responses(400, 401, 403, 404, 422, 503),
)
async def patch_tool(tool_name: ToolName, patch: ToolPatch, services: ServicesDep) -> ToolModel:
    return _tool(await services.catalogue.set_active(tool_name, patch.active))


def _summary(stored: StoredTool) -> ToolSummary:
    return ToolSummary(
        tool_name=stored.tool.name,
        category=stored.tool.category,
        provider=stored.tool.provider,
        description=stored.tool.description,
        active=stored.active,
        updated_at=stored.updated_at,
    )


def _tool(stored: StoredTool) -> ToolModel:
    return ToolModel(
        **_summary(stored).model_dump(),
        source=stored.tool.source,
        parameters=stored.tool.parameters_schema,
        response_schema=stored.tool.response_schema,
        openai=to_openai(stored.tool),
    )
