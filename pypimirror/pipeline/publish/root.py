"""Publish, the part on the root index: is it to be written, and how much of it is work.

It lists every project, so rendering it costs the more, the larger the mirror is; and it changes
with nearly every sync. So the catalog knows of which projects it may say something else
(`projects.root_entry_stale`), from the very transaction on that changes what it should say: a page
has come or has another serial, a project is gone. With these, the bytes of the last one are amended
(`pypimirror.render.amend`), provided that they are still those that were seen to be right. In all
other cases, the first one among them, the whole is rendered; the bytes are the same either way.

A run that dies before the catalog hears of a new index has left a stamp that nobody knows: the next
one is rendered whole. What the old one lacked is still marked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import ROOT_INDEX, ROOT_INDEX_SEEN, STALE
from pypimirror.catalog.queries import entries, marks, projects
from pypimirror.domain.layout import page_paths
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.publish import contents, fingerprints, outdated
from pypimirror.pipeline.run import Run
from pypimirror.render import amend, rendering
from pypimirror.render.pages import RootEntry

#: Path and content of each form.
_Forms = Iterable[tuple[str, Iterable[bytes]]]

#: Projects that are amended at most: to find as many more takes as long as to render all.
_MOST = projects.CHUNK


def is_stale(connection: Connection, *, with_gone: bool) -> bool:
    """Whether the root index may say something else than it should."""
    return not _is_whole(connection) or entries.is_to_relist(connection, with_gone=with_gone)


def _is_whole(connection: Connection) -> bool:
    """Whether it says what it should of all projects but those that are marked."""
    said = marks.read(connection, ROOT_INDEX)
    return said == "" and outdated.is_root_current(connection)


def publish(run: Run, *, with_gone: bool) -> bool:
    """Write the root index; it lists projects that are gone only `with_gone`.

    Returns whether that is done: where a form of it cannot be replaced, that is told, and the next
    run writes it again.
    """
    sha256 = hashlib.sha256()

    def hashed(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            sha256.update(chunk)
            yield chunk

    with run.catalog.read() as connection:
        forms = _forms(run, connection, with_gone=with_gone)
        blocked: dict[str, Problem] = {}
        written = run.storage.write(((path, hashed(chunks)) for path, chunks in forms), blocked)
    run.storage.flush()
    if blocked:
        expire(run)
        said = [Problem(p.reason, f"{path}: {p.message}") for path, p in blocked.items()]
        run.ledger.failed(Stage.PUBLISH, said)
        return False
    with run.catalog.write() as connection:
        entries.relisted(connection)
        marks.write(connection, ROOT_INDEX, "")
        outdated.root_written(connection)
        seen = fingerprints.root_seen(run, sha256.digest())
        marks.write(connection, ROOT_INDEX_SEEN, seen)
    run.ledger.count(pages_written=written)
    return True


def expire(run: Run) -> None:
    """Have the whole root index rendered again, whether or not a page has changed."""
    with run.catalog.write() as connection:
        marks.write(connection, ROOT_INDEX, STALE)


def _forms(run: Run, connection: Connection, *, with_gone: bool) -> _Forms:
    try:
        found = _amended(run, connection, with_gone=with_gone)
    except amend.AmendError:
        found = None
    if found is None:
        return contents.root_forms(run, connection, with_gone=with_gone)
    return found


def _amended(run: Run, connection: Connection, *, with_gone: bool) -> _Forms | None:
    """Return the forms of the last root index, amended; None where that is not to be done."""
    if not _is_whole(connection):
        return None
    rows = entries.to_relist(connection, _MOST + 1)
    last = fingerprints.last_root(run, connection) if len(rows) <= _MOST else None
    if last is None:
        return None
    changes = {
        row.name: RootEntry(row.name, row.page_serial)
        if row.page_on_disk and (row.removal_cause is None or with_gone)
        else None
        for row in rows
    }
    version, serial = contents.root_head(connection)
    paths = page_paths(None, last)
    return [
        (
            paths[name],
            amend.amended(
                rendering.ROOT_FORMS[name], old, changes, api_version=version, serial=serial
            ),
        )
        for name, old in last.items()
    ]
