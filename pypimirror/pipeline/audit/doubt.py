"""Bring a catalog and a mirror root together again if they are not from the same run.

`pypimirror.storage.generation` tells whether they are. If they are not, the catalog or the
directory was restored, or two catalogs are used in turn. Then a run checks that everything that the
catalog lists exists, without reading it. A lost file leaves its page at once and is fetched again.
A page that somebody else wrote is rendered again, and so is the root index. The doubt ends only
when everything was checked.
"""

from __future__ import annotations

from functools import partial

from pypimirror.catalog.marks import DOUBT
from pypimirror.catalog.queries import files, marks, pages, projects
from pypimirror.catalog.records import ProjectRecord
from pypimirror.catalog.states import State
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline import gate
from pypimirror.pipeline.publish import fingerprints, presence, root
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import takeback
from pypimirror.storage import many

_HELD = (State.VERIFIED, State.PUBLISHED, State.WITHDRAWN)

#: Rows of the catalog that are checked together.
_AT_ONCE = 1000


def settle(run: Run) -> None:
    """Check that everything that the catalog lists exists, if there is a doubt."""
    with run.catalog.read() as connection:
        cause = marks.read(connection, DOUBT)
    if cause is None:
        return
    run.reporter.note("warning", f"{cause}; this run checks that every file and page exists")
    pause = gate.Pauses(run)
    lost, wrong = _look_for_files(run, pause), _look_at_pages(run, pause)
    root.expire(run)
    with run.catalog.write() as connection:
        marks.clear(connection, DOUBT)
    if lost or wrong:
        found = (
            f"{number_of(lost, 'file')} missing, {number_of(wrong, 'page')} not from this catalog"
        )
        run.reporter.note("warning", f"{found}; this run repairs that")


def _look_for_files(run: Run, pause: gate.Pauses) -> int:
    """Take back the files that are missing. Return their number."""
    last = lost = 0
    while True:
        pause()
        with run.catalog.read() as connection:
            rows = files.held(connection, _HELD, 0, None, last, None, _AT_ONCE)
        wrong = presence.absent(run, [(row, row.project) for row in rows])
        if wrong:
            takeback.take_back(run, wrong)
            lost += len(wrong)
        if len(rows) < _AT_ONCE:
            return lost
        last = rows[-1].id


def _look_at_pages(run: Run, pause: gate.Pauses) -> int:
    """Mark the pages that somebody else wrote, so that they are rendered again. Return their
    number.
    """
    last = number = 0
    while True:
        pause()
        with run.catalog.read() as connection:
            rows = pages.live_after(connection, last, _AT_ONCE)
        if not rows:
            return number
        others = many.ask(run.storage, partial(_is_other, run), rows)
        touched = [row.id for row, is_other in zip(rows, others, strict=True) if is_other]
        with run.catalog.write() as connection:
            projects.touch(connection, touched)
        number += len(touched)
        last = rows[-1].id


def _is_other(run: Run, row: ProjectRecord) -> bool:
    """Whether the page on disk is not the one that this catalog knows."""
    return not row.page_stale and fingerprints.stamp_of_page(run, row.name) != row.page_stamp
