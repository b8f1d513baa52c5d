"""Users' profiles: their histories as the preference ranker reads them, cached until the history changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import TTLCache

from app.db.database import Database
from app.domain import HistorySetting, Interaction, Tool
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.preferences import PreferenceRanker, Profile, ToolSignature
from app.retrieval.snapshot import CatalogueSnapshot

_USERS_KEPT = 2000
_SECONDS_KEPT = 3600.0


@dataclass(frozen=True)
class UserProfile:
    row: int | None
    """Id of the user's row in the database. None for an unknown user."""
    profile: Profile


@dataclass
class _Kept:
    version: int
    interactions: list[Interaction]
    profiles: dict[HistorySetting, tuple[int, Profile]] = field(default_factory=dict)
    """By history setting: the profile, and the catalogue revision that it was made with."""


class ProfileService:
    """Gives profiles. One small query a call checks whether the cached history is current; no events are needed."""

    def __init__(
        self, database: Database, encoder: ToolEncoder, ranker: PreferenceRanker, *, max_interactions: int
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._ranker = ranker
        self._max_interactions = max_interactions
        self._kept: TTLCache[int, _Kept] = TTLCache(maxsize=_USERS_KEPT, ttl=_SECONDS_KEPT)

    def forget(self, row: int) -> None:
        """Drop an erased user from the cache. Other replicas drop their entry within the hour, and never use it."""
        self._kept.pop(row, None)

    async def get(self, user_id: str, setting: HistorySetting, snapshot: CatalogueSnapshot) -> UserProfile:
        """The user's profile for a history setting. Empty for an unknown user."""
        async with self._database.statement() as work:
            user = await work.users.find(user_id)
            if user is None:
                return UserProfile(None, Profile(HistorySetting.NONE))
            if setting is HistorySetting.NONE:
                return UserProfile(user.id, Profile(HistorySetting.NONE))
            kept = self._kept.get(user.id)
            if kept is None or kept.version != user.history_version:
                # If the history changes between the two reads, the next call sees a newer version and reads again.
                interactions = await work.interactions.recent(user.id, self._max_interactions)
                kept = self._kept[user.id] = _Kept(user.history_version, interactions)
        revision, profile = kept.profiles.get(setting, (-1, None))
        if profile is None or revision != snapshot.revision:
            signatures = await self._signatures(kept.interactions, snapshot)
            profile = self._ranker.profile(setting, kept.interactions, signatures)
            kept.profiles[setting] = (snapshot.revision, profile)
        return UserProfile(user.id, profile)

    async def _signatures(
        self, interactions: Sequence[Interaction], snapshot: CatalogueSnapshot
    ) -> dict[str, ToolSignature]:
        signatures: dict[str, ToolSignature] = {}
        elsewhere: dict[str, Tool | None] = {}
        for interaction in interactions:
            name = interaction.tool_call.tool_name
            row = snapshot.rows.get(name)
            if row is not None:
                tool = snapshot.tools[row]
                signatures[name] = ToolSignature(name, tool.provider, snapshot.vectors[row])
            else:
                elsewhere[name] = interaction.tool
        # Tools that came with a request, or were deactivated: interactions with them still count.
        async with self._database.statement() as work:
            stored = await work.tools.known([name for name, tool in elsewhere.items() if tool is None])
        tools = [tool or stored[name] for name, tool in elsewhere.items() if tool is not None or name in stored]
        if tools:
            vectors = await self._encoder.encode(tools)
            for tool, vector in zip(tools, vectors, strict=True):
                signatures[tool.name] = ToolSignature(tool.name, tool.provider, vector)
        return signatures
