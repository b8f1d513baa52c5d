"""From the documents of an import to its tools, each document answered for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from app.catalogue import openai, openapi, rapidapi
from app.catalogue.batch import ParsedBatch, Refusal, Rejection
from app.catalogue.checks import check_depth, shown
from app.domain import Json, Tool, ToolSource
from app.errors import DocumentError
from app.json_data.json_schemas import pattern_seconds
from app.json_data.tools import document_hash

_PATTERN_SECONDS = 0.05
"""All patterns of one document together get this long when its defaults are checked."""


def detect_format(raw: Json) -> ToolSource:
    """The format that a document's own fields show. Raises DocumentError where they show none."""
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
    """What the batches of one import share."""

    places: Sequence[str] | None = None
    """Where the documents of the batch that comes next are from, for the reports; without, they have a number."""
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The place and the hash of the first tool of each name."""


def parse(
    format: ToolSource | None,  # noqa: A002
    documents: Sequence[Json],
    whole: Import | None = None,
) -> ParsedBatch:
    """The tools of the documents, in order. Whatever JSON comes in, nothing is raised.

    `format` None finds out each document's own. Of two documents with one name and other content the second
    is rejected; if it says the same, it only counts as a duplicate. Calls with the same `whole` are batches
    of one import.
    """
    batch = _Batch(whole or Import())
    for index, raw in enumerate(documents):
        with pattern_seconds(_PATTERN_SECONDS):
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
        self.rejections.append(Rejection(index, shown(name), shown(reason)))
