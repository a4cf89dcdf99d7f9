"""Publish: render the pages that changed.

For a batch, verified files become published. `publish.finishing` does the work that concerns the
whole mirror.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from pypimirror.catalog import damage
from pypimirror.catalog.marks import FORMATS, ROOT_INDEX, STALE
from pypimirror.catalog.queries import files, marks, projects, totals, withdrawals
from pypimirror.catalog.queries.browsing import summaries as noting
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.publish import (
    contents,
    fingerprints,
    outdated,
    presence,
    summaries,
)
from pypimirror.pipeline.publish.forms import forms_of
from pypimirror.pipeline.run import Run
from pypimirror.storage import many

#: Most pages that are written, flushed and committed together.
_COMMIT = 500


def publish(run: Run, batch: Batch) -> None:
    """Render the pages of these projects that have changed.

    A page that files are about to leave waits for `finishing`. Otherwise it would change twice, and
    its first version would have the new serial but old contents.
    """
    with run.catalog.read() as connection:
        waiting = withdrawals.projects_with_leaving(connection, batch.projects)
    ids = [number for number in batch.projects if number not in waiting]
    render_pages(run, ids)


def render_pages(run: Run, ids: Sequence[int], *, with_gone: bool = False) -> None:
    """Render the pages of these projects that have changed.

    With `with_gone`, also pages of removed projects that are still on disk.
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


def _publish(run: Run, rows: Sequence[ProjectRecord]) -> None:
    """Write the pages of these projects, make them durable and commit."""
    written_before = [row.id for row in rows if row.page_on_disk]
    with run.catalog.read() as connection:
        held = contents.held_by(connection, [row.id for row in rows])
        known = noting.sources(connection, written_before) if written_before else {}
    damage.check("projects", rows, run.catalog.shown)
    damage.check("files", (file for each in held.values() for file in each), run.catalog.shown)
    held = presence.without_absent(run, rows, held)
    fresh = [contents.page_of(run, row, held[row.id]) for row in rows]
    pairs = list(zip(rows, fresh, strict=True))
    found = many.ask(run.storage, lambda each: contents.page_serial(run, *each), pairs)
    serials = {row.id: serial for row, serial in zip(rows, found, strict=True)}
    forms: dict[int, list[tuple[str, list[bytes]]]] = {}
    for row, page in pairs:
        page = msgspec.structs.replace(page, serial=serials[row.id])
        forms[row.id] = list(contents.page_forms(run, page))
    owners = {path: row for row in rows for path, _ in forms[row.id]}
    blocked: dict[str, Problem] = {}
    written = run.storage.write((form for each in forms.values() for form in each), blocked)
    # Flush even if no page is new: a run that died may have written them without a flush.
    run.storage.flush()
    noted = summaries.read(run, [(row.id, row.name) for row in rows], held, known)
    stuck = {owners[path].id for path in blocked}
    rows = [row for row in rows if row.id not in stuck]
    replaced = [file for row in rows for file in held[row.id] if _is_replaced(file)]
    stamps = many.ask(run.storage, partial(fingerprints.stamp_of_page, run), [r.name for r in rows])
    seen = {
        row.id: fingerprints.written(stamp, [text for _, text in forms[row.id]])
        for row, stamp in zip(rows, stamps, strict=True)
    }
    _commit(run, rows, serials, seen, held, replaced, noted)
    run.ledger.count(pages_written=written, files_withdrawn=len(replaced))
    run.ledger.failed(
        Stage.PUBLISH,
        [
            Problem(problem.reason, f"{path}: {problem.message}", owners[path].name)
            for path, problem in blocked.items()
        ],
    )


def _commit(
    run: Run,
    rows: Sequence[ProjectRecord],
    serials: Mapping[int, int],
    seen: Mapping[int, Mapping[str, Any]],
    held: Mapping[int, Sequence[FileRecord]],
    replaced: Sequence[FileRecord],
    noted: noting.Noted,
) -> None:
    """Note the written pages and their files in the catalog."""
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
        noting.put(connection, noted)
        marks.write_once(connection, FORMATS, forms_of(run))
        outdated.pages_written(connection)
        if any(row.removal_cause is not None and _relist(row, serials[row.id]) for row in rows):
            # Removed projects always have a stale entry, so only this mark says that it changed.
            marks.write(connection, ROOT_INDEX, STALE)


def _relist(row: ProjectRecord, serial: int) -> dict[str, Any]:
    """Return the column to set if the root index does not have the project with this serial."""
    return {} if row.page_on_disk and serial == row.page_serial else {"root_entry_stale": True}


def _is_replaced(file: FileRecord) -> bool:
    """Whether a page had the file with its bytes and now links to the upstream."""
    return bool(file.linked and file.state in PROVEN)
