"""What the upstream deletes and `[delete] keep` has stay: which files, and with which mark.

The rules:

1. Deleted is what its upstream's page does not offer any more, or what no upstream has a page of.
   Not what is quarantined, nor what is described so that the selection leaves it out.
2. Only what is on a page with bytes of this mirror is kept. Where another upstream takes a project
   over, what only the earlier one had stays with its mark, and its names stay bound to its digests.
3. The deletion guard counts it, since every page that loses its mark of being sound is a loss.
4. It is marked as yanked, with the reason that it was deleted: that is what installers know. Who
   pins a version gets it, and a fresh resolution does not choose it.
5. What the upstream offers again loses the mark. What the selection leaves out goes.
6. Switched off, all that was kept leaves as if it had just been deleted. Switched on, it also holds
   for what the guard has held back.
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
from pypimirror.pipeline.discover.decisions.held import as_file
from pypimirror.pipeline.run import Run
from pypimirror.select.metadata import Metadata


def follow(run: Run) -> None:
    """Have a changed configuration take effect on what is kept, or about to go."""
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
    about: Mapping[str, Metadata],
) -> set[str]:
    """Return files that are here and not `offered`, and that the selection leaves out.

    They are held against what is offered, and nothing that is offered against them.
    """
    if not run.config.delete.keep:
        return set()
    names = {file.filename for file in offered}
    kept = [as_file(old) for name, old in held.items() if name not in names and _is_here(old)]
    if not kept:
        return set()
    choice = run.selection.choose(ProjectName(project), [*offered, *kept], run.now, about)
    chosen = zip(kept, choice.selected[len(offered) :], strict=True)
    return {file.filename for file, is_in in chosen if not is_in}


def _is_here(old: FileRecord) -> bool:
    return State(old.state) in PROVEN


def deleted(run: Run, connection: Connection, rows: Iterable[ProjectRecord]) -> None:
    """Deal with mirrored projects that no upstream has a page of any more."""
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
    """Note that projects are where they were; of their files, what the selection says now."""
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
    """Return the reason of a yank that a page tells of a file, kept `since` a time or not."""
    if since is None:
        return yanked
    told = f"deleted upstream; kept here since {time.strftime('%Y-%m-%d', time.gmtime(since))}"
    return f"{told}; it was yanked before: {yanked}" if yanked else told
