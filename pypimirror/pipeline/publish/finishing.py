"""The last step of publish, for the whole mirror: remove what is no longer offered.

`finish` does this in order: withdraw files that are no longer offered (if the deletion guard
agrees), render the pages that shrink, write the root index, remove pages, and finally remove bytes
whose grace period is over. Most runs have none of this to do, so the modules that render pages are
imported only for a page that must be rendered.

Long steps pause for requests (`gate.Pauses`) between two chunks. After a pause they read the
catalog again, as after a kill. There is no pause between the guard's count and the removal of
pages: a request could mark more files as gone, which the guard has not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import FORMATS, ROOT_INDEX, STALE, SUMMARIES
from pypimirror.catalog.queries import entries, listed, marks, pages, projects, totals
from pypimirror.catalog.queries.browsing import summaries as noting
from pypimirror.catalog.records import ProjectRecord
from pypimirror.domain.layout import page_paths
from pypimirror.domain.model import Stage
from pypimirror.pipeline import gate
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.publish import forms, outdated, removing, withdraw
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.verify import quarantine

#: Most pages that are rendered together.
_AT_ONCE = 500


def finish(run: Run) -> None:
    """Bring the mirror as a whole up to date: withdrawals, root index, removals."""
    pause = gate.Pauses(run)
    _doubt_lists(run)
    is_of_one_form = _redo_pages_of_another_form(run, pause)
    refusal = withdraw.withdraw(run)
    allowed = refusal is None
    redone = outdated.take_turn(run, with_gone=not allowed)
    _render_dirty(run, with_gone=not allowed)
    with run.catalog.read() as connection:
        going = pages.to_remove(connection) if allowed else []
        stale = _is_root_due(run, connection, with_gone=not allowed)
    if stale and not _write_root(run, with_gone=not allowed):
        going = []  # the old index still lists them
    while going:
        _remove_pages(run, going)
        with run.catalog.read() as connection:
            going = pages.to_remove(connection, after=going[-1].id)
    outdated.settle(run, redone)
    _note_summaries(run)
    if is_of_one_form:  # else old pages may still link to these bytes
        withdraw.remove_expired(run, pause)
    run.ledger.failed(Stage.PUBLISH, quarantine.trim(run.workspace, run.config.quarantine, run.now))
    if refusal is not None:
        raise StoppedError(refusal)


def _is_root_due(run: Run, connection: Connection, *, with_gone: bool) -> bool:
    """Whether the root index may be out of date.

    A first run that reached no upstream writes none: clients would take it for an empty index.
    """
    if run.ledger.unreachable is not None and marks.read(connection, ROOT_INDEX) is None:
        return False
    return not outdated.is_root_whole(connection) or entries.is_to_relist(
        connection, with_gone=with_gone
    )


def _write_root(run: Run, *, with_gone: bool) -> bool:
    """Write the root index; see `root.publish`."""
    from pypimirror.pipeline.publish import root

    return root.publish(run, with_gone=with_gone)


def _note_summaries(run: Run) -> None:
    """Note the summaries of projects whose pages an earlier version wrote."""
    with run.catalog.read() as connection:
        if marks.is_set(connection, SUMMARIES):
            return
    from pypimirror.pipeline.publish import summaries

    summaries.fill(run)


def _doubt_lists(run: Run) -> None:
    """Report lists with too many missing pages, and have the next run read them again."""
    doubted = listings.judge(run)
    if doubted:
        with run.catalog.write() as connection:
            listed.forget_lists(connection)


def _remove_pages(run: Run, going: Sequence[ProjectRecord]) -> None:
    """Remove the pages of projects that the root index no longer lists."""
    going = [
        row
        for row in going
        if removing.remove(run, Stage.PUBLISH, page_paths(row.name, forms.ALL).values(), row.name)
    ]
    run.storage.flush()
    with run.catalog.write() as connection:
        done = {
            "page_on_disk": False,
            "page_stale": False,
            "has_work": False,
            "root_entry_stale": None,
            **totals.NOTHING,
        }
        totals.change(connection, going, [totals.Totals()] * len(going))
        projects.change(connection, [{"id": row.id, **done} for row in going])
        noting.drop(connection, [row.id for row in going])


def _redo_pages_of_another_form(run: Run, pause: gate.Pauses) -> bool:
    """Render all pages again if the configuration asks for other forms than before.

    New forms: pages first, then the root index. Old forms: root index first, then pages. Return
    whether this is done; if not, the next run tries again.
    """
    with run.catalog.read() as connection:
        if not forms.is_another_form(run, connection):
            return True
    with run.catalog.write() as connection:
        pages.redo_all(connection)
        marks.write(connection, ROOT_INDEX, STALE)
    _render_dirty(run, with_gone=True, pause=pause)
    if not _write_root(run, with_gone=True):
        return False
    unwanted = [form for form in forms.ALL if form not in run.config.publish.formats]
    with run.catalog.read() as connection:
        names = [None, *entries.root_names(connection, with_gone=True)]
    removed = [
        removing.remove(run, Stage.PUBLISH, page_paths(name, unwanted).values(), name or "")
        for name in names
    ]
    run.storage.flush()  # after a power cut, a page must not come back and outlive its files
    if not all(removed):
        return False
    with run.catalog.write() as connection:
        marks.write(connection, FORMATS, forms.forms_of(run))
    return True


def _render_dirty(run: Run, *, with_gone: bool, pause: Callable[[], None] = lambda: None) -> None:
    """Render all pages that are stale. `pause` is called when nothing is half done."""
    last = 0
    while True:
        pause()
        with run.catalog.read() as connection:
            ids = projects.next_batch(connection, last, _AT_ONCE, None)
        if not ids:
            return
        from pypimirror.pipeline.publish.publish import render_pages

        render_pages(run, ids, with_gone=with_gone)
        last = ids[-1]
