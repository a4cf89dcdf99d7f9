"""Add leases, the attempts of earlier runs for each file, and the run that a retry repeats."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Plain statements: Alembic's batch mode would copy a table of millions of rows.
COLUMNS = {
    "files": (
        ("attempts", sa.SmallInteger),
        ("next_try", sa.Float),
        ("last_error", sa.Text),
        ("provenance_sha256", sa.LargeBinary),
    ),
    "projects": (("checked_at", sa.Float), ("choice_until", sa.Float), ("facts", sa.Text)),
    "runs": (("retry_of", sa.Text), ("boot", sa.Text)),
}


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind(), nullable=True))
    timed = sa.text("choice_until IS NOT NULL")
    op.create_index(
        "ix_projects_choice",
        "projects",
        ["choice_until"],
        sqlite_where=timed,
        postgresql_where=timed,
    )
    op.create_index("ix_projects_checked", "projects", ["upstream", "checked_at"])
    waits = sa.text("next_try IS NOT NULL")
    op.create_index(
        "ix_files_next_try", "files", ["next_try"], sqlite_where=waits, postgresql_where=waits
    )


def downgrade() -> None:
    op.drop_index("ix_projects_checked", "projects")
    op.drop_index("ix_projects_choice", "projects")
    op.drop_index("ix_files_next_try", "files")
    for table, columns in COLUMNS.items():
        for name, _ in reversed(columns):
            op.drop_column(table, name)
    op.drop_table("leases")
