"""Candidates for an instruction: how well each fits, how much this user would want it, and what of that a prompt shows.

The one place where retrieval, functional fit, preference ranker and hints are put together: service, adapter probe,
evaluation and training rank through here, so that a model sees in training what it sees in service.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.decision.policy import Policy
from app.domain import Candidate, Evidence, Hints, HistorySetting, Interaction, Tool
from app.extraction.extract import input_features
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.functional_fit import functional_fit
from app.retrieval.hints import interaction_relevance, with_hints
from app.retrieval.matcher import Match, Matcher
from app.retrieval.preferences import PreferenceRanker, Profile, ToolSignature, Vector
from app.retrieval.query import Query, embed_query
from app.retrieval.snapshot import CatalogueSnapshot, Retrieval

_UNINFORMATIVE = Hints(9, 9, 9)
"""The best fit, and what candidates without history have: alike for all, it says nothing."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """An instruction's candidates, best first by the preference ranker, with all that hints are made from."""

    candidates: Sequence[Candidate]
    found: Retrieval
    """The tools that they were chosen from; evidence is told against these."""
    among: Retrieval
    """The candidates' tools as if there were no others. How relevant a tool is depends on the tools it is found among,
    and a model knows what it saw in training: ten."""
    fit: Sequence[float]
    """Functional fit of each of `found`."""
    profile: Profile
    ranker: PreferenceRanker

    @property
    def query(self) -> Query:
        return self.found.query

    @property
    def tools(self) -> list[Tool]:
        return [candidate.tool for candidate in self.candidates]

    @cached_property
    def vectors(self) -> Vector:
        """(m, d): the candidates' vectors, in their order."""
        return self.among.vectors[self._positions]

    @cached_property
    def interaction_relevance(self) -> list[float]:
        """Of each of the profile's interactions to the candidates, -1 to 1; empty without history."""
        return interaction_relevance(self.vectors, self.profile)

    def explain(self, tool: Tool) -> tuple[Evidence, ...]:
        """The interactions that moved the choice of this tool most, strongest first."""
        tools = self.found.tools
        chosen = [each.name for each in tools].index(tool.name)
        return tuple(self.ranker.evidence(chosen, self.fit, tools, self.found.vectors, self.profile))

    def match(self, matcher: Matcher, inputs: Sequence[Sequence[float]]) -> Match:
        """The matcher's view of the candidates. `inputs`: `input_features` of their tools."""
        fit = functional_fit(self.among)
        relevance = [self.among[position].relevance for position in self._positions]
        functional = [fit[position] for position in self._positions]
        return matcher.match(self.query.vectors, self.vectors, relevance, functional, inputs, self.profile)

    def with_hints(self, matcher: Matcher | None = None) -> "Ranked":
        """With hints by the matcher, which takes a millisecond for each tool; by the preference ranker for None."""
        if matcher is None:
            return replace(self, candidates=with_hints(self.candidates, self.vectors, self.profile))
        inputs = input_features(self.query.text, self.tools, now=self.query.asked_at)
        match = self.match(matcher, inputs)
        return replace(self, candidates=matcher.with_hints(self.candidates, match, self.profile))

    @property
    def has_hints(self) -> bool:
        return all(candidate.hints is not None for candidate in self.candidates)

    def without_hints(self) -> "Ranked":
        """With the same hints for every candidate, which then say nothing: for formats that cannot do without."""
        return replace(self, candidates=[replace(each, hints=_UNINFORMATIVE) for each in self.candidates])

    def without_history(self) -> "Ranked":
        """As for a user who has none."""
        return rank(self.found, Profile(HistorySetting.NONE), self.ranker, len(self.candidates))

    @cached_property
    def _positions(self) -> list[int]:
        """Of each candidate in `among`."""
        positions = {tool.name: position for position, tool in enumerate(self.among.tools)}
        return [positions[candidate.tool.name] for candidate in self.candidates]


def rank(found: Retrieval, profile: Profile, ranker: PreferenceRanker, limit: int = 10) -> Ranked:
    """The `limit` candidates that this user would want most of the tools found. `candidates` is empty if those are."""
    fit, tools = functional_fit(found), found.tools
    candidates = ranker.rank(fit, tools, found.vectors, profile)[:limit]
    positions = {tool.name: position for position, tool in enumerate(tools)}
    among = found.among([positions[candidate.tool.name] for candidate in candidates])
    return Ranked(candidates, found, among, fit, profile, ranker)


def prepare(ranked: Ranked, policy: Policy, matcher: Matcher | None) -> Ranked:
    """With or without history and hints, as the policy says. `matcher`: whose hints; None for the ranker's."""
    if not policy.history:
        ranked = ranked.without_history()
    return ranked.with_hints(matcher) if policy.hints else ranked.without_hints()


@dataclass(frozen=True)
class CaseRanker:
    """Ranks tools that are in no catalogue: instruction, history and tools as a case gives them."""

    embedder: BatchingEmbedder
    encoder: ToolEncoder
    ranker: PreferenceRanker

    async def rank(
        self, instruction: str, tools: Sequence[Tool], setting: HistorySetting, history: Sequence[Interaction]
    ) -> Ranked:
        """What the history says of a tool counts where the tool is among `tools`."""
        vectors = await self.encoder.encode(tools)
        query = await embed_query(self.embedder, instruction)
        signatures = {
            tool.name: ToolSignature(tool.name, tool.provider, vector)
            for tool, vector in zip(tools, vectors, strict=True)
        }
        profile = self.ranker.profile(setting, history, signatures)
        found = CatalogueSnapshot.build(tools, vectors, 0).search(query, len(tools))
        return rank(found, profile, self.ranker, len(tools))
