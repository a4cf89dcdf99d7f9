"""The files that clients have asked for, as a part of the selection of a run.

They come from the catalog at the beginning of a run, as needed projects do. Clients ask for more
while a run works. So whoever decides on a project reads the files of this project again.
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
    """Let go of projects that are not selected, and return the others.

    A client may have asked for one and got nothing, so that nobody has it in mind any more.
    """
    unwanted = [row for row in rows if not selection.project(ProjectName(row.name))]
    if not unwanted:
        return list(rows)
    rows_of.drop(connection, [row.id for row in unwanted if row.api_version is None])
    rows_of.deselect(connection, [row.id for row in unwanted if row.api_version is not None])
    left = {row.id for row in unwanted}
    return [row for row in rows if row.id not in left]
