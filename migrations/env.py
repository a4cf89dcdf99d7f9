"""Alembic's entry point: it runs the migrations on the connection that the catalog passes."""

from alembic import context

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.schema import metadata


def _run(connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    _run(handed_over)
else:  # the alembic command line, for development: alembic -x url=... revision --autogenerate
    url = context.get_x_argument(as_dictionary=True)["url"]
    with Catalog.open(url).write() as opened:
        _run(opened.alchemy)
