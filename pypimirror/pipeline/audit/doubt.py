"""A catalog and a mirror root that are not of one run: both are brought together again.

`pypimirror.storage.generation` tells whether they are. Where they are not, a catalog or a directory
was put back, or two catalogs take turns: everything that the catalog says is here is looked for,
without reading any of it. What is lost leaves its page at once and is fetched again; a page that
somebody else has written is rendered anew, and so is the root index. The doubt is over when all was
looked at, and not before.
"""

from __future__ import annotations

from pypimirror.catalog.marks import DOUBT
from pypimirror.catalog.queries import files, marks, projects
from pypimirror.catalog.records import ProjectRecord
from pypimirror.catalog.states import State
from pypimirror.pipeline.publish import fingerprints, presence, root
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import takeback

_HELD = (State.VERIFIED, State.PUBLISHED, State.WITHDRAWN)

#: Rows of the catalog that are looked at together.
_AT_ONCE = 1000


def settle(run: Run) -> None:
    """Look at everything that the catalog says is here, if there is a doubt."""
    with run.catalog.read() as connection:
        cause = marks.read(connection, DOUBT)
    if cause is None:
        return
    run.reporter.note("warning", f"{cause}; every file and page is looked for now")
    lost, pages = _look_for_files(run), _look_at_pages(run)
    root.expire(run)
    with run.catalog.write() as connection:
        marks.clear(connection, DOUBT)
    if lost or pages:
        said = f"{lost} files were not there, and {pages} pages were not this catalog's"
        run.reporter.note("warning", f"{said}; they are mended now")


def _look_for_files(run: Run) -> int:
    last = lost = 0
    while True:
        with run.catalog.read() as connection:
            rows = files.held(connection, _HELD, 0, None, last, None, _AT_ONCE)
        wrong = [each for row in rows for each in presence.absent(run, row, row.project)]
        if wrong:
            takeback.take_back(run, wrong)
            lost += len(wrong)
        if len(rows) < _AT_ONCE:
            return lost
        last = rows[-1].id


def _look_at_pages(run: Run) -> int:
    """Have those pages rendered again that are not the files that this catalog has seen."""
    last = number = 0
    while True:
        with run.catalog.read() as connection:
            rows = projects.live_after(connection, last, _AT_ONCE)
        if not rows:
            return number
        touched = [row.id for row in rows if _is_other(run, row)]
        with run.catalog.write() as connection:
            projects.touch(connection, touched)
        number += len(touched)
        last = rows[-1].id


def _is_other(run: Run, row: ProjectRecord) -> bool:
    return not row.page_stale and fingerprints.stamp_of_page(run, row.name) != row.page_stamp
