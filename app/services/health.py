"""Use case health: whether this replica can answer requests."""

from app.db.database import Database
from app.errors import Unavailable
from app.inference.engine import Engine
from app.services.catalogue_index import CatalogueIndex


class HealthService:
    def __init__(self, database: Database, index: CatalogueIndex, engine: Engine | None, *, fault: str = "") -> None:
        """`fault`: why the shipped model could not be loaded; empty if it was, or if no engine is configured."""
        self._engine = engine
        self.fault = fault
        self._database = database
        self._index = index

    async def check(self) -> tuple[int, int]:
        """Number of tools in this replica's index, and its revision.

        Raises `Unavailable` if the database is not reachable, or the first index is not yet built.
        """
        async with self._database.statement() as work:
            stored = await work.tools.revision()
        tools, revision = self.index()
        if revision == 0 and stored > 0:
            raise Unavailable("The tool index is still being built.", retry_after=2)
        return tools, revision

    async def engine(self) -> str:
        """State of the engine: `ready`, `unavailable`, or `none` if none is configured."""
        if self._engine is None:
            return "unavailable" if self.fault else "none"
        return "ready" if await self._engine.ready() else "unavailable"

    def index(self) -> tuple[int, int]:
        """Number of tools in this replica's index, and its revision."""
        return len(self._index.snapshot.tools), self._index.snapshot.revision
