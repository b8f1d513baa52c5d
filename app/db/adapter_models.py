"""The tables of adapters, of who is served which, of operations and of replicas."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Identity, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models import Base, creation_time


class AdapterRow(Base):
    __tablename__ = "adapters"
    __table_args__ = (
        CheckConstraint(
            "state IN ('registered', 'loaded', 'canary', 'active', 'draining', 'retired')", name="known_state"
        ),
    )

    version: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    digest: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'registered'"))
    base_name: Mapped[str | None]
    base_verified: Mapped[bool]
    rank: Mapped[int]
    target_modules: Mapped[list[Any]]
    parameters: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    prompt_format: Mapped[str]
    prompt_tokens: Mapped[int]
    scores: Mapped[dict[str, Any]]
    registered_by: Mapped[str]
    registered_at: Mapped[datetime] = creation_time()
    changed_at: Mapped[datetime] = creation_time()


class AdapterAssignmentRow(Base):
    """One row: what is to be served. Its lock serialises all changes."""

    __tablename__ = "adapter_assignment"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    active: Mapped[str | None]
    previous: Mapped[str | None]
    has_previous: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether `previous` says something: its null is what the settings say."""
    canary: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    preparing: Mapped[str | None]
    leaving: Mapped[str | None]
    operation: Mapped[UUID | None]


class AdapterOperationRow(Base):
    __tablename__ = "adapter_operations"
    __table_args__ = (CheckConstraint("state IN ('running', 'succeeded', 'failed')", name="known_state"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    version: Mapped[str | None]
    state: Mapped[str]
    steps: Mapped[list[Any]]
    """[[name, ISO time, detail], …]."""
    actor: Mapped[str]
    options: Mapped[dict[str, Any]]
    flipped: Mapped[bool] = mapped_column(server_default=text("false"))
    error: Mapped[str | None]
    replica: Mapped[UUID | None]
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime] = creation_time()
    finished_at: Mapped[datetime | None]


class AdapterEventRow(Base):
    """Who did what when; never changed or deleted."""

    __tablename__ = "adapter_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = creation_time()
    actor: Mapped[str]
    action: Mapped[str]
    version: Mapped[str | None]
    operation: Mapped[UUID | None]
    detail: Mapped[str] = mapped_column(server_default=text("''"))


class ReplicaRow(Base):
    __tablename__ = "replicas"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str]
    process: Mapped[int]
    started_at: Mapped[datetime] = creation_time()
    seen_at: Mapped[datetime] = creation_time()
    report: Mapped[dict[str, Any]]
