"""The dense index of a catalogue's tools, under the tools' own ids, kept on disk between runs."""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.retrieval.dense_index import DenseIndex

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
_SIDECAR = "tools.npz"


@dataclass(frozen=True, eq=False)
class ToolIndex:
    """Immutable, as `DenseIndex` is: changes give a new one."""

    dense: DenseIndex
    ids: Ids
    """Tool id by row of `dense`; rows of tools that are gone keep theirs."""
    revision: int
    """The catalogue revision it stands at."""

    @classmethod
    def build(cls, ids: Ids, vectors: Vectors, revision: int, *, threads: int | None = None) -> "ToolIndex":
        """`vectors` (n, d), L2-normalised; `ids` (n,). `threads` limits the cores taken."""
        return cls(DenseIndex.build(vectors, threads=threads), np.asarray(ids, np.int64), revision)

    def with_changes(self, ids: Sequence[int], vectors: Vectors, removed: Sequence[int], revision: int) -> "ToolIndex":
        """The index where these tools have these vectors, (len(ids), d), and the removed are not found."""
        row_of = {tool_id: row for row, tool_id in enumerate(self.ids.tolist())}
        new = [tool_id for tool_id in ids if tool_id not in row_of]
        row_of.update({tool_id: len(self.ids) + offset for offset, tool_id in enumerate(new)})
        dense = self.dense.with_changes(
            [row_of[tool_id] for tool_id in ids],
            vectors,
            removed=[row_of[tool_id] for tool_id in removed if tool_id in row_of],
        )
        return ToolIndex(dense, np.concatenate([self.ids, np.array(new, np.int64)]), revision)

    @property
    def needs_rebuild(self) -> bool:
        return self.dense.needs_rebuild

    def search(self, queries: Vectors, k: int) -> Ids:
        """Ids of the nearest tools, (m, at most k), best first; `queries` (m, d)."""
        _, rows = self.dense.search(queries, k)
        return self.ids[rows]

    def save(self, directory: Path, *, space: str) -> None:
        """`space` names the embedder and what it embeds: vectors of another space do not compare. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self.dense.save(directory, fingerprint=_fingerprint(space, self.ids, self.revision))
        partial = directory / f".{_SIDECAR}.tmp"
        with partial.open("wb") as file:
            np.savez(file, ids=self.ids, revision=self.revision)
        partial.replace(directory / _SIDECAR)

    @classmethod
    def load(cls, directory: Path, *, space: str) -> "ToolIndex | None":
        """What was saved for this space; None where there is none that is whole."""
        try:
            with (directory / _SIDECAR).open("rb") as file, np.load(file, allow_pickle=False) as saved:
                ids, revision = np.asarray(saved["ids"], np.int64), int(saved["revision"])
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        dense = DenseIndex.load(directory, fingerprint=_fingerprint(space, ids, revision))
        return cls(dense, ids, revision) if dense is not None else None


def _fingerprint(space: str, ids: Ids, revision: int) -> str:
    return f"{space}|{revision}|{hashlib.sha256(ids.tobytes()).hexdigest()}"
