"""How often the demo users get the tool they would want: `make bench-personalization`.

Every instruction of `tests/data/demo/expectations.json` is about a job that its user's history does not hold, so the
taste has to carry over. Side by side, in one run, through the retriever and ranker that serve (no HTTP, no database):

- relevance alone: the retriever's first tool, the same for everybody;
- functional fit alone: the same after relevance is shared among tools of the same functionality;
- raw similarity: the same retrieval, reordered by similarity to the mean of the liked tools (no weights, no time);
- ours: the preference ranker, with the setting given and with `auto`.

`job`: the chosen tool does the job at all (functionality). `wanted`: it is one that this user would want.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.catalogue.parse import parse
from app.demo.tour import catalogue, load
from app.domain import HistorySetting, Interaction, Rating, ToolCall, ToolSource
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, Profile, RankerWeights, ToolSignature
from app.retrieval.query import Query, split_sentences
from app.retrieval.snapshot import CatalogueSnapshot, Retrieval
from app.retrieval.texts import retrieval_text
from tests.support.demo_data import load_expectations, load_jobs

Chooser = Callable[[Retrieval, dict[str, Any]], str]


def snapshot(embedder: PackagedEmbedder) -> CatalogueSnapshot:
    tools = [tool for _, tool in parse(ToolSource.RAPIDAPI, catalogue()).tools]
    vectors = embedder.encode([retrieval_text(tool) for tool in tools])
    return CatalogueSnapshot.build(tools, vectors, 1)


def interactions(user: dict[str, Any]) -> list[Interaction]:
    return [
        Interaction(
            instruction=item["instruction"],
            tool_call=ToolCall(item["tool_call"]["tool_name"], item["tool_call"]["parameters"]),
            occurred_at=datetime.fromisoformat(item["occurred_at"]),
            rating=Rating(item["rating"]) if item["rating"] else None,
        )
        for item in sorted(user["history"], key=lambda item: str(item["occurred_at"]))
    ]


class Choosers:
    """The systems compared: each takes what was retrieved, and the user."""

    def __init__(self, catalogue: CatalogueSnapshot, weights: RankerWeights | None = None) -> None:
        self._catalogue = catalogue
        self._ranker = PreferenceRanker(weights)
        self._signatures = {
            tool.name: ToolSignature(tool.name, tool.provider, catalogue.vectors[row])
            for row, tool in enumerate(catalogue.tools)
        }

    def relevance(self, found: Retrieval, _: dict[str, Any]) -> str:
        return found[0].tool.name

    def fit(self, found: Retrieval, _: dict[str, Any]) -> str:
        fit = functional_fit(found)
        return found[int(np.argmax(fit))].tool.name

    def raw_similarity(self, found: Retrieval, user: dict[str, Any]) -> str:
        liked = [item.tool_call.tool_name for item in interactions(user) if item.rating is not Rating.DISLIKED]
        mean = np.mean([self._signatures[name].attributes for name in liked], axis=0)
        return max(found, key=lambda item: float(self._signatures[item.tool.name].attributes @ mean)).tool.name

    def given(self, found: Retrieval, user: dict[str, Any]) -> str:
        return self._ranked(found, self.profile(user, HistorySetting(user["history_setting"])))

    def auto(self, found: Retrieval, user: dict[str, Any]) -> str:
        return self._ranked(found, self.profile(user, HistorySetting.AUTO))

    def profile(self, user: dict[str, Any], setting: HistorySetting) -> Profile:
        return self._ranker.profile(setting, interactions(user), self._signatures)

    def _ranked(self, found: Retrieval, profile: Profile) -> str:
        attributes = self._catalogue.vectors[[item.row for item in found]]
        tools = [item.tool for item in found]
        return self._ranker.rank(functional_fit(found), tools, attributes, profile)[0].tool.name


def accuracy(chooser: Chooser, found: Sequence[Retrieval], setting: str | None = None) -> tuple[float, float, int]:
    """Share of instructions for which the tool does the job, for which it is the wanted one, and how many they are."""
    users = {user["user_id"]: user for user in load("users.json")}
    jobs = {job["job"]: set(job["tools"]) for job in load_jobs()["jobs"]}
    able: list[bool] = []
    wanted: list[bool] = []
    for expectation, retrieved in zip(load_expectations(), found, strict=True):
        user = users[expectation["user_id"]]
        if setting is None or user["history_setting"] == setting:
            name = chooser(retrieved, user)
            able.append(name in jobs[expectation["job"]])
            wanted.append(name in expectation["acceptable"])
    return float(np.mean(able)), float(np.mean(wanted)), len(wanted)


def retrieve(catalogue: CatalogueSnapshot, embedder: PackagedEmbedder) -> list[Retrieval]:
    found = []
    for expectation in load_expectations():
        sentences = split_sentences(expectation["instruction"])
        query = Query(expectation["instruction"], sentences, embedder.encode(sentences))
        found.append(catalogue.search(query, 50))
    return found


def main() -> None:
    embedder = PackagedEmbedder()
    catalogue = snapshot(embedder)
    found = retrieve(catalogue, embedder)
    choosers = Choosers(catalogue)
    systems: dict[str, Chooser] = {
        "relevance alone": choosers.relevance,
        "functional fit alone": choosers.fit,
        "raw similarity to liked": choosers.raw_similarity,
        "ours": choosers.given,
        "ours, setting auto": choosers.auto,
    }
    table = Table("system", "setting", "n", "job", "wanted", title=f"{len(catalogue.tools)} demo tools")
    for name, chooser in systems.items():
        for setting in (None, "preferred_only", "rating_integrated", "chronological"):
            able, wanted, count = accuracy(chooser, found, setting)
            table.add_row(name if setting is None else "", setting or "all", str(count), f"{able:.1%}", f"{wanted:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
