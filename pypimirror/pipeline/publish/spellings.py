"""Bytes that a directory keeps under one name, and the catalog under several spellings of it.

A mirror that an older version has made may be so, on a file system that ignores case or Unicode
form; whose the bytes are then, is said in `pypimirror.pipeline.discover.decisions.collisions`.
Before anything of a file is removed, or called wrong, the others let go of what is not theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from pypimirror.catalog.queries import doubts, files
from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.domain.layout import file_path
from pypimirror.pipeline.discover.decisions.collisions import families
from pypimirror.pipeline.run import Run


def let_go(run: Run, rows: Iterable[ProjectFile]) -> set[int]:
    """Have the catalog forget what it has of other spellings; return of which files, by id.

    `rows` are of files of the projects to look at, with the project's name. Nothing is removed.
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
    """Whether the directory lists both of two spellings: then they are two files."""
    return all(run.storage.lists(file_path(project, row.filename, row.location)) for row in rows)
