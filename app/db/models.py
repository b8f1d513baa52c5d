"""The tables. Only repositories and migrations look at these; everything else sees domain values."""

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
    # JSON and not JSONB: documents come back byte for byte as they came, key order included.
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
    """Goes up with every change of the user's history, in the same transaction: the key of cached histories."""
    created_at: Mapped[datetime] = creation_time()


class CatalogueStateRow(Base):
    """One row. Its lock serialises catalogue writers, so that revisions become visible in their order."""

    __tablename__ = "catalogue_state"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    identity: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    """Tells this database's revisions from another's: an index on disk may be of either."""


class ToolRow(Base):
    __tablename__ = "tools"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    category: Mapped[str] = mapped_column(index=True)
    document: Mapped[dict[str, Any]]
    document_hash: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    revision: Mapped[int] = mapped_column(BigInteger, index=True)
    """The catalogue revision of its last change."""
    created_at: Mapped[datetime] = creation_time()
    updated_at: Mapped[datetime] = creation_time()


class ToolEmbeddingRow(Base):
    """The float32 vector of one tool by one embedder."""

    __tablename__ = "tool_embeddings"

    tool_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("tools.id", ondelete="CASCADE"), primary_key=True)
    embedder: Mapped[str] = mapped_column(primary_key=True)
    text_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Of the text embedded: a changed wording of `retrieval_text` recomputes, an equal one does not."""
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
    """Only for a tool that came inline with a call and is not in the catalogue."""
    instruction: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    rating: Mapped[str | None]
    occurred_at: Mapped[datetime]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Of what happened and when (not of its rating): the same interaction imported twice is one."""
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
    """Documents of the tools that came with the call."""
    degraded_reason: Mapped[str | None]
    decided_by: Mapped[str] = mapped_column(server_default=text("'ranker'"))
    engine: Mapped[str | None]
    adapter: Mapped[str | None]
    asked_adapter: Mapped[str | None]
    """The version that the user was given to, also where it gave no answer; null: what the settings say."""
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
    """The key's first characters, to recognise it by in a list."""
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scope: Mapped[str]
    created_at: Mapped[datetime] = creation_time()
    revoked_at: Mapped[datetime | None]


class IdempotencyRow(Base):
    """The answer given for an `Idempotency-Key`; `status` is null while its first request is at work."""

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
