"""Add summaries and dependents of projects, for search and pages."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "summaries",
        sa.Column("project_id", KEY, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_summaries")),
    )
    op.create_table(
        "dependents",
        sa.Column("project_id", KEY, autoincrement=False, nullable=False),
        sa.Column("required", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "required", name=op.f("pk_dependents")),
    )
    op.create_index("ix_dependents_required", "dependents", ["required"])
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute(
            "CREATE INDEX ix_summaries_words ON summaries USING gin "
            "(to_tsvector('simple', name || ' ' || summary))"
        )
    elif connection.dialect.name == "sqlite":
        from pypimirror.catalog.engines.servers import AlchemyConnection
        from pypimirror.catalog.mapping.fulltext import create

        create(AlchemyConnection(connection))


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE IF EXISTS summaries_words")
    for table in ("dependents", "summaries"):
        op.drop_table(table)
