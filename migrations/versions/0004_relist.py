"""Add the marks of stale entries in the root index, and indexes for its head."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {"ix_projects_api": "api_version", "ix_projects_page_serial": "page_serial"}


def upgrade() -> None:
    # A plain statement: Alembic's batch mode would copy a large table.
    op.add_column("projects", sa.Column("relist", sa.Boolean(), nullable=True))
    op.create_index(
        "ix_projects_relist",
        "projects",
        ["id"],
        sqlite_where=sa.text("relist IS 1"),
        postgresql_where=sa.text("relist IS true"),
    )
    for name, column in INDEXES.items():
        op.create_index(name, "projects", [column])
    op.execute("UPDATE projects SET relist = true WHERE live AND gone IS NOT NULL")
    # Stale entries were not marked so far, and the index may be sorted by another collation.
    op.execute("UPDATE marks SET value = 'stale' WHERE name = 'root index'")


def downgrade() -> None:
    op.execute(
        "UPDATE marks SET value = 'stale' WHERE name = 'root index' "
        "AND EXISTS (SELECT 1 FROM projects WHERE relist)"
    )
    for name in ("ix_projects_relist", *INDEXES):
        op.drop_index(name, "projects")
    op.drop_column("projects", "relist")
