"""Whether the closure of the selection is what it was when it was computed last.

Whatever changes which files are here, or are offered, says so here, in the same transaction. So a
run that changes nothing need not compute it again, and one that was killed is followed by one that
does. See `pypimirror.pipeline.closure`.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete

from pypimirror.catalog.marks import CLOSED
from pypimirror.catalog.schema import marks


def open_again(connection: Connection) -> None:
    """Note that files have changed since the closure was computed."""
    connection.execute(delete(marks).where(marks.c.name == CLOSED.name))
