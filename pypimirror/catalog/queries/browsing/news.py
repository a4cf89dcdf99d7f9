"""What is new on the mirror."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from pypimirror.catalog.schema import files, projects
from pypimirror.catalog.states import PROVEN
from pypimirror.domain.filenames import version_text

#: How many of the newest rows are looked at.
_LOOKED_AT = 2000


class New(NamedTuple):
    """A release of which a file has come."""

    project: str
    version: str
    filename: str
    proven_at: float | None  #: seconds since the epoch


def newest(connection: Connection, limit: int) -> list[New]:
    """Return the releases whose files the mirror knows for the shortest time, the newest first.

    Rows of files have growing ids, so this needs no index of its own.
    """
    columns = files.c.filename, files.c.state, files.c.proven_at, projects.c.name
    query = select(*columns).join(projects, projects.c.id == files.c.project_id)
    found: dict[tuple[str, str], New] = {}
    for row in connection.execute(query.order_by(files.c.id.desc()).limit(_LOOKED_AT)):
        if row.state not in PROVEN:
            continue
        version = version_text(row.filename, row.name) or ""
        new = New(row.name, version, row.filename, row.proven_at)
        if len(found) == limit and (row.name, version) not in found:
            break
        found.setdefault((row.name, version), new)
    return list(found.values())
