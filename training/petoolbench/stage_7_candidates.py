"""Stage 7: the ten tools to choose from (paper, section 5.1).

The right tool and all others of its group, five that the ToolRetriever finds for the instruction, the rest by chance.
Of a group of more than ten, nine rivals are drawn. No other candidate could do the job: a tool that grouping did not
find but that has the same category and inputs, or says nearly the same of its functionality, is left out, else there
would be two right answers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.domain import Json, Tool
from app.retrieval.query import Query, split_sentences
from app.retrieval.snapshot import CatalogueSnapshot
from training.common.embedding import Vectors, embed
from training.common.seeding import rng, shuffled_by_hash
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.petoolbench.config import CandidateConfig
from training.petoolbench.interface import inputs
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_6_instructions import Asked

CANDIDATES = "candidates.jsonl"
_SAME = 0.85
"""Cosine of functionality phrases."""
_LOOKED_AT = 40
"""Tools retrieved to find five that may stand beside the right one."""


@dataclass(frozen=True)
class Chosen:
    """The candidates of an instruction, in prompt order; `same_function` are those of the answer's group."""

    user_id: str
    number: int
    candidates: tuple[str, ...]
    same_function: tuple[str, ...]


class CandidateChooser:
    def __init__(
        self, snapshot: CatalogueSnapshot, functionality: Vectors, config: CandidateConfig, seed: int, shown: set[str]
    ) -> None:
        """`snapshot`: the tools that may be candidates, `functionality` (n, d): of their phrases; `shown`: those that
        histories or groups show anyway."""
        self._functionality = functionality
        self._snapshot = snapshot
        self._config = config
        self._seed = seed
        self._inputs = {tool.name: inputs(tool) for tool in snapshot.tools}
        # Drawn from the end. Those that would not occur otherwise come first: the benchmark is one of all tools.
        order = shuffled_by_hash(self._inputs, self._seed, "deck", 0)
        self._deck = [name for name in order if name in shown] + [name for name in order if name not in shown]
        self._decks = 0

    def choose(self, asked: Asked, group: Group, query: Query) -> Chosen:
        random = rng(self._seed, "candidates", asked.user_id, asked.number)
        right = asked.answer.tool_name
        rivals = [name for name in group.tools if name != right]
        room = self._config.n - 1
        if len(rivals) > room:
            rivals = sorted(random.sample(rivals, room))
        # The whole group is barred, also those of its tools that were not drawn.
        barred = set(group.tools)
        room -= len(rivals)
        found = self._snapshot.search(query, _LOOKED_AT)
        retrieved = [
            item.tool.name
            for item in found
            if item.tool.name not in barred and not self._could_do(item.tool.name, right)
        ]
        others = retrieved[: min(self._config.retrieved, room)]
        others += self._drawn(room - len(others), {*barred, *others}, right)
        candidates = [right, *rivals, *others]
        random.shuffle(candidates)
        return Chosen(asked.user_id, asked.number, tuple(candidates), tuple(rivals))

    def _drawn(self, count: int, barred: set[str], right: str) -> list[str]:
        """Tools by chance, each drawn once before any is drawn again; fewer where there are no more."""
        drawn: list[str] = []

        def fits(name: str) -> bool:
            return name not in barred and name not in drawn and not self._could_do(name, right)

        while len(drawn) < count:
            place = next((place for place in reversed(range(len(self._deck))) if fits(self._deck[place])), None)
            if place is not None:
                drawn.append(self._deck.pop(place))
                continue
            fresh = shuffled_by_hash(self._inputs, self._seed, "deck", self._decks + 1)
            if not any(map(fits, fresh)):
                break
            self._decks += 1
            self._deck = fresh + self._deck
        return drawn

    def _could_do(self, name: str, right: str) -> bool:
        """By its inputs, or because its functionality reads nearly the same, whatever it takes."""
        if self._inputs[name] == self._inputs[right]:
            return True
        rows = self._snapshot.rows
        return float(self._functionality[rows[name]] @ self._functionality[rows[right]]) >= _SAME


def choose_candidates(
    asked: Sequence[Asked],
    groups: Mapping[str, Group],
    tools: Sequence[Tool],
    documents: Vectors,
    functionality: Vectors,
    unseen: set[str],
    shown: set[str],
    config: CandidateConfig,
    seed: int,
    directory: Path,
    progress: Progress,
) -> Mapping[str, Json]:
    """A row an instruction; the seen and the unseen stay apart. `documents` and `functionality` (n, d): the vectors of
    the tools; `shown`: names of those that the instances' histories and groups hold."""
    texts = [split_sentences(each.instruction) for each in asked]
    progress.start("Embedding instructions", sum(map(len, texts)))
    vectors = embed([text for of_one in texts for text in of_one], progress.advance)
    ends = np.cumsum([0, *map(len, texts)])
    choosers = {}
    for side in (False, True):
        rows = [row for row, tool in enumerate(tools) if (tool.name in unseen) is side]
        snapshot = CatalogueSnapshot.build([tools[row] for row in rows], documents[rows], 1)
        choosers[side] = CandidateChooser(snapshot, functionality[rows], config, seed, shown)
    progress.start("Choosing candidates", len(asked))
    rows_out = []
    sizes: Counter[int] = Counter()
    for number, each in enumerate(asked):
        group = groups[each.answer.tool_name]
        query = Query(each.instruction, texts[number], vectors[ends[number] : ends[number + 1]])
        chosen = choosers[group.unseen].choose(each, group, query)
        sizes[len(chosen.same_function)] += 1
        rows_out.append(
            {**vars(chosen), "candidates": list(chosen.candidates), "same_function": list(chosen.same_function)}
        )
        progress.advance(1)
    write_rows(directory / CANDIDATES, rows_out)
    return {"instructions": len(rows_out), "rivals": dict(sorted(sizes.items()))}


def read_candidates(path: Path) -> dict[tuple[str, int], Chosen]:
    """By user and number."""
    return {
        (row["user_id"], row["number"]): Chosen(
            row["user_id"], row["number"], tuple(row["candidates"]), tuple(row["same_function"])
        )
        for row in read_rows(path)
    }
