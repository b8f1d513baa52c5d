"""Index of decisions by adapter and time, which the check of a canary's error rate uses every two seconds."""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_decisions_asked_adapter", "decisions", ["asked_adapter", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_decisions_asked_adapter", table_name="decisions")
