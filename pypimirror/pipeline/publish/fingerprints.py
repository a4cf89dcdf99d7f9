"""Fingerprints of pages: how they were when they were right, and which pages differ now.

The stamp of a page shows whether anybody has touched it since, and its digest whether its bytes are
still the same. So `verify --quick` and a sync without work need not render the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import ROOT_INDEX, ROOT_INDEX_SEEN, STALE
from pypimirror.catalog.queries import entries, marks, pages, projects
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.domain.layout import page_paths
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.publish import outdated
from pypimirror.pipeline.publish.contents import (
    held_by,
    page_forms,
    page_of,
    root_forms,
)
from pypimirror.pipeline.publish.forms import is_another_form
from pypimirror.pipeline.run import Run
from pypimirror.render import version
from pypimirror.storage import many
from pypimirror.system.disk_errors import StorageError

#: Rows of projects that are read together.
_AT_ONCE = 500


def differing(
    run: Run, is_late: Callable[[], bool], *, quick: bool = False
) -> Iterator[tuple[Problem, int | None]]:
    """Yield a problem for each page on disk that differs from the catalog, with its project's id.

    With `quick`, only pages that were touched since they were right are read. Stops when `is_late`
    says so. Pages of another renderer version are judged and counted separately.
    """
    with run.catalog.read() as connection:
        quick = quick and not is_another_form(run, connection)
    last = outdated_pages = 0
    while not is_late():
        with run.catalog.read() as connection:
            rows = pages.live_after(connection, last, _AT_ONCE)
        if not rows:
            break
        touched = [row for row in rows if not row.page_stale and row.removal_cause is None]
        outdated_pages += sum(not outdated.is_current(row) for row in touched)
        if quick:
            names = [row.name for row in touched]
            stamps = many.ask(run.storage, partial(stamp_of_page, run), names)
            pairs = zip(touched, stamps, strict=True)
            touched = [row for row, stamp in pairs if stamp != row.page_stamp]
        with run.catalog.read() as connection:
            held = held_by(connection, [row.id for row in touched]) if touched else {}
        judged = many.ask(run.storage, partial(_judge, run, held), touched)
        for row, (bad, _) in zip(touched, judged, strict=True):
            yield from ((problem, row.id) for problem in bad)
        right = [columns for _, columns in judged if columns]
        if right:
            with run.catalog.write() as connection:
                projects.change(connection, right)
        last = rows[-1].id
    outdated.tell(run, outdated_pages)
    if not is_late():
        yield from _differing_root(run, quick=quick)


def _judge(
    run: Run, held: Mapping[int, Sequence[FileRecord]], row: ProjectRecord
) -> tuple[list[Problem], dict[str, Any]]:
    """Compare a page with the catalog. Return its problems, and the columns to store, if any."""
    stamp = stamp_of_page(run, row.name)  # read it first: a later change is then noticed
    page = page_of(run, row, held.get(row.id, ()))
    if not outdated.is_current(row):
        return [_page_problem(path, row.name) for path in outdated.wrong(run, row, page)], {}
    forms = list(page_forms(run, page))
    bad = _unlike(run, forms, row.name)
    if bad or stamp == row.page_stamp:
        return bad, {}
    sha256 = _digest_of(text for _, text in forms)
    return [], {"id": row.id, "page_stamp": stamp, "page_sha256": sha256}


def _differing_root(run: Run, *, quick: bool) -> Iterator[tuple[Problem, None]]:
    """Yield a problem for each form of the root index that differs from the catalog."""
    with run.catalog.read() as connection:
        stale = marks.read(connection, ROOT_INDEX) == STALE
        if stale or entries.is_to_relist(connection, with_gone=True):
            return
        known = marks.read(connection, ROOT_INDEX_SEEN) or ""
        untouched = known.partition(" ")[0] == str(stamp_of_page(run, None))
        if quick and untouched:
            return
        if not outdated.is_root_current(connection):
            yield from _differing_old_root(run, known.partition(" ")[2])
            return
        bad = _unlike(run, root_forms(run, connection, with_gone=False), "")
        # It lists removed projects that still have a page only if the deletion guard refused.
        if bad and entries.is_to_relist(connection, with_gone=False):
            bad = _unlike(run, root_forms(run, connection, with_gone=True), "")
    yield from ((problem, None) for problem in bad)
    if not bad and not untouched:
        with run.catalog.write() as connection:
            marks.write(connection, ROOT_INDEX_SEEN, root_seen(run))


def _differing_old_root(run: Run, sha256: str) -> Iterator[tuple[Problem, None]]:
    """Compare a root index of another renderer version with its known digest.

    The catalog knows the projects whose entries are out of date, and the next sync writes them.
    """
    paths = page_paths(None, run.config.publish.formats).values()
    seen = run.storage.sha256_of_all(paths)
    if sha256 and (seen is None or seen.hex() != sha256):
        yield from ((_page_problem(path, ""), None) for path in paths)


def _unlike(run: Run, forms: Iterable[tuple[str, Iterable[bytes]]], project: str) -> list[Problem]:
    """Return a problem for each form of a page whose bytes differ. `forms` are paths and
    contents.
    """
    found = []
    for path, content in forms:
        try:
            if not run.storage.says(path, content):
                found.append(_page_problem(path, project))
        except StorageError as error:  # the page may be right, and others can be read
            found.append(msgspec.structs.replace(error.problem, project=project))
    return found


def stamp_of_page(run: Run, project: str | None) -> int | None:
    """Return the stamp of a page on disk; of the root index if `project` is None."""
    return run.storage.stamp_of_all(page_paths(project, run.config.publish.formats).values())


def written(stamp: int | None, forms: Iterable[Iterable[bytes]]) -> dict[str, Any]:
    """Return the columns to store for a page that was just written with these contents."""
    return {
        "page_stamp": stamp,
        "page_sha256": _digest_of(forms),
        "page_renderer": version.VERSION,
    }


def _digest_of(forms: Iterable[Iterable[bytes]]) -> bytes:
    sha256 = hashlib.sha256()
    for content in forms:
        for chunk in content:
            sha256.update(chunk)
    return sha256.digest()


def root_seen(run: Run, sha256: bytes | None = None) -> str:
    """Return the mark to store for a root index that is right.

    `sha256` is the digest of the bytes of all its forms. Without it, they are read.
    """
    paths = page_paths(None, run.config.publish.formats).values()
    stamp = stamp_of_page(run, None)  # read it first: a later change is then noticed
    if sha256 is None:
        sha256 = run.storage.sha256_of_all(paths) or b""
    return f"{stamp} {sha256.hex()}"


def last_root(run: Run, connection: Connection) -> dict[str, bytes] | None:
    """Return the bytes of the root index by form; None if they changed since they were right.

    The digest detects bytes that the disk has damaged, so damage is not copied into a new index.
    """
    known = marks.read(connection, ROOT_INDEX_SEEN) or ""
    if known.partition(" ")[0] != str(stamp_of_page(run, None)):
        return None
    found: dict[str, bytes] = {}
    sha256 = hashlib.sha256()
    for form, path in page_paths(None, run.config.publish.formats).items():
        try:
            content = run.storage.read(path)
        except StorageError:  # writing the new one will report it
            return None
        if content is None:
            return None
        sha256.update(content)
        found[form] = content
    return found if known == root_seen(run, sha256.digest()) else None


def _page_problem(path: str, project: str) -> Problem:
    message = f"{path}: differs from the catalog; 'pypimirror verify --repair' repairs it"
    return Problem(Reason.PAGE_DIFFERS, message, project)
