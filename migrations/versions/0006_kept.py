"""Add the address of a project's page at its upstream, and the time since deleted files are
kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = (
    ("projects", "page_at", sa.Text),
    ("projects", "kept", sa.Float),
    ("files", "kept", sa.Float),
)


def upgrade() -> None:
    # Plain statements: Alembic's batch mode would copy large tables.
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind(), nullable=True))
    kept = sa.text("kept IS NOT NULL")
    op.create_index(
        "ix_files_kept", "files", ["project_id"], sqlite_where=kept, postgresql_where=kept
    )


def downgrade() -> None:
    op.drop_index("ix_files_kept", "files")
    for table, name, _ in COLUMNS:
        op.drop_column(table, name)
