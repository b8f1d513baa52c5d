from datetime import datetime
from typing import Any

from pydantic import Field

from app.api.schemas.common import Model
from app.domain import ToolSource


class ImportRequest(Model):
    format: ToolSource
    documents: list[Any] = Field(
        min_length=1,
        description="Unchanged documents: ToolBench or RapidAPI documents, OpenAI tools, or OpenAPI 3.x documents.",
    )


class RejectedDocument(Model):
    index: int = Field(description="Position in `documents`, from 0.")
    name: str
    reason: str


class ImportResponse(Model):
    imported: int = Field(description="Number of new tools.")
    updated: int = Field(description="Number of tools that the catalogue had already, changed or not.")
    unchanged: int = Field(description="Number of the updated tools whose document has not changed.")
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
    parameters: dict[str, Any] = Field(description="JSON Schema of the object of parameters.")
    response_schema: Any
    openai: dict[str, Any] = Field(description="The tool as an OpenAI tool definition.")


class ToolPage(Model):
    items: list[ToolSummary]
    next_cursor: str | None


class FoundTool(Model):
    tool_name: str
    score: float = Field(description="How well the tool fits the query, 0 to 1. Comparable within one response only.")
    category: str
    provider: str
    description: str


class SearchResponse(Model):
    items: list[FoundTool] = Field(description="Best first.")


class ToolPatch(Model):
    active: bool = Field(description="Whether the tool can be retrieved and called. Histories keep inactive tools.")
