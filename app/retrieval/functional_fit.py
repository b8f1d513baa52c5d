"""Which of the tools found have the same functionality, and how well that functionality fits the instruction.

Tools that do the same job are told apart by the words of their documents, which is chance: the one whose author
happened to write the user's words comes first. Where the documents show that tools do the same (same category and
same input parameters, the paper's section 3.2.2), what fits is the functionality they share, so they share their
relevance too, and the choice among them is left to the user's preference.
"""

from collections import defaultdict
from collections.abc import Sequence

from app.retrieval.snapshot import Retrieved

SHARED = 0.9
"""Share of a tool's fit that comes from its group; the rest is its own relevance."""
VOICES = 3
"""The group's relevance is the mean of its best three: one lucky wording does not speak for a functionality."""


def functional_fit(found: Sequence[Retrieved]) -> list[float]:
    """In [0, 1], in the order of `found`: relevance, evened out among tools of the same functionality."""
    fit = [item.relevance for item in found]
    for members in _groups(found):
        best = sorted((found[member].relevance for member in members), reverse=True)[:VOICES]
        shared = sum(best) / len(best)
        for member in members:
            fit[member] = SHARED * shared + (1 - SHARED) * found[member].relevance
    return fit


def _groups(found: Sequence[Retrieved]) -> list[list[int]]:
    """Positions of tools with the same functionality; of each provider at most one, its most relevant.

    One provider's tools with the same parameters do different jobs (search images, search news), so only the best
    of them can be the one that other providers' tools compete with. Tools without parameters show nothing to go by.
    """
    groups: dict[tuple[str, frozenset[str]], dict[str, int]] = defaultdict(dict)
    for position, item in enumerate(found):
        names = frozenset(parameter.name for parameter in item.tool.parameters)
        if names:
            members = groups[item.tool.category, names]
            provider = item.tool.provider or item.tool.name
            known = members.get(provider)
            if known is None or found[known].relevance < item.relevance:
                members[provider] = position
    return [list(members.values()) for members in groups.values() if len(members) > 1]
