"""What the catalog says is on disk, all of it, for those who only see whether it was touched.

Through SQLite's driver, as `pypimirror.catalog.rest`, and for the same reason. Where anything is
under way, such as a page that is to be rendered or bytes that are not proven, nothing is said: a
whole verification knows what to make of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from pypimirror.catalog.states import State
from pypimirror.paths import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path

#: More files than this are a verification's that is on record while it looks.
MOST = 100_000

#: States in which nothing is here, and in which it is, unless it was withdrawn and removed.
_ABSENT = frozenset({State.WANTED, State.FAILED, State.QUARANTINED})
_PRESENT = frozenset({State.VERIFIED, State.PUBLISHED, State.WITHDRAWN})

_FILES = """
SELECT p.name, f.filename, f.location, f.state, f.stamp, f.withdrawn_at IS NOT NULL,
       length(f.metadata_sha256) > 0, length(f.provenance_sha256) > 0
FROM files AS f JOIN projects AS p ON p.id = f.project_id
"""
_PAGES = "SELECT name, page_stamp, dirty, gone FROM projects WHERE live"
_ROOT = """
SELECT (SELECT value FROM marks WHERE name = 'root index'),
       (SELECT value FROM marks WHERE name = 'stamp of root index')
"""


class Holdings(NamedTuple):
    """What must be below the mirror root, and nothing else."""

    number: int  #: of files that are held
    files: dict[str, int | None]  #: path to stamp; None: only that it is there is known
    pages: Sequence[tuple[str, int]]  #: project and stamp of its page
    root: int  #: stamp of the root index


def read(connection: sqlite3.Connection) -> Holdings | None:
    """Return what is held; None where something is under way or not known, or it is very much.

    Raises `sqlite3.Error`.
    """
    if (connection.execute("SELECT max(id) FROM files").fetchone()[0] or 0) > MOST:
        return None
    files: dict[str, int | None] = {}
    number = 0
    for project, name, location, state, stamp, is_kept, sidecar, provenance in connection.execute(
        _FILES
    ):
        if state in _ABSENT or (state == State.WITHDRAWN and not is_kept):
            continue
        if state not in _PRESENT or stamp is None:
            return None
        path = file_path(project, name, location)
        number += 1
        files[path] = stamp
        if sidecar:
            files[path + METADATA_SUFFIX] = None
        if provenance:
            files[path + PROVENANCE_SUFFIX] = None
    pages = connection.execute(_PAGES).fetchall()
    if any(stamp is None or dirty or gone is not None for _, stamp, dirty, gone in pages):
        return None
    stale, root = connection.execute(_ROOT).fetchone()
    if stale or root is None:
        return None
    return Holdings(number, files, [(project, stamp) for project, stamp, *_ in pages], int(root))
