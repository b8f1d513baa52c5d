"""Runs the Alembic migrations: at the start of the service, in tests, and for `petool db`."""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from app.db.database import Database

# An arbitrary number, the same in every replica.
_MIGRATION_LOCK = 0x7E7001


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate the schema up to `revision`. Replicas that start together wait for one another.

    Raises `Unavailable` if the server cannot be reached.
    """

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), revision)

    await database.run_sync(run)


async def downgrade(database: Database, revision: str = "base") -> None:
    """Migrate the schema down to `revision`. Data that only the newer schema can hold is lost."""
    await database.run_sync(lambda connection: command.downgrade(alembic_config(connection), revision))
