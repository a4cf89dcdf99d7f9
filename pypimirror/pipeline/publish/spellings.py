"""Bytes that have one name in the directory and several spellings of this name in the catalog.

A mirror made by an older version may have such names, on a file system that ignores case or Unicode
form. `pypimirror.pipeline.discover.decisions.collisions` decides who owns the bytes. Before bytes
are removed or reported as wrong, the catalog forgets the other spellings.
"""

from __future__ import annotations

from collections.abc import Iterable

from pypimirror.catalog.queries import doubts, files
from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.domain.layout import file_path
from pypimirror.pipeline.discover.decisions.collisions import families
from pypimirror.pipeline.run import Run


def let_go(run: Run, rows: Iterable[ProjectFile]) -> set[int]:
    """Have the catalog forget the bytes of other spellings. Return the ids of these files.

    `rows` are files of the projects to check. No bytes are removed.
    """
    names = {row.project_id: row.project for row in rows}
    if not names:
        return set()
    with run.catalog.read() as connection:
        found = families(files.of_projects(connection, list(names)))
    losers = {
        row.id
        for owner, *others in found
        for row in others
        if row.withdrawn_at is not None and not _are_apart(run, names[row.project_id], owner, row)
    }
    if losers:
        with run.catalog.write() as connection:
            files.change(connection, [{"id": number, **files.REMOVED} for number in losers])
            doubts.look_again(connection, list(names))
    return losers


def _are_apart(run: Run, project: str, *rows: FileRecord) -> bool:
    """Whether the directory lists all spellings: then they are different files."""
    return all(run.storage.lists(file_path(project, row.filename, row.location)) for row in rows)
