"""The newest releases on the mirror, and an example of a project."""

from __future__ import annotations

from typing import Any, NamedTuple

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import among, statement
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
    found: dict[tuple[str, str], New] = {}
    for filename, state, proven_at, name in prepared.stream(connection, _newest(), {}):
        if state not in PROVEN:
            continue
        version = version_text(filename, name) or ""
        if len(found) == limit and (name, version) not in found:
            break
        found.setdefault((name, version), New(name, version, filename, proven_at))
    return list(found.values())


@statement
def _newest() -> sql.Select[Any]:
    files, projects = tables.files, tables.projects
    columns = files.c.filename, files.c.state, files.c.proven_at, projects.c.name
    query = sql.select(*columns).join(projects, projects.c.id == files.c.project_id)
    return query.order_by(files.c.id.desc()).limit(_LOOKED_AT)


def example(connection: Connection) -> str | None:
    """Return the name of a project that can be installed from here; None if there is none."""
    found = {row[0] for row in prepared.rows(connection, _known(), {"names": _KNOWN})}
    known = next((name for name in _KNOWN if name in found), None)
    return known or prepared.value(connection, _first(), {})


@statement
def _known() -> sql.Select[Any]:
    return _here().where(among(tables.projects.c.name, "names"))


@statement
def _first() -> sql.Select[Any]:
    return _here().order_by(tables.projects.c.id).limit(1)


def _here() -> sql.Select[Any]:
    """Return a query for the names of projects that have files here."""
    projects = tables.projects
    has_files = projects.c.page_on_disk.is_(True), projects.c.held_files > 0
    return sql.select(projects.c.name).where(*has_files)
