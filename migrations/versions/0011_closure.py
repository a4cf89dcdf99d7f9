"""Add the requirements of files, and the projects that selected files need."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "requirements",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_requirements"),
    )
    op.create_table(
        "needs",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_needs"),
    )


def downgrade() -> None:
    for table in ("requirements", "needs"):
        op.drop_table(table)
    op.execute("DELETE FROM marks WHERE name IN ('closed', 'closure')")
