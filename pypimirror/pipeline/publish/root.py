"""Publish: write the root index, and decide how much of it must be rendered.

The root index lists every project, so it is expensive to render in a large mirror, and it changes
in nearly every sync. So the catalog marks the projects whose entries may be out of date
(`projects.root_entry_stale`), in the same transaction that changes a page's serial or removes a
project. If the index on disk still has the bytes that were last right, only these entries are
changed (`pypimirror.render.amend`). In all other cases, for example the first time, the whole index
is rendered. The bytes are the same either way.

If a run dies before it has noted a new index in the catalog, the stamp on disk is unknown, so the
next run renders the whole index. The marks of the stale entries are still set.
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

#: The path and the content of each form.
_Forms = Iterable[tuple[str, Iterable[bytes]]]

#: Most entries that are amended. With more, rendering the whole index is as fast.
_MOST = projects.CHUNK


def publish(run: Run, *, with_gone: bool) -> bool:
    """Write the root index. With `with_gone`, it lists removed projects as well.

    Return whether this is done. If a form cannot be replaced, that is reported, and the next run
    writes the index again.
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
        problems = [Problem(p.reason, f"{path}: {p.message}") for path, p in blocked.items()]
        run.ledger.failed(Stage.PUBLISH, problems)
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
    """Mark the root index as stale, so that it is rendered again even if no page has changed."""
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
    """Return the forms of the root index with changed entries; None if it must be rendered
    whole.
    """
    if not outdated.is_root_whole(connection):
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
