"""Add the files that clients have asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "asked",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.Column("worker_id", KEY, nullable=True),
        sa.PrimaryKeyConstraint("project", "filename", name=op.f("pk_asked")),
    )
    op.create_index("ix_asked_used_at", "asked", ["used_at"])


def downgrade() -> None:
    op.drop_table("asked")
