"""Add the renderer version that wrote each page."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A plain statement: Alembic's batch mode would copy a large table.
    op.add_column("projects", sa.Column("page_renderer", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("projects", "page_renderer")
    op.execute("DELETE FROM marks WHERE name IN ('renderer', 'root renderer')")
