"""Stage 3: tools with the same functionality (paper, section 3.2.2).

DBSCAN over the functionality phrases' vectors, then the paper's filter: same category, same input and output format.
DBSCAN chains: A is near B and B near C, and A and C do different jobs. And one provider's tools with the same inputs
are no rivals (search images, search news), however alike they are described. So within a cluster tools are merged by
average linkage as long as they are as similar, on average, as DBSCAN asked of neighbours; and every pair of a group
has the same format, different providers, and no word in one's functionality that only its provider's name accounts for.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.cluster import DBSCAN

from app.domain import Json, Tool
from app.extraction.words import stem
from app.retrieval.preferences import provider_key
from app.retrieval.texts import split_name
from training.common.embedding import Vectors
from training.common.seeding import shuffled_by_hash
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.petoolbench.config import GroupConfig
from training.petoolbench.interface import Inputs, inputs, output, same_output

GROUPS = "groups.jsonl"
CLUSTERS = "clusters.jsonl"
_AGREEING = 0.9
_BLOCK = 1024
_HELD = "unseen"
_NOISE = -1
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Group:
    """Tools that do the same job; which of them a user wants is a matter of preference."""

    id: str
    category: str
    tools: tuple[str, ...]
    """Names, ascending."""
    unseen: bool


@dataclass(frozen=True)
class Neighbours:
    """The pairs that are at most the largest distance apart, as a symmetric sparse matrix of distances."""

    distances: csr_matrix

    @classmethod
    def of(cls, vectors: Vectors, furthest: float) -> "Neighbours":
        count = len(vectors)
        rows: list[NDArray[np.int32]] = []
        columns: list[NDArray[np.int32]] = []
        values: list[NDArray[np.float32]] = []
        for start in range(0, count, _BLOCK):
            distance = 1 - vectors[start : start + _BLOCK] @ vectors.T
            row, column = np.nonzero(distance <= np.float32(furthest))
            rows.append((row + start).astype(np.int32))
            columns.append(column.astype(np.int32))
            # Never 0: a sparse matrix takes that for no entry.
            values.append(np.maximum(distance[row, column], np.float32(1e-6)))
        data = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        return cls(csr_matrix(data, shape=(count, count)))

    def clusters(self, eps: float, min_samples: int) -> list[int]:
        """DBSCAN's label of each row; -1 for noise."""
        found = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(self.distances.copy())
        return [int(label) for label in found]


class Grouping:
    def __init__(self, tools: Sequence[Tool], phrases: Sequence[str], vectors: Vectors, config: GroupConfig) -> None:
        """`phrases`: the tools' functionality, in their order; `vectors` (n, d): of these."""
        self._phrases = [set(map(stem, _words(phrase))) for phrase in phrases]
        self._own = [
            {stem(word) for word in _words(tool.provider) if len(word) > 2} & words
            for tool, words in zip(tools, self._phrases, strict=True)
        ]
        self._tools = tools
        self._vectors = vectors
        self._config = config
        self._inputs: list[Inputs] = [inputs(tool) for tool in tools]
        self._outputs = [output(tool) for tool in tools]
        self._providers = [provider_key(tool.provider or tool.name) for tool in tools]

    @cached_property
    def _neighbours(self) -> Neighbours:
        grid = self._config.eps_grid if self._config.eps is None else (self._config.eps,)
        return Neighbours.of(self._vectors, max(grid))

    def clusters(self, eps: float) -> list[int]:
        return self._neighbours.clusters(eps, self._config.min_samples)

    def groups(self, labels: Sequence[int], eps: float) -> list[list[int]]:
        """Rows of each group's tools, ascending; groups in the order of their first row."""
        buckets: dict[tuple[int, Inputs], list[int]] = defaultdict(list)
        for row, label in enumerate(labels):
            if label != _NOISE:
                buckets[label, self._inputs[row]].append(row)
        found = [group for rows in buckets.values() if len(rows) > 1 for group in self._linked(rows, eps)]
        return sorted(sorted(group) for group in found)

    def _linked(self, rows: Sequence[int], eps: float) -> Iterator[list[int]]:
        """Average linkage, the most similar first (of equals, the lower rows); every pair of a group may meet."""
        similarity = (self._vectors[rows] @ self._vectors[rows].T).astype(np.float64)
        allowed = np.array([[self._may_meet(one, other) for other in rows] for one in rows])
        clusters = {place: [place] for place in range(len(rows))}
        while True:
            best: tuple[float, int, int] | None = None
            for one, other in combinations(sorted(clusters), 2):
                a, b = clusters[one], clusters[other]
                if len(a) + len(b) > self._config.largest:
                    continue
                near = float(similarity[np.ix_(a, b)].mean())
                if near >= 1 - eps and (best is None or near > best[0]) and allowed[np.ix_(a, b)].all():
                    best = (near, one, other)
            if best is None:
                break
            clusters[best[1]] += clusters.pop(best[2])
        yield from ([rows[place] for place in group] for group in clusters.values() if len(group) > 1)

    def _may_meet(self, one: int, other: int) -> bool:
        return (
            self._providers[one] != self._providers[other]
            and same_output(self._outputs[one], self._outputs[other])
            # "Rugby API: get a match" and "Baseball API: get a match" are no rivals.
            and self._own[one] <= self._phrases[other]
            and self._own[other] <= self._phrases[one]
        )

    def agreement(self, eps: float) -> float:
        """Of the pairs of tools of different providers that are within eps, the share of one category.

        Tools that do the same stand in the same category far more often than chance would have it, whoever wrote
        their documents: where this share falls, nearness no longer means the same functionality.
        """
        near = coo_matrix(self._neighbours.distances)
        categories = np.unique([tool.category for tool in self._tools], return_inverse=True)[1]
        providers = np.unique(self._providers, return_inverse=True)[1]
        pairs = (near.data <= eps) & (near.row < near.col) & (providers[near.row] != providers[near.col])
        same = categories[near.row[pairs]] == categories[near.col[pairs]]
        return float(same.mean()) if len(same) else 0.0


def group(
    tools: Sequence[Tool],
    phrases: Sequence[str],
    vectors: Vectors,
    config: GroupConfig,
    seed: int,
    directory: Path,
    progress: Progress,
) -> Mapping[str, Json]:
    """Writes the groups, and every tool's cluster.

    eps is the one of the grid with the highest (share of tools in groups) x (agreement), among those whose agreement is
    at least nine tenths of the best: larger values find more groups, until what is near no longer does the same.
    """
    grouping = Grouping(tools, phrases, vectors, config)
    grid = config.eps_grid if config.eps is None else (config.eps,)
    progress.start("Grouping by functionality", len(grid))
    tried = []
    for eps in grid:
        labels = grouping.clusters(eps)
        found = grouping.groups(labels, eps)
        grouped = sum(map(len, found))
        agreement = grouping.agreement(eps)
        tried.append(
            {
                "eps": eps,
                "clusters": len(set(labels) - {_NOISE}),
                "noise": labels.count(_NOISE),
                "groups": len(found),
                "grouped_tools": grouped,
                "agreement": round(agreement, 4),
                "score": round(agreement * grouped / len(tools), 4),
            }
        )
        progress.advance(1)
    agreeing = [each for each in tried if each["agreement"] >= _AGREEING * max(one["agreement"] for one in tried)]
    best = max(agreeing, key=lambda each: (each["score"], -float(each["eps"])))
    labels = grouping.clusters(best["eps"])
    held = held_out(tools, config.unseen, seed)
    groups = _named(tools, grouping.groups(labels, best["eps"]), held)
    write_rows(directory / GROUPS, ({**vars(each), "tools": list(each.tools)} for each in groups))
    rows = (
        {"tool_name": tool.name, "cluster": label, "unseen": tool.name in held}
        for tool, label in zip(tools, labels, strict=True)
    )
    write_rows(directory / CLUSTERS, rows)
    return {
        "chosen": best,
        "tried": tried,
        "sizes": dict(sorted(Counter(len(each.tools) for each in groups).items())),
        "categories": len({each.category for each in groups}),
        "unseen_groups": sum(each.unseen for each in groups),
        "unseen_tools": len(held),
    }


def held_out(tools: Sequence[Tool], share: float, seed: int) -> set[str]:
    """Names of the tools that only `unseen` may use: at most that share, and all or none of those with the same
    category and inputs. So no functionality is on both sides, also where grouping found it in several groups."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for tool in tools:
        kinds[repr(inputs(tool))].append(tool.name)
    room = share * len(tools)
    held: set[str] = set()
    for kind in shuffled_by_hash(kinds, seed, _HELD):
        if room >= len(kinds[kind]):
            held.update(kinds[kind])
            room -= len(kinds[kind])
    return held


def _named(tools: Sequence[Tool], groups: Sequence[Sequence[int]], held: set[str]) -> list[Group]:
    return [
        Group(
            f"g{number:05d}",
            tools[rows[0]].category,
            tuple(tools[row].name for row in rows),
            tools[rows[0]].name in held,
        )
        for number, rows in enumerate(groups)
    ]


def _words(text: str) -> list[str]:
    return _WORD.findall(split_name(text).casefold())


def read_groups(path: Path) -> list[Group]:
    return [Group(row["id"], row["category"], tuple(row["tools"]), row["unseen"]) for row in read_rows(path)]
