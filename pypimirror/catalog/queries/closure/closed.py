"""Whether the closure of the selection is still the last computed one.

Code that changes which files are here or offered notes it here, in the same transaction. So a run
without changes need not compute the closure again, and the run after a killed one does. See
`pypimirror.pipeline.closure`.
"""

from __future__ import annotations

from sqlalchemy import Connection, Delete, delete, literal

from pypimirror.catalog.mapping import prepared
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import CLOSED
from pypimirror.catalog.schema import marks


def open_again(connection: Connection) -> None:
    """Note that files have changed since the closure was computed."""
    prepared.execute(connection, _delete(), {})


@statement
def _delete() -> Delete:
    return delete(marks).where(marks.c.name == literal(CLOSED.name))
