"""Columns for the engine, who chose the tool, and the problems of the answer, for each decision."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("decisions", sa.Column("engine", sa.Text(), nullable=True))
    op.add_column("decisions", sa.Column("decided_by", sa.Text(), server_default="ranker", nullable=False))
    op.add_column("decisions", sa.Column("problems", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "problems")
    op.drop_column("decisions", "decided_by")
    op.drop_column("decisions", "engine")
