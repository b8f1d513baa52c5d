"""An instruction's candidates with all that hints are made from: the same in training and in service."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain import Candidate
from app.retrieval.functional_fit import functional_fit
from app.retrieval.hints import interaction_relevance, with_hints
from app.retrieval.matcher import Match, Matcher
from app.retrieval.preferences import Profile, Vector
from app.retrieval.snapshot import Retrieved


@dataclass(frozen=True, eq=False)
class Ranked:
    candidates: Sequence[Candidate]
    """Best first by the preference ranker."""
    attributes: Vector
    """(m, d): the candidates' vectors, in their order."""
    relevance: Sequence[float]
    """The retriever's own, of each candidate among the candidates alone."""
    functional: Sequence[float]
    """`functional_fit` of the same."""
    queries: Vector
    """(i, d): the instruction's embedded intents."""
    profile: Profile

    @classmethod
    def of(
        cls,
        candidates: Sequence[Candidate],
        found: Sequence[Retrieved],
        vectors: Vector,
        queries: Vector,
        profile: Profile,
    ) -> "Ranked":
        """`found`: the candidates' tools, retrieved as if there were no others; `vectors` (m, d) in its order.

        How relevant a tool is depends on the tools it is found among, and a model knows what it saw in training: ten.
        """
        places = {item.tool.name: place for place, item in enumerate(found)}
        order = [places[candidate.tool.name] for candidate in candidates]
        functional = functional_fit(found)
        return cls(
            candidates,
            vectors[order],
            [found[place].relevance for place in order],
            [functional[place] for place in order],
            queries,
            profile,
        )

    @property
    def interaction_relevance(self) -> list[float]:
        """Of each of the profile's interactions to the candidates; empty without history."""
        return interaction_relevance(self.attributes, self.profile)

    def hinted(self) -> list[Candidate]:
        """The candidates with the preference ranker's hints (`app.retrieval.hints`)."""
        return with_hints(self.candidates, self.attributes, self.profile)

    def matched(self, matcher: Matcher, inputs: Sequence[Sequence[float]]) -> list[Candidate]:
        """The candidates with the matcher's hints. `inputs`: of each, `app.extraction.extract`."""
        return matcher.with_hints(self.candidates, self.match(matcher, inputs), self.profile)

    def match(self, matcher: Matcher, inputs: Sequence[Sequence[float]]) -> Match:
        return matcher.match(self.queries, self.attributes, self.relevance, self.functional, inputs, self.profile)
