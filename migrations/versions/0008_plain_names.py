"""Rename columns of projects and files to names that say what they contain."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAMES = {
    "projects": {
        "look": "needs_fetch",
        "todo": "has_work",
        "dirty": "page_stale",
        "live": "page_on_disk",
        "gone": "removal_cause",
        "relist": "root_entry_stale",
    },
    "files": {"gone": "removal_cause"},
}

#: Partial indexes that are named after such a column: it is true in all their rows.
INDEXES = ("todo", "relist")


def upgrade() -> None:
    for table, names in NAMES.items():
        for old, new in names.items():
            _rename(table, old, new)
    for old in INDEXES:
        _rename_index(old, NAMES["projects"][old])


def downgrade() -> None:
    for table, names in NAMES.items():
        for old, new in names.items():
            _rename(table, new, old)
    for old in INDEXES:
        _rename_index(NAMES["projects"][old], old)


def _rename(table: str, old: str, new: str) -> None:
    # Indexes follow by themselves. Alembic's batch mode would copy a large table.
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def _rename_index(old: str, new: str) -> None:
    op.drop_index(f"ix_projects_{old}", "projects")
    column = new
    op.create_index(
        f"ix_projects_{new}",
        "projects",
        ["id"],
        sqlite_where=sa.text(f"{column} IS 1"),
        postgresql_where=sa.text(f"{column} IS true"),
    )
