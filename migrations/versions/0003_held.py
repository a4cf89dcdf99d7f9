"""Add the totals and stamps of pages, and indexes on files that leave or have left."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Plain statements: Alembic's batch mode would copy a table of millions of rows.
COLUMNS = {
    "projects": (
        ("held_files", sa.Integer),
        ("held_bytes", sa.BigInteger),
        ("linked_files", sa.Integer),
        ("page_stamp", sa.BigInteger),
        ("page_sha256", sa.LargeBinary),
    ),
    "files": (("linked", sa.Boolean),),
}

COUNT = """
UPDATE projects SET
    held_files = (SELECT count(*) FROM files WHERE project_id = projects.id AND state = 3),
    held_bytes = (SELECT coalesce(sum(size), 0) FROM files
                  WHERE project_id = projects.id AND state = 3)
WHERE live
"""
SUM = """
INSERT INTO marks (name, value)
SELECT 'held', count(*)
    || ' ' || coalesce(sum(held_files), 0) || ' ' || coalesce(sum(held_bytes), 0)
FROM projects WHERE live
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind(), nullable=True))
    op.execute(COUNT)
    op.execute(SUM)
    op.drop_index("ix_files_gone", "files")
    for name, condition in (
        ("ix_files_leaving", "gone IS NOT NULL AND state != 6"),
        ("ix_files_past", "state = 6"),
    ):
        where = sa.text(condition)
        op.create_index(name, "files", ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_files_leaving", "files")
    op.drop_index("ix_files_past", "files")
    gone = sa.text("gone IS NOT NULL")
    op.create_index(
        "ix_files_gone", "files", ["project_id"], sqlite_where=gone, postgresql_where=gone
    )
    op.execute("DELETE FROM marks WHERE name = 'held'")
    for table, columns in COLUMNS.items():
        for name, _ in reversed(columns):
            op.drop_column(table, name)
