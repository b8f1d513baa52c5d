"""Alembic migrations; run by `petool db upgrade` and at every start."""
