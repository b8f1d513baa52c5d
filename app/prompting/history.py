"""A user's interactions in the prompt: encoded once; all of them if they fit, else the most useful ones."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import monotonic

from cachetools import TTLCache

from app.domain import Candidate, Interaction, Json
from app.json_data.tool_names import alias
from app.prompting.formats import Listing, PromptFormat
from app.prompting.text import Segment, SegmentEncoder, json_text, shorten

_KEPT = 100_000
"""Maximum interactions in the cache of histories."""
TTL = 3_600
"""Seconds for which a user's texts are cached. After that, an erased user's texts have left the memory."""
_BLOCK = 64
"""Number of interactions encoded together."""
_MISSES = 8
"""A selection ends after this many interactions that were too long for the room left."""
# Maximum characters, items and levels of an interaction's values, tried in order until it is short enough.
_LIMITS = ((2_000, 32, 6), (400, 12, 3), (100, 6, 2), (24, 3, 1))


class InteractionWriter:
    """Writes and encodes interactions, each by itself, so a history that grows keeps its first tokens."""

    def __init__(self, encoder: SegmentEncoder, format: PromptFormat, longest: int) -> None:  # noqa: A002
        """`longest`: tokens of an interaction beyond which its long values are cut, but not tool name and rating."""
        self._encoder = encoder
        self._format = format
        self._longest = longest

    def segments(self, interactions: Sequence[Interaction]) -> list[Segment]:
        """The interactions, encoded."""
        written = self._encoder.encode_all([self._text(each, 0) for each in interactions])
        return [
            segment if segment.tokens <= self._longest else self._shorter(interaction)
            for interaction, segment in zip(interactions, written, strict=True)
        ]

    def _shorter(self, interaction: Interaction) -> Segment:
        for step in range(1, len(_LIMITS)):
            segment = self._encoder.encode(self._text(interaction, step))
            if segment.tokens <= self._longest:
                break
        return segment

    def _text(self, interaction: Interaction, step: int) -> str:
        call = interaction.tool_call
        rating = {"rating": interaction.rating.value} if interaction.rating is not None else {}
        if self._format.listing is Listing.TERSE:
            return json_text(rating | {"tool_name": alias(call.tool_name)}) + "\n"
        characters, items, depth = _LIMITS[step]
        instruction, parameters = (
            shorten(value, characters=characters, items=items, depth=depth)
            for value in (interaction.instruction, {alias(name): value for name, value in call.parameters.items()})
        )
        asked = {"instruction": instruction}
        written: dict[str, Json] = {"tool_name": alias(call.tool_name), "parameters": parameters}
        if self._format.listing is Listing.ARRAY:
            return json_text(asked | {"tool_call": written} | rating)
        # The rating comes first, since the rest is read in its light.
        return json_text(rating | asked | written) + "\n"


class History:
    """One user's interactions, oldest first. Each is encoded when it is first needed."""

    def __init__(self, interactions: Sequence[Interaction], writer: InteractionWriter, between: int) -> None:
        """`between`: tokens of the separator of two interactions."""
        self.interactions = interactions
        self._writer = writer
        self._between = between
        self._segments: list[Segment | None] = [None] * len(interactions)
        self._total: int | None = None
        self._by_tool: dict[str, list[int]] = defaultdict(list)
        for position, interaction in enumerate(interactions):
            self._by_tool[interaction.tool_call.tool_name].append(position)

    def __len__(self) -> int:
        return len(self.interactions)

    def segments(self, positions: Iterable[int]) -> list[Segment]:
        """The interactions at these positions, encoded."""
        wanted = list(positions)
        missing = [position for position in wanted if self._segments[position] is None]
        if missing:
            written = self._writer.segments([self.interactions[position] for position in missing])
            for position, new in zip(missing, written, strict=True):
                self._segments[position] = new
        return [segment for position in wanted if (segment := self._segments[position]) is not None]

    def fits(self, room: int) -> bool:
        """Whether all interactions together have at most `room` tokens. Encodes only as many as it takes to know."""
        if self._total is None:
            total = 0
            for end in range(len(self), 0, -_BLOCK):
                total += sum(self._cost(segment) for segment in self.segments(range(max(0, end - _BLOCK), end)))
                if total > room:
                    return False
            self._total = total
        return self._total <= room

    @property
    def total(self) -> int | None:
        """Tokens of all interactions. None while some of them are not yet encoded."""
        return self._total

    def count_unwritten(self, candidates: Sequence[Candidate], relevance: Sequence[float] | None) -> int:
        """Number of interactions, roughly, that `fits` and `select` would have to encode."""
        if self._total is not None or not self.interactions:
            return 0
        likely = self._relevant(candidates, relevance)[:_BLOCK]
        recent = range(max(0, len(self) - _BLOCK), len(self))
        return sum(self._segments[position] is None for position in {*likely, *recent})

    def select(self, room: int, candidates: Sequence[Candidate], relevance: Sequence[float] | None) -> list[int]:
        """Positions, in time order, of the most useful interactions that fit `room` tokens together.

        Up to half the room goes to interactions relevant to the candidates, then the most recent ones are added, and
        what is left goes to relevant ones again. `relevance` has a number for each interaction, above 0 if it is
        relevant. Without it an interaction with the same tool counts most, then one with the same provider, then the
        same category. Of equally relevant ones the more recent goes first.
        """
        if room <= 0:
            return []
        relevant = self._relevant(candidates, relevance)
        chosen: set[int] = set()
        left = room - self._take(relevant, room // 2, chosen)
        left -= self._take(range(len(self) - 1, -1, -1), left, chosen)
        self._take(relevant, left, chosen)
        return sorted(chosen)

    def _take(self, positions: Sequence[int], room: int, chosen: set[int]) -> int:
        """Add interactions that fit `room` to `chosen`, in order. Returns the tokens of those added."""
        taken = misses = 0
        for start in range(0, len(positions), _BLOCK):
            block = [position for position in positions[start : start + _BLOCK] if position not in chosen]
            for position, segment in zip(block, self.segments(block), strict=True):
                cost = self._cost(segment)
                if taken + cost <= room:
                    chosen.add(position)
                    taken += cost
                else:
                    misses += 1
                if misses == _MISSES:
                    return taken
        return taken

    def _relevant(self, candidates: Sequence[Candidate], relevance: Sequence[float] | None) -> list[int]:
        return self._by_likeness(candidates) if relevance is None else _by_relevance(relevance)

    def _by_likeness(self, candidates: Sequence[Candidate]) -> list[int]:
        tools = [candidate.tool for candidate in candidates]
        names = {tool.name for tool in tools}
        providers = tuple(f"{tool.category}.{tool.provider}." for tool in tools if tool.provider)
        categories = tuple(f"{tool.category}." for tool in tools if tool.category)
        ranks: tuple[list[int], ...] = ([], [], [])
        for name, positions in self._by_tool.items():
            if name in names:
                ranks[0].extend(positions)
            elif name.startswith(providers):
                ranks[1].extend(positions)
            elif name.startswith(categories):
                ranks[2].extend(positions)
        return [position for rank in ranks for position in sorted(rank, reverse=True)]

    def _cost(self, segment: Segment) -> int:
        return segment.tokens + self._between


class HistoryCache:
    """Cache of the last hour's histories, by the identity of their tuple of interactions. Thread-safe."""

    def __init__(self, writer: InteractionWriter, between: int, timer: Callable[[], float] = monotonic) -> None:
        self._writer = writer
        self._between = between
        # A cached history refers to its tuple, so no other object can get the tuple's id.
        self._kept: TTLCache[int, History] = TTLCache(
            maxsize=_KEPT, ttl=TTL, timer=timer, getsizeof=lambda history: len(history) + 1
        )
        self._lock = Lock()

    def get(self, interactions: Sequence[Interaction]) -> History:
        """The history of these interactions. Only tuples are cached: other sequences can change."""
        if not isinstance(interactions, tuple):
            return History(tuple(interactions), self._writer, self._between)
        kept = self.cached(interactions)
        if kept is not None:
            return kept
        history = History(interactions, self._writer, self._between)
        if len(history) < self._kept.maxsize:
            with self._lock:
                self._kept[id(interactions)] = history
        return history

    def cached(self, interactions: Sequence[Interaction]) -> History | None:
        """The cached history of this very tuple. None if there is none."""
        with self._lock:
            self._kept.expire()
            found = self._kept.get(id(interactions))
        return found if found is not None and found.interactions is interactions else None


def _by_relevance(relevance: Sequence[float]) -> list[int]:
    relevant = [position for position, value in enumerate(relevance) if value > 0]
    return sorted(relevant, key=lambda position: (-relevance[position], -position))
