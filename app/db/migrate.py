"""Running the Alembic migrations from code: at start, in tests, from `petool db`."""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from app.db.database import Database

# Any constant will do, as long as every replica uses the same.
_MIGRATION_LOCK = 0x7E7001


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to `revision`. Replicas that start together wait for one another.

    Raises `Unavailable` if the server cannot be reached.
    """

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), revision)

    await database.run_sync(run)


async def downgrade(database: Database, revision: str = "base") -> None:
    await database.run_sync(lambda connection: command.downgrade(alembic_config(connection), revision))
