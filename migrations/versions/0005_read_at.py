"""Add the time when pages and lists were last read in full, which limits the trust in
validators.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain statements: Alembic's batch mode would copy a large table.
    for table in ("projects", "lists"):
        op.add_column(table, sa.Column("read_at", sa.Float(), nullable=True))


def downgrade() -> None:
    for table in ("projects", "lists"):
        op.drop_column(table, "read_at")
