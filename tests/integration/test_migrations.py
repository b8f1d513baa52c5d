"""The schema's way up and down, on real PostgreSQL."""

import asyncio
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from app.db import migrate
from app.db.database import Database
from app.db.models import Base

# Everything that makes up a schema, in PostgreSQL's own words.
_COLUMNS = """
    SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public'
"""
_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
_OTHERS = """
    SELECT relkind::text, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
    UNION SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


async def schema(database: Database) -> list[set[tuple[Any, ...]]]:
    def read(connection: Connection) -> list[set[tuple[Any, ...]]]:
        queries = (_COLUMNS, _CONSTRAINTS, _INDEXES, _OTHERS)
        return [{tuple(row) for row in connection.execute(text(query))} for query in queries]

    return await database.run_sync(read)


async def test_up_down_and_up_again_leave_the_same_schema(empty_database: Database) -> None:
    nothing = await schema(empty_database)
    await migrate.upgrade(empty_database)
    first = await schema(empty_database)
    assert {"users", "tools", "interactions", "decisions", "feedback", "api_keys"} <= {row[0] for row in first[0]}
    await migrate.downgrade(empty_database)
    left = [
        {row for row in rows if not any("alembic_version" in str(value) for value in row)}
        for rows in await schema(empty_database)
    ]
    assert left == nothing
    await migrate.upgrade(empty_database)
    assert await schema(empty_database) == first


async def test_the_schema_can_be_left_after_it_was_used(database: Database) -> None:
    async with database.transaction() as work:
        await work.users.create("ada")
        await work.api_keys.add(name="x", prefix="petool_x", key_hash=b"x", scope="client")
        await work.tools.next_revision()
    await migrate.downgrade(database)
    await migrate.upgrade(database)
    async with database.statement() as work:
        assert await work.tools.revision() == 0
        assert await work.users.find("ada") is None


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database: Database) -> None:
    async with database.transaction() as work:
        user = await work.users.create("ada")
    before = await schema(database)
    await migrate.upgrade(database)
    assert await schema(database) == before
    async with database.statement() as work:
        assert await work.users.find("ada") == user


async def test_the_models_and_the_migrations_say_the_same(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    assert await database.run_sync(differences) == []


async def test_replicas_that_upgrade_at_once_wait_for_one_another(empty_database: Database) -> None:
    await asyncio.gather(*(migrate.upgrade(empty_database) for _ in range(4)))
    async with empty_database.statement() as work:
        assert await work.tools.revision() == 0
