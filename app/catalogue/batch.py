"""What an import comes to: the tools, and for everything that is not one, the reason."""

from dataclasses import dataclass

from app.domain import Tool


@dataclass(frozen=True)
class Refusal:
    """A tool, or a whole document, that an importer cannot take."""

    name: str
    """The tool's name as far as it could be read; empty if it could not."""
    reason: str


@dataclass(frozen=True)
class Rejection:
    """A refusal with the place of its document in the import (counted from 0)."""

    index: int
    name: str
    reason: str


@dataclass(frozen=True)
class ParsedBatch:
    """Every index of the import is in at least one of the three; a document of several operations in more."""

    tools: tuple[tuple[int, Tool], ...] = ()
    """Names are unique among them."""
    rejections: tuple[Rejection, ...] = ()
    duplicates: tuple[tuple[int, str], ...] = ()
    """(index, name) of what repeats an earlier document of this import in every field."""
