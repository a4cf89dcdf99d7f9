"""Totals of the mirror, without counting.

Each project's row has the totals of its page, and a mark has the sum of all. Both change in the
transaction that notes the page. All other files are few and have an index. Counting all rows of
`files` would take seconds for each million.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pypimirror.catalog.mapping import prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.prepared import statement
from pypimirror.catalog.marks import HELD
from pypimirror.catalog.mirror_totals import Totals as Totals
from pypimirror.catalog.queries import marks
from pypimirror.catalog.queries.projects import is_in
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import DENIED, OPEN, PROVEN, WORDS, State


def held(connection: Connection) -> Totals:
    """Return the totals of all pages."""
    return marks.read(connection, HELD) or Totals()


def on_page(found: Sequence[FileRecord]) -> dict[str, int]:
    """Return the columns with the totals of a project's page with these files.

    A file that is linked only until its bytes are here counts by its own state.
    """
    own = [file for file in found if not file.linked]
    linked = sum(1 for file in found if file.linked and file.state in _LINKED)
    size = sum(file.size or 0 for file in own)
    return {"held_files": len(own), "held_bytes": size, "linked_files": linked}


#: States of files that a written page links to at the upstream.
_LINKED = PROVEN | {State.LINKED}


#: These columns for a project without a page.
NOTHING: Mapping[str, int] = on_page(())


def change(
    connection: Connection, before: Collection[ProjectRecord], now: Collection[Totals]
) -> None:
    """Update the mark: the projects' rows were `before`, and their pages hold `now`.

    Call it in the transaction that changes the rows.
    """
    then = [
        Totals(row.page_on_disk, row.held_files or 0, row.held_bytes or 0, row.linked_files or 0)
        for row in before
    ]
    sums = [sum(row[n] for row in now) - sum(row[n] for row in then) for n in range(len(Totals()))]
    if any(sums):
        total = Totals(*(a + b for a, b in zip(held(connection), sums, strict=True)))
        marks.write(connection, HELD, total)


def by_state(connection: Connection) -> tuple[dict[str, int], int]:
    """Return the number of files by the word for their state, and the bytes of proven files."""
    found, verified = dict.fromkeys(WORDS, 0), 0
    for state, denied, number, size in prepared.rows(connection, _unfinished(), {}):
        found[DENIED if denied else State(state).label] = number
        verified += int(size or 0)
    whole = held(connection)
    found[State.PUBLISHED.label] = whole.files
    found[State.LINKED.label] = whole.linked
    found[State.WITHDRAWN.label] = prepared.value(connection, _withdrawn(), {}) or 0
    return found, whole.size + verified


@statement
def _unfinished() -> sql.Select[Any]:
    files, has_work = tables.files, tables.projects.c.has_work.is_(True)
    columns = (files.c.id, files.c.state, files.c.size, tables.IS_DENIED.label("denied"))
    query = sql.select(*columns).where(is_in(OPEN))
    # Each has an index.
    found = sql.union(
        query.join_from(files, tables.projects).where(has_work),
        query.where(files.c.next_try.is_not(None)),
        query.where(tables.IS_LEAVING),
    ).subquery()
    # Only proven files: an upstream may claim sizes whose sum is too large for a column.
    proven = sql.case((found.c.state == int(State.VERIFIED), found.c.size))
    by = found.c.state, found.c.denied
    return sql.select(*by, sql.func.count(), sql.func.sum(proven)).group_by(*by)


@statement
def _withdrawn() -> sql.Select[Any]:
    return sql.select(sql.func.count()).select_from(tables.files).where(tables.IS_WITHDRAWN)
