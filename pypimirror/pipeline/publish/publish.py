"""Publish: render the pages that have changed, and at the end of a run take out what has gone.

verified → published for the files of a batch; `finish` does the rest for the mirror as a whole,
in this order: withdraw what is not offered any more (once the deletion guard agrees), the pages
that shrink, the root index, the pages that go, and last the bytes whose grace is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pypimirror.catalog import damage, schema
from pypimirror.catalog.marks import FORMATS, ROOT_INDEX, STALE
from pypimirror.catalog.queries import entries, files, marks, pages, projects, totals, withdrawals
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import page_paths
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.publish import (
    contents,
    fingerprints,
    outdated,
    presence,
    removing,
    root,
    withdraw,
)
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.verify import quarantine

#: Pages that are written, flushed and committed together.
_COMMIT = 500


def publish(run: Run, batch: Batch) -> None:
    """Render the pages of those of these projects that have changed.

    A page that files are about to leave waits for `finish`: it would change twice, and with the
    upstream's new serial it would once say what the upstream does not say any more.
    """
    with run.catalog.read() as connection:
        waiting = withdrawals.projects_with_leaving(connection, batch.projects)
    render_pages(run, [number for number in batch.projects if number not in waiting])


def render_pages(run: Run, ids: Sequence[int], *, with_gone: bool = False) -> None:
    """Render the pages of those of these projects that have changed, as they stand now.

    Those of projects that are gone only `with_gone`, where they are still on disk.
    """
    with run.catalog.read() as connection:
        rows = [
            row
            for row in projects.get(connection, ids)
            if row.page_stale and (row.removal_cause is None or (with_gone and row.page_on_disk))
        ]
    run.ledger.begin(Stage.PUBLISH, len(rows))
    for chunk in projects.chunks(rows, _COMMIT):
        _publish(run, chunk)
        run.reporter.advance(Stage.PUBLISH, things=len(chunk))
    with run.catalog.write() as connection:
        wanted = run.config.publish.provenance
        projects.finish(connection, ids, run.now, with_provenance=wanted)


def finish(run: Run) -> None:
    """Bring the mirror as a whole up to date: withdrawals, root index, removals."""
    _doubt_lists(run)
    is_of_one_form = _redo_pages_of_another_form(run)
    refusal = withdraw.withdraw(run)
    allowed = refusal is None
    redone = outdated.take_turn(run, with_gone=not allowed)
    _render_dirty(run, with_gone=not allowed)
    with run.catalog.read() as connection:
        going = projects.to_remove(connection) if allowed else []
        stale = root.is_stale(connection, with_gone=not allowed)
    if stale and not root.publish(run, with_gone=not allowed):
        going = []  # it lists them still
    while going:
        _remove_pages(run, going)
        with run.catalog.read() as connection:
            going = projects.to_remove(connection, after=going[-1].id)
    outdated.settle(run, redone)
    if is_of_one_form:  # else pages that nobody knows any more may name them
        withdraw.remove_expired(run)
    run.ledger.failed(Stage.PUBLISH, quarantine.trim(run.workspace, run.config.quarantine, run.now))
    if refusal is not None:
        raise StoppedError(refusal)


def _doubt_lists(run: Run) -> None:
    """Report lists that their pages do not bear out; they are read again by the next run."""
    doubted = listings.judge(run)
    if doubted:
        with run.catalog.write() as connection:
            projects.forget_lists(connection)


def _publish(run: Run, rows: Sequence[ProjectRecord]) -> None:
    with run.catalog.read() as connection:
        held = contents.held_by(connection, [row.id for row in rows])
    damage.check(schema.projects, rows, run.catalog.shown)
    damage.check(schema.files, (file for each in held.values() for file in each), run.catalog.shown)
    held = presence.without_absent(run, rows, held)
    fresh = [contents.page_of(run, row, held[row.id]) for row in rows]
    serials = {}
    forms: dict[int, list[tuple[str, list[bytes]]]] = {}
    for row, page in zip(rows, fresh, strict=True):
        serial = contents.page_serial(run, row, page)
        serials[row.id] = serial
        page = msgspec.structs.replace(page, serial=serial)
        forms[row.id] = list(contents.page_forms(run, page))
    owners = {path: row for row in rows for path, _ in forms[row.id]}
    blocked: dict[str, Problem] = {}
    written = run.storage.write((form for each in forms.values() for form in each), blocked)
    # Also where none is new: a dead run may have placed them, and nothing made them durable.
    run.storage.flush()
    stuck = {owners[path].id for path in blocked}
    rows = [row for row in rows if row.id not in stuck]
    replaced = [file for row in rows for file in held[row.id] if _is_replaced(file)]
    seen = {
        row.id: fingerprints.written(run, row.name, [text for _, text in forms[row.id]])
        for row in rows
    }
    _commit(run, rows, serials, seen, held, replaced)
    run.ledger.count(pages_written=written, files_withdrawn=len(replaced))
    run.ledger.failed(
        Stage.PUBLISH,
        [
            Problem(said.reason, f"{path}: {said.message}", owners[path].name)
            for path, said in blocked.items()
        ],
    )


def _commit(
    run: Run,
    rows: Sequence[ProjectRecord],
    serials: Mapping[int, int],
    seen: Mapping[int, Mapping[str, Any]],
    held: Mapping[int, Sequence[FileRecord]],
    replaced: Sequence[FileRecord],
) -> None:
    holds = [totals.on_page(held[row.id]) for row in rows]
    values = [
        {
            "id": row.id,
            "page_serial": serials[row.id],
            "page_stale": False,
            "page_on_disk": True,
            **seen[row.id],
            **on_page,
            **_relist(row, serials[row.id]),
        }
        for row, on_page in zip(rows, holds, strict=True)
    ]
    with run.catalog.write() as connection:
        moved = [{"id": file.id, "withdrawn_at": run.now} for file in replaced]
        files.move(connection, State.LINKED, moved, run.id)
        files.publish(connection, [row.id for row in rows], run.id)
        totals.change(connection, rows, [totals.Totals(1, *each.values()) for each in holds])
        projects.change(connection, values)
        marks.write_once(connection, FORMATS, contents.forms_of(run))
        outdated.pages_written(connection)
        if any(row.removal_cause is not None and _relist(row, serials[row.id]) for row in rows):
            # It is to be listed anew in any case, until its page is removed: say that it is now.
            marks.write(connection, ROOT_INDEX, STALE)


def _relist(row: ProjectRecord, serial: int) -> dict[str, Any]:
    """Return what to note where the root index lists a project not yet, or with another serial."""
    return {} if row.page_on_disk and serial == row.page_serial else {"root_entry_stale": True}


def _is_replaced(file: FileRecord) -> bool:
    """Whether a page led to a file's own bytes, and leads to the upstream now."""
    return bool(file.linked and file.state in PROVEN)


def _remove_pages(run: Run, going: Sequence[ProjectRecord]) -> None:
    """Remove the pages of projects that the root index does not list any more."""
    going = [
        row
        for row in going
        if removing.remove(
            run, Stage.PUBLISH, page_paths(row.name, contents.FORMS).values(), row.name
        )
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


def _redo_pages_of_another_form(run: Run) -> bool:
    """Render all pages again where the configuration asks for other forms than before.

    In: the pages, then the root index. Out: the root index, then the pages. Returns whether that
    is done; else the next run does it again.
    """
    with run.catalog.read() as connection:
        if not contents.is_another_form(run, connection):
            return True
    with run.catalog.write() as connection:
        pages.redo_all(connection)
        marks.write(connection, ROOT_INDEX, STALE)
    _render_dirty(run, with_gone=True)
    if not root.publish(run, with_gone=True):
        return False
    unwanted = [form for form in contents.FORMS if form not in run.config.publish.formats]
    with run.catalog.read() as connection:
        names = [None, *entries.root_names(connection, with_gone=True)]
    gone = [
        removing.remove(run, Stage.PUBLISH, page_paths(name, unwanted).values(), name or "")
        for name in names
    ]
    run.storage.flush()  # a page that came back would outlive the files that it names
    if not all(gone):
        return False
    with run.catalog.write() as connection:
        marks.write(connection, FORMATS, contents.forms_of(run))
    return True


def _render_dirty(run: Run, *, with_gone: bool = False) -> None:
    last = 0
    while True:
        with run.catalog.read() as connection:
            ids = projects.next_batch(connection, last, _COMMIT, None)
        if not ids:
            return
        render_pages(run, ids, with_gone=with_gone)
        last = ids[-1]
