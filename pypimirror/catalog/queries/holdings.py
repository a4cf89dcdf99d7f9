"""What the catalog says is on disk, all of it, for those who only see whether it was touched.

Through SQLite's driver, as `pypimirror.catalog.queries.idle_snapshot`, and for the same reason.
Where anything is under way, such as a page that is to be rendered or bytes that are not proven,
nothing is said: a whole verification knows what to make of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from pypimirror.catalog.marks import ROOT_INDEX, ROOT_INDEX_SEEN, STATISTICS
from pypimirror.catalog.queries.idle_snapshot import text_of
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path

#: More files than this are a verification's that is on record while it looks.
MOST = 100_000

#: States in which nothing is here, and in which it is, unless it was withdrawn and removed.
_ABSENT = frozenset({State.WANTED, State.FAILED, State.QUARANTINED})
_PRESENT = frozenset({State.VERIFIED, State.PUBLISHED, State.WITHDRAWN})

_FILES = """
SELECT p.name, f.filename, f.location, f.state, f.stamp, f.withdrawn_at IS NOT NULL, f.size,
       f.sha256, f.metadata_sha256, f.provenance_sha256
FROM files AS f JOIN projects AS p ON p.id = f.project_id
"""
_PAGES = """
SELECT name, page_stamp, page_sha256, page_stale, removal_cause, root_entry_stale
FROM projects WHERE page_on_disk
"""

_PROVEN = f"""
UPDATE files SET proven_at = ? WHERE state IN ({", ".join(str(int(s)) for s in sorted(_PRESENT))})
AND (state != {int(State.WITHDRAWN)} OR withdrawn_at IS NOT NULL)
"""  # noqa: S608 - numbers of our own


class Seen(NamedTuple):
    """What is known of files on disk together, since they were seen to be right."""

    stamp: int | None  #: None: not known, only that they are there
    sha256: bytes  #: of their bytes, one after the other


class Holdings(NamedTuple):
    """What must be below the mirror root, and nothing else."""

    number: int  #: of files that are held
    size: int  #: of these files, in bytes
    files: dict[str, Seen]  #: by path
    pages: Sequence[tuple[str | None, Seen]]  #: by project, and without one of the root index


def read(connection: sqlite3.Connection) -> Holdings | None:
    """Return what is held; None where something is under way or not known, or it is very much.

    Raises `sqlite3.Error`.
    """
    if (connection.execute("SELECT max(id) FROM files").fetchone()[0] or 0) > MOST:
        return None
    files: dict[str, Seen] = {}
    number = held = 0
    for (
        project, name, location, state, stamp, is_kept, size, sha256, sidecar, provenance
    ) in connection.execute(_FILES):  # fmt: skip
        if state in _ABSENT or (state == State.WITHDRAWN and not is_kept):
            continue
        if state not in _PRESENT or stamp is None or sha256 is None or size is None:
            return None
        path = file_path(project, name, location)
        number, held = number + 1, held + size
        files[path] = Seen(stamp, sha256)
        if sidecar:
            files[path + METADATA_SUFFIX] = Seen(None, sidecar)
        if provenance:
            files[path + PROVENANCE_SUFFIX] = Seen(None, provenance)
    pages = connection.execute(_PAGES).fetchall()
    for _, stamp, sha256, page_stale, removal_cause, root_entry_stale in pages:
        if None in (stamp, sha256) or page_stale or removal_cause or root_entry_stale:
            return None
    stale, root = (text_of(connection, mark) for mark in (ROOT_INDEX, ROOT_INDEX_SEEN))
    if stale or root is None:
        return None
    stamp, _, sha256 = root.partition(" ")
    top = (None, Seen(int(stamp), bytes.fromhex(sha256)))
    return Holdings(
        number, held, files, [top, *((name, Seen(stamp, sha)) for name, stamp, sha, *_ in pages)]
    )


def prove(connection: sqlite3.Connection, now: float) -> None:
    """Note that all that is held was seen to be right at a time, also in what is told of it."""
    connection.execute(_PROVEN, (now,))
    text = text_of(connection, STATISTICS)
    if text is None:
        return
    figures = json.loads(text)
    proven = sum(figures["files"][state.label] for state in PROVEN)
    figures |= {"at": now, "oldest_proof": now if proven else None}
    figures["proven_within"] = dict.fromkeys(figures["proven_within"], proven)
    query = "UPDATE marks SET value = ? WHERE name = ?"
    connection.execute(query, (json.dumps(figures), STATISTICS.name))
