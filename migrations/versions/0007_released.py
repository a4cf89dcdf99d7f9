"""Add the digest of bytes that the operator has released."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A plain statement: Alembic's batch mode would copy a large table.
    op.add_column("files", sa.Column("released", sa.LargeBinary(), nullable=True))
    released = sa.text("released IS NOT NULL")
    op.create_index(
        "ix_files_released", "files", ["id"], sqlite_where=released, postgresql_where=released
    )


def downgrade() -> None:
    op.drop_index("ix_files_released", "files")
    op.drop_column("files", "released")
