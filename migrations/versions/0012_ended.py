"""Delete a mark of verifications that nothing needs any more."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM marks WHERE name = 'ended under'")


def downgrade() -> None:
    pass  # the next run that completes says it again
