"""Whether the closure of the selection is still the last computed one.

Code that changes which files are here or offered notes it here, in the same transaction. So a run
without changes need not compute the closure again, and the run after a killed one does. See
`pypimirror.pipeline.closure`.
"""

from __future__ import annotations

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import CLOSED


def open_again(connection: Connection) -> None:
    """Note that files have changed since the closure was computed."""
    prepared.execute(connection, _delete(), {})


@statement
def _delete() -> sql.Delete:
    return sql.delete(tables.marks).where(tables.marks.c.name == sql.literal(CLOSED.name))
