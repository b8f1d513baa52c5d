"""Use case import of files: tool documents from files of any size, in batches, resumable, with progress."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from app.catalogue.parse import Import
from app.catalogue.reader import SourceDocument, Unreadable, read_documents
from app.domain import ToolSource
from app.services.catalogue import CatalogueService, ImportReport, Progress

# Documents in memory at a time.
_BATCH = 1024


@dataclass(frozen=True)
class RejectedDocument:
    location: str
    """File and line, such as `tools.jsonl:17`."""
    name: str
    reason: str


@dataclass(frozen=True)
class FileImport:
    imported: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[RejectedDocument] = field(default_factory=list)


async def import_path(
    catalogue: CatalogueService, path: Path, source: ToolSource | None, progress: Progress | None = None
) -> FileImport:
    """Import a file, or a folder and all files below it. Batches stored before an interruption are skipped quickly."""
    total = FileImport()
    read = 0
    documents = read_documents(path)
    whole = Import()
    while batch := list(islice(documents, _BATCH)):
        total = await _import_batch(catalogue, whole, batch, source, total, read, progress)
        read += len(batch)
    await catalogue.publish()
    return total


async def _import_batch(
    catalogue: CatalogueService,
    whole: Import,
    batch: Sequence[SourceDocument | Unreadable],
    source: ToolSource | None,
    total: FileImport,
    before: int,
    progress: Progress | None,
) -> FileImport:
    unreadable = [RejectedDocument(item.location, "", item.reason) for item in batch if isinstance(item, Unreadable)]
    readable = [item for item in batch if isinstance(item, SourceDocument)]
    whole.places = [item.location for item in readable]

    def on_progress(done: int, of: int) -> None:
        if progress is not None:
            # The total is known only when all files are read, so it grows with each batch.
            progress(before + done, before + of)

    raw = [item.raw for item in readable]
    report: ImportReport = await catalogue.store_documents(source, raw, on_progress, whole)
    refused = [RejectedDocument(readable[item.index].location, item.name, item.reason) for item in report.rejected]
    return replace(
        total,
        imported=total.imported + report.imported,
        updated=total.updated + report.updated,
        unchanged=total.unchanged + report.unchanged,
        rejected=[*total.rejected, *unreadable, *refused],
    )
