"""Nearest vectors by inner product: exact while they are few, FAISS's inverted lists above that.

A `DenseIndex` never changes once it exists. Changes give a new one, which shares the large part of the old (the
base) and carries what differs: the base's rows that no longer count, and a small exact index of the rows put since
(the delta). So the old one can be searched in other threads while a new one is made; swapping is one assignment.

On disk an index is a manifest naming two files, with their checksums. Files are never overwritten and the
manifest is replaced in one step: a process that dies while saving leaves the index that was there before.

The constants come from `python -m performance.index`.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import faiss as faiss_package
import numpy as np
from numpy.typing import NDArray

from app.retrieval.index_files import is_there, read_manifest, verified, write_file, write_manifest

faiss: Any = faiss_package
"""Its stubs describe the C++ signatures, not those of its Python layer."""

EXACT_UP_TO = 50_000
"""Vectors that are searched exactly unless told otherwise; above, that takes 10 ms a query and more."""
PROBES = 48
"""Inverted lists searched a query. Half as many give a recall@50 of 0.98 at a million: the rest is margin."""
REBUILD_SHARE = 0.1
"""Share of the base that may have changed before a rebuild is due."""
DELTA_UP_TO = 20_000
"""Rows in the delta before a rebuild is due, however large the base: it takes milliseconds to search."""
BATCH = 20
"""Queries from which on a search takes all cores; a request has fewer."""
_FORMAT = 1

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]


class IndexKind(StrEnum):
    """How the base is searched."""

    FLAT = "flat"
    """Every vector, exactly, in float32."""
    IVF = "ivf"
    """The vectors of the nearest k-means clusters, in float16: scores are within 1e-3 of exact."""


@dataclass(frozen=True, eq=False)
class DenseIndex:
    """Vectors under row numbers, immutable; any number of threads may search. Made by `build` or `load`."""

    _base: Any
    _base_id: str
    _dead: Rows
    """The base's rows that were removed or put anew; ascending."""
    _delta_rows: Rows
    """Ascending; none of them alive in the base."""
    _delta_vectors: Vectors
    _delta: Any = field(init=False)
    _alive: Any = field(init=False)
    """FAISS's selector of the base's rows that count; None when all do."""

    def __post_init__(self) -> None:
        delta = faiss.IndexFlatIP(self._base.d)
        delta.add(self._delta_vectors)
        object.__setattr__(self, "_delta", delta)
        alive = np.ones(self._base.ntotal, bool)
        alive[self._dead] = False
        selector = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little")) if len(self._dead) else None
        object.__setattr__(self, "_alive", selector)

    @classmethod
    def build(cls, vectors: Vectors, *, kind: IndexKind | None = None, threads: int | None = None) -> Self:
        """Index L2-normalised vectors, (n, d); row i is `vectors[i]`. n may be 0. No reference is kept.

        `kind` None chooses by n. `threads` limits the cores taken, for building beside a running service;
        None takes all. Raises ValueError where a vector is not finite or not of length 1 (within 1e-3).
        """
        vectors = _matrix(vectors)
        _check_normalised(vectors)
        kind = kind or (IndexKind.FLAT if len(vectors) <= EXACT_UP_TO else IndexKind.IVF)
        if not len(vectors):
            kind = IndexKind.FLAT  # there is nothing to train on
        with _openmp_threads(threads):
            base = faiss.IndexFlatIP(vectors.shape[1]) if kind is IndexKind.FLAT else _trained(vectors)
            base.add(vectors)
        none = np.empty(0, np.int64)
        return cls(base, uuid.uuid4().hex, none, none, np.empty((0, base.d), np.float32))

    @property
    def kind(self) -> IndexKind:
        return IndexKind.IVF if isinstance(self._base, faiss.IndexIVF) else IndexKind.FLAT

    def __len__(self) -> int:
        """Rows that a search can find."""
        return int(self._base.ntotal) - len(self._dead) + len(self._delta_rows)

    @property
    def needs_rebuild(self) -> bool:
        """Whether so much has changed that a `build` of all vectors is due; searching stays correct."""
        allowed = REBUILD_SHARE * int(self._base.ntotal)
        return len(self._dead) > allowed or len(self._delta_rows) > min(allowed, DELTA_UP_TO)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        """The best rows for each query, (m, d): scores and row numbers, both (m, min(k, len(self))).

        Best first; of equals the lower row. Raises ValueError for another dimension, values not finite, k < 0.
        """
        queries = _matrix(queries, self._base.d)
        if k < 0 or not np.isfinite(queries).all():
            raise ValueError("k is negative" if k < 0 else "a query is not finite")
        k = min(k, len(self))
        if not k or not len(queries):
            return _nothing(len(queries), k)
        # FAISS shares even one query over 10,000 vectors out to all cores: ten times slower where those are busy.
        with _openmp_threads(1 if len(queries) < BATCH else None):
            scores, rows = self._search_base(queries, min(k, self._base.ntotal - len(self._dead)))
            if len(self._delta_rows):
                more, at = self._delta.search(queries, min(k, len(self._delta_rows)))
                scores, rows = np.hstack([scores, more]), np.hstack([rows, self._delta_rows[at]])
        order = np.lexsort((rows, -scores))[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _search_base(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        if not k:
            return _nothing(len(queries), 0)
        if self.kind is IndexKind.FLAT:
            scores, rows = self._base.search(queries, k, params=faiss.SearchParameters(sel=self._alive))
            return scores, rows
        few = faiss.SearchParametersIVF(nprobe=PROBES, sel=self._alive)
        scores, rows = self._base.search(queries, k, params=few)
        short = (rows < 0).any(1)
        if short.any():  # the probed lists hold fewer than k: take them all
            every = faiss.SearchParametersIVF(nprobe=self._base.nlist, sel=self._alive)
            scores[short], rows[short] = self._base.search(queries[short], k, params=every)
        return scores, rows

    def with_changes(self, rows: Sequence[int] | Rows, vectors: Vectors, *, removed: Sequence[int] | Rows = ()) -> Self:
        """A new index where `rows` (r,) have `vectors` (r, d) and `removed` are gone. This one stays as it is.

        A row is replaced where it exists and added where it does not; any number from 0 on will do. Other rows
        keep their numbers; removing what is not there does nothing. It costs a copy of the changes so far and
        a byte a base row. Raises ValueError as `build`, and for rows put twice or put and removed.
        """
        put, gone = np.asarray(rows, np.int64).reshape(-1), np.asarray(removed, np.int64).reshape(-1)
        vectors = _matrix(vectors, self._base.d)
        _check_normalised(vectors)
        touched = np.union1d(put, gone)
        if len(put) != len(vectors) or len(touched) != len(put) + len(np.unique(gone)):
            raise ValueError("each row takes one vector, once, and is not removed as well")
        if len(put) and put.min() < 0:
            raise ValueError("a row number is negative")
        in_base = touched[(touched >= 0) & (touched < self._base.ntotal)]
        kept = ~np.isin(self._delta_rows, touched)
        new_rows = np.concatenate([self._delta_rows[kept], put])
        order = np.argsort(new_rows)
        new_vectors = np.concatenate([self._delta_vectors[kept], vectors])[order]
        dead = np.union1d(self._dead, in_base)
        return type(self)(self._base, self._base_id, dead, new_rows[order], new_vectors)

    def save(self, directory: Path, *, fingerprint: str) -> None:
        """Keep the index in `directory` (made if need be), in place of the one there; all of it or nothing.

        The base is written only if it is not there yet: after `with_changes` this is quick. One process at a time
        should save in a directory; where two do, `load` may find nothing, never something wrong. Raises OSError.
        """
        directory.mkdir(parents=True, exist_ok=True)
        name = f"base-{self._base_id}.faiss"
        there = read_manifest(directory).get("base")
        if not is_there(directory, there, name):
            there = write_file(directory, name, self._write_base)
        changes = write_file(directory, f"changes-{uuid.uuid4().hex}.npz", self._write_changes)
        manifest = {"format": _FORMAT, "fingerprint": fingerprint, "base": there, "changes": changes}
        write_manifest(directory, manifest)
        for pattern in ("base-*.faiss", "changes-*.npz", ".*.tmp"):
            for file in directory.glob(pattern):
                if file.name not in (name, changes["name"]):
                    file.unlink(missing_ok=True)

    @classmethod
    def load(cls, directory: Path, *, fingerprint: str) -> Self | None:
        """The index saved in `directory` under this fingerprint; None where there is none that is whole."""
        manifest = read_manifest(directory)
        if manifest.get("format") != _FORMAT or manifest.get("fingerprint") != fingerprint:
            return None
        try:
            base, changes = (verified(directory, manifest[part]) for part in ("base", "changes"))
            with np.load(changes, allow_pickle=False) as saved:
                parts = [saved[part] for part in ("dead", "rows", "vectors")]
            return cls(faiss.read_index(str(base)), base.stem.removeprefix("base-"), *parts)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError):  # RuntimeError is how FAISS says it
            return None

    def _write_base(self, path: Path) -> None:
        try:
            faiss.write_index(self._base, str(path))
        except RuntimeError as error:  # a full disk, for one
            raise OSError(str(error)) from error

    def _write_changes(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, dead=self._dead, rows=self._delta_rows, vectors=self._delta_vectors)


def _trained(vectors: Vectors) -> Any:
    """An empty inverted-list index over k-means clusters of `vectors`."""
    # Four times the root balances finding the lists against reading them; never more than there are vectors.
    lists = min(2 ** round(math.log2(4 * math.sqrt(len(vectors)))), len(vectors))
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 8
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 40
    index.train(vectors)
    return index


@contextmanager
def _openmp_threads(threads: int | None) -> Iterator[None]:
    """OpenMP keeps this per thread: others' searches are not affected."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _nothing(queries: int, k: int) -> tuple[Vectors, Rows]:
    return np.empty((queries, k), np.float32), np.empty((queries, k), np.int64)


def _matrix(vectors: Vectors, dimension: int | None = None) -> Vectors:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or dimension not in (None, vectors.shape[1]):
        raise ValueError(f"vectors of shape {vectors.shape}, not (n, {dimension or 'd'})")
    return vectors


def _check_normalised(vectors: Vectors) -> None:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not (np.abs(lengths - 1) <= 1e-3).all():
        raise ValueError("a vector is not L2-normalised, or not finite")
