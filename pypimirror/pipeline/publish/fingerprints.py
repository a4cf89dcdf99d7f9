"""Pages on disk: what was seen of them when they were right, and which are not what they should be.

A page's stamp tells whether anybody has touched it since, and its digest whether its bytes are
still those; so neither `verify --quick` nor a mirror at rest need render it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import ROOT_INDEX, ROOT_INDEX_SEEN, STALE
from pypimirror.catalog.queries import entries, marks, projects
from pypimirror.domain.layout import page_paths
from pypimirror.domain.model import Problem, Reason
from pypimirror.pipeline.publish import outdated
from pypimirror.pipeline.publish.contents import (
    held_by,
    is_another_form,
    page_forms,
    page_of,
    root_forms,
)
from pypimirror.pipeline.run import Run
from pypimirror.render import version
from pypimirror.system.disk_errors import StorageError

#: Rows of projects that are looked at together.
_AT_ONCE = 500


def differing(
    run: Run, is_late: Callable[[], bool], *, quick: bool = False
) -> Iterator[tuple[Problem, int | None]]:
    """Yield each page on disk that is not what the catalog says, with its project's id.

    With `quick`, only those are read that were touched since they were seen to be right. Ends when
    it is late. Those of another renderer are judged, and counted, by themselves.
    """
    with run.catalog.read() as connection:
        quick = quick and not is_another_form(run, connection)
    last = waiting = 0
    while not is_late():
        with run.catalog.read() as connection:
            rows = projects.live_after(connection, last, _AT_ONCE)
            touched = [row for row in rows if not row.page_stale and row.removal_cause is None]
            waiting += sum(not outdated.is_current(row) for row in touched)
            if quick:
                touched = [row for row in touched if stamp_of_page(run, row.name) != row.page_stamp]
            held = held_by(connection, [row.id for row in touched]) if touched else {}
        if not rows:
            break
        right: list[dict[str, Any]] = []
        for row in touched:
            stamp = stamp_of_page(run, row.name)  # first: whoever touches it meanwhile is noticed
            page = page_of(run, row, held.get(row.id, ()))
            if not outdated.is_current(row):
                wrong = outdated.wrong(run, row, page)
                yield from ((_page_problem(path, row.name), row.id) for path in wrong)
                continue
            forms = list(page_forms(run, page))
            bad = _unlike(run, forms, row.name)
            yield from ((problem, row.id) for problem in bad)
            if not bad and stamp != row.page_stamp:
                sha256 = _digest_of(text for _, text in forms)
                right.append({"id": row.id, "page_stamp": stamp, "page_sha256": sha256})
        if right:
            with run.catalog.write() as connection:
                projects.change(connection, right)
        last = rows[-1].id
    outdated.tell(run, waiting)
    if not is_late():
        yield from _differing_root(run, quick=quick)


def _differing_root(run: Run, *, quick: bool) -> Iterator[tuple[Problem, None]]:
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
        # Whether it lists those that are gone, and still have a page, the deletion guard says.
        if bad and entries.is_to_relist(connection, with_gone=False):
            bad = _unlike(run, root_forms(run, connection, with_gone=True), "")
    yield from ((problem, None) for problem in bad)
    if not bad and not untouched:
        with run.catalog.write() as connection:
            marks.write(connection, ROOT_INDEX_SEEN, root_seen(run))


def _differing_old_root(run: Run, sha256: str) -> Iterator[tuple[Problem, None]]:
    """Hold a root index that nobody can render any more against the digest that it had, if known.

    Of projects of which it may say something else, the catalog knows, and the next sync writes it.
    """
    paths = page_paths(None, run.config.publish.formats).values()
    seen = run.storage.sha256_of_all(paths)
    if sha256 and (seen is None or seen.hex() != sha256):
        yield from ((_page_problem(path, ""), None) for path in paths)


def _unlike(run: Run, forms: Iterable[tuple[str, Iterable[bytes]]], project: str) -> list[Problem]:
    """Return what is wrong with the forms of a page, given by path and content."""
    found = []
    for path, content in forms:
        try:
            if not run.storage.says(path, content):
                found.append(_page_problem(path, project))
        except StorageError as error:  # it says nothing about the page, and others may be read
            found.append(msgspec.structs.replace(error.problem, project=project))
    return found


def stamp_of_page(run: Run, project: str | None) -> int | None:
    """Return the stamp of a page as it is on disk, or of the root index."""
    return run.storage.stamp_of_all(page_paths(project, run.config.publish.formats).values())


def written(run: Run, project: str, forms: Iterable[Iterable[bytes]]) -> dict[str, Any]:
    """Return what is to be noted of a page that was written just now, with these contents."""
    return {
        "page_stamp": stamp_of_page(run, project),
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
    """Return what is to be noted of the root index, which is right, or was written just now.

    `sha256` is the digest of all its forms' bytes; without it, they are read.
    """
    paths = page_paths(None, run.config.publish.formats).values()
    stamp = stamp_of_page(run, None)  # in this order: whoever touches it in between is noticed
    if sha256 is None:
        sha256 = run.storage.sha256_of_all(paths) or b""
    return f"{stamp} {sha256.hex()}"


def last_root(run: Run, connection: Connection) -> dict[str, bytes] | None:
    """Return the bytes of the root index by form; None where they are not those seen last.

    What the disk has altered since is noticed by the digest, and goes no further.
    """
    known = marks.read(connection, ROOT_INDEX_SEEN) or ""
    if known.partition(" ")[0] != str(stamp_of_page(run, None)):
        return None
    found: dict[str, bytes] = {}
    sha256 = hashlib.sha256()
    for form, path in page_paths(None, run.config.publish.formats).items():
        try:
            content = run.storage.read(path)
        except StorageError:  # a new one is about to be written: that may tell
            return None
        if content is None:
            return None
        sha256.update(content)
        found[form] = content
    return found if known == root_seen(run, sha256.digest()) else None


def _page_problem(path: str, project: str) -> Problem:
    message = f"{path}: is not what the catalog says; 'pypimirror verify --repair' mends it"
    return Problem(Reason.PAGE_DIFFERS, message, project)
