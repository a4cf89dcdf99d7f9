"""Add facts from an upstream's list about a project, until its page is read."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("listed", sa.Boolean()),
    ("listed_serial", sa.BigInteger()),
    ("listed_at", sa.Text()),
)


def upgrade() -> None:
    # Plain statements: Alembic's batch mode would copy a large table.
    for name, kind in _COLUMNS:
        op.add_column("projects", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name, _ in reversed(_COLUMNS):
        op.drop_column("projects", name)
    op.execute("DELETE FROM marks WHERE name = 'replaced' OR name LIKE 'list read %'")
