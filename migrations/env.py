"""Entry point of Alembic. `app.db.migrate` passes it the connection."""

from alembic import context

from app.db import adapter_models  # noqa: F401 (its tables are part of the schema)
from app.db.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Use `petool db upgrade` or `petool db downgrade`: alembic itself does not know the database.")

context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
with context.begin_transaction():
    context.run_migrations()
