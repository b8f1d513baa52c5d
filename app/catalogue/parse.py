"""Turns the documents of an import into tools, and tells for every document that is none the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from app.catalogue import openai, openapi, rapidapi
from app.catalogue.checks import Refusal, check_depth, report_text
from app.domain import Json, Tool, ToolSource
from app.errors import DocumentError
from app.json_data.json_schemas import limit_pattern_seconds
from app.json_data.tools import document_hash

_PATTERN_SECONDS = 0.05
"""Most seconds for all patterns of one document together, when its defaults are checked."""


@dataclass(frozen=True)
class Rejection:
    """A refusal with the index of its document in the batch, from 0."""

    index: int
    name: str
    reason: str


@dataclass(frozen=True)
class ParsedBatch:
    """What a batch came to: each index is in one of the three at least, that of an OpenAPI document perhaps in all."""

    tools: tuple[tuple[int, Tool], ...] = ()
    """(index, tool); names are unique in the whole import."""
    rejections: tuple[Rejection, ...] = ()
    duplicates: tuple[tuple[int, str], ...] = ()
    """(index, name) of tools that an earlier document of this import defined in the same words."""


def detect_format(raw: Json) -> ToolSource:
    """The format that the document's fields tell. Raises DocumentError where they tell none."""
    if isinstance(raw, Mapping):
        if "openapi" in raw or "swagger" in raw:
            return ToolSource.OPENAPI
        if "api_list" in raw or "api_name" in raw or "tool_name" in raw:
            return ToolSource.RAPIDAPI
        if "function" in raw or raw.get("type") == "function" or ("name" in raw and "parameters" in raw):
            return ToolSource.OPENAI
    raise DocumentError(
        "neither a RapidAPI document (tool_name, api_name), nor an OpenAI tool (function), nor an OpenAPI "
        "document (openapi)"
    )


@dataclass
class Import:
    """What the batches of one import share, to find names that come twice."""

    places: Sequence[str] | None = None
    """Where each document of the next batch is from, for reports; without places they are called by number."""
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By name, the place and the hash of the first tool."""


def parse(
    format: ToolSource | None,  # noqa: A002
    documents: Sequence[Json],
    whole: Import | None = None,
) -> ParsedBatch:
    """The tools of the documents, in order; nothing is raised, whatever JSON comes in.

    Without a `format`, each document's own is detected. Of two tools with one name, the second is a duplicate if it
    says the same, else it is rejected. Calls with the same `whole` are batches of one import.
    """
    batch = _Batch(whole or Import())
    for index, raw in enumerate(documents):
        with limit_pattern_seconds(_PATTERN_SECONDS):
            for result in _results(format, raw):
                batch.add(index, result)
    return ParsedBatch(tuple(batch.tools), tuple(batch.rejections), tuple(batch.duplicates))


def _results(format: ToolSource | None, raw: Json) -> Iterator[Tool | Refusal]:  # noqa: A002
    try:
        check_depth(raw)
        source = detect_format(raw) if format is None else format
    except DocumentError as error:
        yield Refusal("", error.detail)
        return
    importers = {
        ToolSource.RAPIDAPI: rapidapi.parse_documents,
        ToolSource.OPENAI: openai.parse_documents,
        ToolSource.OPENAPI: openapi.parse_documents,
    }
    yield from importers[source](raw)


class _Batch:
    def __init__(self, whole: Import) -> None:
        self._whole = whole
        self.tools: list[tuple[int, Tool]] = []
        self.rejections: list[Rejection] = []
        self.duplicates: list[tuple[int, str]] = []

    def add(self, index: int, result: Tool | Refusal) -> None:
        if isinstance(result, Refusal):
            self._reject(index, result.name, result.reason)
            return
        content = document_hash(result)
        places = self._whole.places
        place = f"document #{index}" if places is None else places[index]
        if result.name not in self._whole.seen:
            self._whole.seen[result.name] = (place, content)
            self.tools.append((index, result))
            return
        first, known = self._whole.seen[result.name]
        if known == content:
            self.duplicates.append((index, result.name))
        else:
            self._reject(index, result.name, f"same name as {first} in this import, with other content")

    def _reject(self, index: int, name: str, reason: str) -> None:
        self.rejections.append(Rejection(index, report_text(name), report_text(reason)))
