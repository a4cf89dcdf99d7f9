"""`[delete] keep`: which files stay although the upstream deleted them, and how they are marked.

The rules:

1. A file is deleted if its upstream's page no longer offers it, or if no upstream has its project
   page. A quarantined file is not deleted, nor is a file whose new description the selection
   excludes.
2. Only files on a page with bytes of this mirror are kept. If another upstream takes over a
   project, files that only the earlier one had stay with their mark, and their names stay bound to
   their digests.
3. The deletion guard counts each of them, because a page that marks a sound file as deleted is a
   loss.
4. A kept file is marked as yanked, with its deletion as the reason, because installers understand a
   yank. Users who pin the version get it; a fresh resolution does not choose it.
5. If the upstream offers the file again, the mark goes. If the selection excludes the file, it
   leaves.
6. If the setting is switched off, all kept files leave as if they had just been deleted. If it is
   switched on, it also applies to files that the guard has held back.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import KEEP
from pypimirror.catalog.queries import files, marks, projects, withdrawals
from pypimirror.catalog.records import FileRecord, ProjectRecord
from pypimirror.catalog.states import PROVEN, Cause, State
from pypimirror.domain.model import File, ProjectName
from pypimirror.pipeline.discover.decisions.comparing import as_file
from pypimirror.pipeline.run import Run
from pypimirror.select.metadata import Metadata


def follow(run: Run) -> None:
    """Apply a changed `[delete] keep` to the files that are kept, or that are about to leave."""
    keep = run.config.delete.keep
    with run.catalog.read() as connection:
        if marks.is_set(connection, KEEP) == keep:
            return
    with run.catalog.write() as connection:
        if keep:
            withdrawals.keep_back(connection)
            marks.write(connection, KEEP, "")
        else:
            withdrawals.look_at_kept(connection)
            marks.clear(connection, KEEP)


def unwanted(
    run: Run,
    project: str,
    offered: Sequence[File],
    held: Mapping[str, FileRecord],
    known_metadata: Mapping[str, Metadata],
) -> set[str]:
    """Return the names of held files that are not `offered` and that the selection excludes.

    The held files compete with the offered ones here, but never push an offered file out.
    """
    if not run.config.delete.keep:
        return set()
    names = {file.filename for file in offered}
    kept = [as_file(old) for name, old in held.items() if name not in names and _is_here(old)]
    if not kept:
        return set()
    choice = run.selection.choose(ProjectName(project), [*offered, *kept], run.now, known_metadata)
    chosen = zip(kept, choice.selected[len(offered) :], strict=True)
    return {file.filename for file, is_in in chosen if not is_in}


def _is_here(old: FileRecord) -> bool:
    """Whether the verified bytes of a file are here."""
    return State(old.state) in PROVEN


def deleted(run: Run, connection: Connection, rows: Iterable[ProjectRecord]) -> None:
    """Handle mirrored projects that no upstream has a page of any more."""
    rows = list(rows)
    keep = run.config.delete.keep
    known = [row for row in rows if keep and row.kept is not None]
    ids = {row.id for row in known}
    gone = [row.id for row in rows if row.id not in ids]
    projects.set_gone(connection, gone, Cause.UPSTREAM)
    if keep:
        withdrawals.keep_back(connection, gone)
    _still_kept(run, connection, known)


def _still_kept(run: Run, connection: Connection, rows: Collection[ProjectRecord]) -> None:
    """Update projects that were kept before: drop the files that the selection now excludes."""
    out: list[int] = []
    held: dict[int, dict[str, FileRecord]] = {row.id: {} for row in rows}
    for file in files.of_projects(connection, list(held)) if held else ():
        held[file.project_id][file.filename] = file
    for row in rows:
        left_out = unwanted(run, row.name, (), held[row.id], {})
        out += [held[row.id][name].id for name in left_out]
    withdrawals.set_gone(connection, out, Cause.SELECTION)
    same = {"needs_fetch": False, "checked_at": run.now, "selection": run.selection.digest}
    projects.change(connection, [{"id": row.id, **same} for row in rows])


def mark(yanked: str | None, since: float | None) -> str | None:
    """Return the yank reason for a page: `yanked`, or a note on the deletion at the time
    `since`.
    """
    if since is None:
        return yanked
    deleted_on = (
        f"deleted upstream; kept here since {time.strftime('%Y-%m-%d', time.gmtime(since))}"
    )
    return f"{deleted_on}; it was yanked before: {yanked}" if yanked else deleted_on
