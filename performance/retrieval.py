"""How well tools are found: `python -m performance.retrieval`.

Real documents and queries from `$PETOOL_SHARED/data/rapidapi` (default `../shared`); all documents are the corpus,
relevance is binary, and the three rows are measured in one run:

plain    the embedded instruction against the embedded document, by cosine.
hybrid   what one would write in twenty lines: Okapi BM25 (words cut and stemmed as ours are) plus that cosine,
         each the best over the instruction's sentences and scaled to [0, 1] within the request.
ours     `CatalogueSnapshot.search`.

`dev` is the third of the queries that constants were chosen on (by hash of the query's id); `rest` is the others.
"""

import argparse
import hashlib
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from app.catalogue.rapidapi import parse_document
from app.domain import Tool
from app.retrieval.embedders.base import Embedder
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.lexical import terms
from app.retrieval.query import Query as SearchQuery
from app.retrieval.query import split_sentences
from app.retrieval.snapshot import CatalogueSnapshot
from app.retrieval.texts import retrieval_text
from app.retrieval.tool_index import ToolIndex

Vectors = NDArray[np.float32]
QUERY_SETS = ("G1_instruction", "G1_tool", "G2_instruction")
DEPTH = 50


@dataclass(frozen=True)
class Query:
    id: str
    text: str
    relevant: frozenset[str]

    @property
    def is_dev(self) -> bool:
        return int(hashlib.sha256(self.id.encode()).hexdigest(), 16) % 3 == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", "dev", "rest"], default="all", help="which queries to report on")
    part = parser.parse_args().part
    console = Console(width=max(Console().width, 110))
    repository = Path(__file__).resolve().parents[1]
    data = (repository / os.environ.get("PETOOL_SHARED", "../shared")).resolve() / "data" / "rapidapi"
    if not (data / "tools.jsonl").is_file():
        console.print("bench-retrieval is skipped: no data/rapidapi/tools.jsonl below $PETOOL_SHARED (../shared).")
        return
    tools, queries = read(data)
    queries = [query for query in queries if part == "all" or query.is_dev == (part == "dev")]
    # As the service does: one core a matrix product.
    threadpool_limits(1, user_api="blas")
    embedder = PackagedEmbedder()
    console.print(f"{len(tools)} documents, {len(queries)} queries ({part}), {embedder.name}, {embedder.precision}")
    ours, timings = rank_ours(tools, queries, embedder)
    rows = {"plain MiniLM": rank_plain, "BM25 + MiniLM": rank_hybrid}
    ranked = {name: rank(tools, queries, embedder) for name, rank in rows.items()}
    console.print(results({**ranked, "ours": ours}, queries))
    for line in timings:
        console.print(line)


def read(data: Path) -> tuple[list[Tool], list[Query]]:
    with (data / "tools.jsonl").open(encoding="utf-8") as lines:
        tools = [parse_document(json.loads(line)) for line in lines]
    with (data / "queries.jsonl").open(encoding="utf-8") as lines:
        raw = [json.loads(line) for line in lines]
    return tools, [
        Query(query["query_id"], query["query"], frozenset(".".join(api) for api in query["relevant_apis"]))
        for query in raw
    ]


def results(ranked: Mapping[str, Sequence[Sequence[str]]], queries: Sequence[Query]) -> Table:
    table = Table(title="NDCG@1 / @5 / @10 and recall@10, percent")
    table.add_column("")
    for name in QUERY_SETS:
        count = sum(query.id.startswith(name + "/") for query in queries)
        table.add_column(f"{name} ({count})", justify="right")
    for row, found in ranked.items():
        cells = []
        for name in QUERY_SETS:
            of_set = [(names, query) for names, query in zip(found, queries, strict=True) if query.id.startswith(name)]
            measures: list[Callable[[Sequence[str], frozenset[str]], float]] = [
                lambda names, relevant: ndcg(names, relevant, 1),
                lambda names, relevant: ndcg(names, relevant, 5),
                lambda names, relevant: ndcg(names, relevant, 10),
                lambda names, relevant: len(relevant.intersection(names[:10])) / len(relevant),
            ]
            means = [np.mean([measure(names, query.relevant) for names, query in of_set]) for measure in measures]
            cells.append("  ".join(f"{100 * mean:5.1f}" for mean in means))
        table.add_row(row, *cells)
    return table


def ndcg(names: Sequence[str], relevant: frozenset[str], depth: int) -> float:
    gain = sum(1 / math.log2(place + 2) for place, name in enumerate(names[:depth]) if name in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(depth, len(relevant))))


def rank_ours(tools: Sequence[Tool], queries: Sequence[Query], embedder: Embedder) -> tuple[list[list[str]], list[str]]:
    vectors = embedder.encode([retrieval_text(tool) for tool in tools])
    ids = np.arange(len(tools))
    started = time.perf_counter()
    snapshot = CatalogueSnapshot.build(tools, vectors, 1, ids=ids, index=ToolIndex.build(ids, vectors, 1))
    built = time.perf_counter()
    texts = [split_sentences(query.text) for query in queries]
    clock = Clock()
    encoded = [embedder.encode(sentences) for sentences in texts]
    clock.lap("encode alone")
    for start in range(0, len(queries), 8):
        embedder.encode([sentence for sentences in texts[start : start + 8] for sentence in sentences])
    clock.lap("encode eight together")
    found = [
        snapshot.search(SearchQuery(query.text, sentences, vectors), DEPTH)
        for query, sentences, vectors in zip(queries, texts, encoded, strict=True)
    ]
    clock.lap("search")
    mean = [float(np.mean([items[at].relevance for items in found])) for at in (0, 9, DEPTH - 1)]
    return [[item.tool.name for item in items] for items in found], [
        f"snapshot built in {built - started:.2f} s from stored vectors",
        *(
            f"{name}: {wall / len(queries):.2f} ms a query, {cpu / len(queries):.2f} ms of processor time"
            for name, (wall, cpu) in clock.laps.items()
        ),
        f"mean relevance of the 1st, 10th and {DEPTH}th tool: " + ", ".join(f"{value:.2f}" for value in mean),
    ]


class Clock:
    """Milliseconds between laps, by the wall and by the processor: they differ where others use the machine."""

    def __init__(self) -> None:
        self.laps: dict[str, tuple[float, float]] = {}
        self._since = (time.perf_counter(), time.process_time())

    def lap(self, name: str) -> None:
        now = (time.perf_counter(), time.process_time())
        self.laps[name] = (1000 * (now[0] - self._since[0]), 1000 * (now[1] - self._since[1]))
        self._since = now


def rank_plain(tools: Sequence[Tool], queries: Sequence[Query], embedder: Embedder) -> list[list[str]]:
    documents = embedder.encode([plain_text(tool) for tool in tools])
    asked = embedder.encode([query.text for query in queries])
    return [best(tools, row) for row in asked @ documents.T]


def rank_hybrid(tools: Sequence[Tool], queries: Sequence[Query], embedder: Embedder) -> list[list[str]]:
    documents = embedder.encode([plain_text(tool) for tool in tools])
    bm25 = okapi([plain_text(tool) for tool in tools])
    ranked = []
    for query in queries:
        sentences = re.split(r"(?<=[.!?])\s+", query.text.strip())
        dense = (embedder.encode(sentences) @ documents.T).max(0)
        lexical = np.max([bm25(sentence) for sentence in sentences], axis=0)
        ranked.append(best(tools, scaled(dense) + scaled(lexical)))
    return ranked


def plain_text(tool: Tool) -> str:
    return f"{tool.category} {tool.provider} {tool.api} {tool.description}"


def okapi(texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> Callable[[str], Vectors]:
    words = [Counter(terms(text)) for text in texts]
    lengths = np.array([sum(counts.values()) for counts in words])
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    found_in = Counter(word for counts in words for word in counts)

    def scores(query: str) -> Vectors:
        total = np.zeros(len(texts), np.float32)
        for word in set(terms(query)) & found_in.keys():
            idf = math.log(1 + (len(texts) - found_in[word] + 0.5) / (found_in[word] + 0.5))
            counts = np.array([counts[word] for counts in words])
            total += idf * counts * (k1 + 1) / (counts + norm)
        return total

    return scores


def scaled(values: Vectors) -> Vectors:
    return np.asarray((values - values.min()) / max(float(values.max() - values.min()), 1e-9), np.float32)


def best(tools: Sequence[Tool], scores: Vectors) -> list[str]:
    return [tools[row].name for row in np.argsort(-scores, kind="stable")[:DEPTH]]


if __name__ == "__main__":
    main()
