"""Whether this replica can answer."""

from app.db.database import Database
from app.errors import Unavailable
from app.inference.engine import Engine
from app.services.live_catalogue import LiveCatalogue


class HealthService:
    def __init__(self, database: Database, live: LiveCatalogue, engine: Engine | None, *, fault: str = "") -> None:
        """`fault`: why there is no engine, where there should be one."""
        self._engine = engine
        self.fault = fault
        self._database = database
        self._live = live

    async def check(self) -> tuple[int, int]:
        """Tools in this replica's index, and its revision. Raises `Unavailable` if the database is away."""
        async with self._database.statement() as work:
            stored = await work.tools.revision()
        tools, revision = self.index()
        if revision == 0 and stored > 0:
            raise Unavailable("The tool index is still being built.", retry_after=2)
        return tools, revision

    async def engine(self) -> str:
        """ready, unavailable, or none where none is configured. Without one the service answers all the same."""
        if self._engine is None:
            return "unavailable" if self.fault else "none"
        return "ready" if await self._engine.ready() else "unavailable"

    def index(self) -> tuple[int, int]:
        """Tools in this replica's index, and its revision."""
        return len(self._live.snapshot.tools), self._live.snapshot.revision
