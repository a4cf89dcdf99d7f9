"""The files that clients have asked for, as a part of the selection of a run.

A run reads them from the catalog when it begins, like needed projects. Clients may ask for more
files while the run works. So before a batch decides on a project, it reads the project's files
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import projects as rows_of
from pypimirror.catalog.queries.work import asked
from pypimirror.catalog.records import ProjectRecord
from pypimirror.domain.model import ProjectName
from pypimirror.select.selection import Selection


def with_asked(
    connection: Connection, selection: Selection, projects: Iterable[str] | None = None
) -> Selection:
    """Return the selection with the files that clients have asked for: of all projects, or of
    these.
    """
    found = asked.of_projects(connection, projects)
    return selection.with_asked(
        {name: [record.filename for record in records] for name, records in found.items()}
    )


def without_unwanted(
    connection: Connection, selection: Selection, rows: Sequence[ProjectRecord]
) -> list[ProjectRecord]:
    """Deselect projects that are not selected any more, and return the others.

    For example, a client asked for a project and got no file, so no row asks for it now.
    """
    unwanted = [row for row in rows if not selection.project(ProjectName(row.name))]
    if not unwanted:
        return list(rows)
    rows_of.drop(connection, [row.id for row in unwanted if row.api_version is None])
    rows_of.deselect(connection, [row.id for row in unwanted if row.api_version is not None])
    left = {row.id for row in unwanted}
    return [row for row in rows if row.id not in left]
