"""Tables of adapters, their assignment, operations, audit log and replicas; a column for a decision's adapter."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _time(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "adapters",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="registered", nullable=False),
        sa.Column("base_name", sa.Text(), nullable=True),
        sa.Column("base_verified", sa.Boolean(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("target_modules", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("prompt_format", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=False),
        _time("registered_at"),
        _time("changed_at"),
        sa.CheckConstraint(
            "state IN ('registered', 'loaded', 'canary', 'active', 'draining', 'retired')",
            name=op.f("ck_adapters_known_state"),
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_adapters")),
    )
    op.create_index(op.f("ix_adapters_name"), "adapters", ["name"], unique=False)
    op.create_table(
        "adapter_assignment",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("has_previous", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("canary", sa.JSON(), nullable=True),
        sa.Column("preparing", sa.Text(), nullable=True),
        sa.Column("leaving", sa.Text(), nullable=True),
        sa.Column("operation", sa.Uuid(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_adapter_assignment_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapter_assignment")),
    )
    op.execute("INSERT INTO adapter_assignment (id) VALUES (1)")
    op.create_table(
        "adapter_operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("flipped", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("replica", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        _time("started_at"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed')", name=op.f("ck_adapter_operations_known_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapter_operations")),
    )
    op.create_table(
        "adapter_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        _time("at"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("operation", sa.Uuid(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapter_events")),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        _time("started_at"),
        _time("seen_at"),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.add_column("decisions", sa.Column("asked_adapter", sa.Text(), nullable=True))
    op.create_index("ix_decisions_created_at", "decisions", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_decisions_created_at", table_name="decisions")
    op.drop_column("decisions", "asked_adapter")
    op.drop_table("replicas")
    op.drop_table("adapter_events")
    op.drop_table("adapter_operations")
    op.drop_table("adapter_assignment")
    op.drop_index(op.f("ix_adapters_name"), table_name="adapters")
    op.drop_table("adapters")
