"""PEToolBench's published file format, both ways: JSON arrays whose prompts hold history and tools as JSON."""

from training.data.published.export import PublishedReport, export_published
from training.data.published.load import EntryProblem, ImportReport, RejectedCall, import_published

__all__ = [
    "EntryProblem",
    "ImportReport",
    "PublishedReport",
    "RejectedCall",
    "export_published",
    "import_published",
]
