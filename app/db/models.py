"""The tables. Only repositories and migrations use them; all other code works with domain values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    # JSON, not JSONB, so that documents keep the order of their keys.
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own class attribute)
        str: Text,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        datetime: DateTime(timezone=True),
    }


def creation_time() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class UserRow(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    external_id: Mapped[str] = mapped_column(unique=True)
    history_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Incremented with every change of the user's history, in the same transaction. Cached histories compare it."""
    created_at: Mapped[datetime] = creation_time()


class CatalogueStateRow(Base):
    """State of the catalogue, in one row. Its lock serializes writers, so revisions become visible in order."""

    __tablename__ = "catalogue_state"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    identity: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    """Random id of this database. An index on disk stores it, since revisions of two databases do not compare."""


class ToolRow(Base):
    __tablename__ = "tools"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    category: Mapped[str] = mapped_column(index=True)
    document: Mapped[dict[str, Any]]
    document_hash: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    revision: Mapped[int] = mapped_column(BigInteger, index=True)
    """Catalogue revision of the tool's last change."""
    created_at: Mapped[datetime] = creation_time()
    updated_at: Mapped[datetime] = creation_time()


class ToolEmbeddingRow(Base):
    """Vector of one tool by one embedder, as float32."""

    __tablename__ = "tool_embeddings"

    tool_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("tools.id", ondelete="CASCADE"), primary_key=True)
    embedder: Mapped[str] = mapped_column(primary_key=True)
    text_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Hash of the embedded text. If the text of the tool changes, the vector is computed again."""
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class InteractionRow(Base):
    __tablename__ = "interactions"
    __table_args__ = (
        UniqueConstraint("user_id", "content_hash"),
        Index("ix_interactions_timeline", "user_id", "occurred_at", "id"),
        Index("ix_interactions_call_id", "call_id", postgresql_where=text("call_id IS NOT NULL")),
        CheckConstraint("rating IN ('liked', 'disliked')", name="known_rating"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    tool_name: Mapped[str]
    tool_document: Mapped[dict[str, Any] | None]
    """Document of a tool that came with a request and is not in the catalogue; else null."""
    instruction: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    rating: Mapped[str | None]
    occurred_at: Mapped[datetime]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Hash of instruction, call and time, without the rating, so that a repeated import adds no duplicate."""
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = creation_time()


class DecisionRow(Base):
    __tablename__ = "decisions"
    __table_args__ = (
        Index("ix_decisions_user", "user_id", "created_at"),
        Index("ix_decisions_created_at", "created_at"),
        Index("ix_decisions_asked_adapter", "asked_adapter", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The `call_id`."""
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    instruction: Mapped[str]
    history_setting: Mapped[str]
    tool_name: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    candidates: Mapped[list[Any]]
    """[[tool name, score, relevance, preference, probability], …], best first by score."""
    evidence: Mapped[list[Any]]
    """[[interaction id, effect, reason], …]."""
    inline_tools: Mapped[list[Any] | None]
    """Documents of the tools that came with the request."""
    degraded_reason: Mapped[str | None]
    decided_by: Mapped[str] = mapped_column(server_default=text("'ranker'"))
    engine: Mapped[str | None]
    adapter: Mapped[str | None]
    asked_adapter: Mapped[str | None]
    """Adapter version assigned to the user, even if it gave no answer. Null means the configured model."""
    catalogue_revision: Mapped[int] = mapped_column(BigInteger)
    raw_output: Mapped[str | None]
    problems: Mapped[list[Any] | None]
    """[[error type, parameter or null, reason], …] of the model's answer."""
    usage: Mapped[dict[str, Any]]
    timings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class FeedbackRow(Base):
    __tablename__ = "feedback"
    __table_args__ = (CheckConstraint("rating IN ('liked', 'disliked')", name="known_rating"),)

    call_id: Mapped[UUID] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"), primary_key=True)
    rating: Mapped[str]
    comment: Mapped[str | None]
    corrected_tool_call: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = creation_time()
    updated_at: Mapped[datetime] = creation_time()


class ApiKeyRow(Base):
    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("scope IN ('client', 'admin')", name="known_scope"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    """First characters of the key, which identify it in a list."""
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scope: Mapped[str]
    created_at: Mapped[datetime] = creation_time()
    revoked_at: Mapped[datetime | None]


class IdempotencyRow(Base):
    """Response stored for an `Idempotency-Key`. `status` is null while its first request is in progress."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    external_user_id: Mapped[str | None] = mapped_column(index=True)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


__all__ = [
    "ApiKeyRow",
    "Base",
    "CatalogueStateRow",
    "DecisionRow",
    "FeedbackRow",
    "IdempotencyRow",
    "InteractionRow",
    "ToolEmbeddingRow",
    "ToolRow",
    "UserRow",
]
