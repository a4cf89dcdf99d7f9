"""The newest releases on the mirror, and an example of a project."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from pypimirror.catalog.schema import files, projects
from pypimirror.catalog.states import PROVEN
from pypimirror.domain.filenames import version_text

#: Well-known projects without dependencies, the best example first.
_KNOWN = ("six", "idna", "certifi", "packaging", "wheel")
#: How many of the newest rows are looked at.
_LOOKED_AT = 2000


class New(NamedTuple):
    """A release with a new file."""

    project: str
    version: str
    filename: str
    proven_at: float | None  #: seconds since the epoch


def newest(connection: Connection, limit: int) -> list[New]:
    """Return the releases whose files came last, the newest first.

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


def example(connection: Connection) -> str | None:
    """Return the name of a project that can be installed from here; None if there is none."""
    column = projects.c.name
    held = select(column).where(projects.c.page_on_disk.is_(True), projects.c.held_files > 0)
    found = set(connection.scalars(held.where(column.in_(_KNOWN))))
    known = next((name for name in _KNOWN if name in found), None)
    return known or connection.scalar(held.order_by(projects.c.id).limit(1))
