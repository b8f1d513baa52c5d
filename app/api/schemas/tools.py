from datetime import datetime
from typing import Any

from pydantic import Field

from app.api.schemas.common import Model
from app.domain import ToolSource


class ImportRequest(Model):
    format: ToolSource
    documents: list[Any] = Field(
        min_length=1,
        description="As they are: ToolBench/RapidAPI documents, OpenAI tools, or OpenAPI 3.x documents.",
    )


class RejectedDocument(Model):
    index: int = Field(description="Position in `documents`.")
    name: str
    reason: str


class ImportResponse(Model):
    imported: int = Field(description="New tools.")
    updated: int = Field(description="Tools that were there before, changed or not.")
    unchanged: int = Field(description="Those of `updated` whose document was the same already.")
    rejected: list[RejectedDocument]


class ToolSummary(Model):
    tool_name: str
    category: str
    provider: str
    description: str
    active: bool
    updated_at: datetime


class ToolModel(ToolSummary):
    source: ToolSource
    parameters: dict[str, Any] = Field(description="JSON Schema of the call's parameters.")
    response_schema: Any
    openai: dict[str, Any] = Field(description="The tool as an OpenAI tool definition.")


class ToolPage(Model):
    items: list[ToolSummary]
    next_cursor: str | None


class FoundTool(Model):
    tool_name: str
    score: float = Field(description="Fit to the query, 0 to 1; comparable within one answer.")
    category: str
    provider: str
    description: str


class SearchResponse(Model):
    items: list[FoundTool] = Field(description="Best first.")


class ToolPatch(Model):
    active: bool = Field(description="A tool that is not active is neither retrieved nor called; histories keep it.")
