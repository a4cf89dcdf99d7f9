"""Publish: withdraw files, guard against mass deletions, and remove bytes after the grace period.

The guard counts everything that a run would withdraw, before anything is withdrawn. It counts
losses that the upstream causes in any way: files that it dropped, and files with new claims that
the selection excludes (another yank, upload time, requires-python, size, digest or core metadata).
It does not count files that the configuration deselects.

It does not stop a quarantine by the upstream (`quarantined`): such files must not be offered. Their
bytes stay here, and they are offered again when the quarantine ends. If the guard would refuse so
many at once, they are reported (`quarantined-upstream`), and the run is incomplete. A file that is
quarantined and later no longer offered counts as a loss at that later time, and its grace period
begins when the guard accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from msgspec import Struct

from pypimirror.catalog.queries import doubts, files, projects, totals, withdrawals
from pypimirror.catalog.records import LeavingFile, ProjectFile
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline.discover.decisions import losses
from pypimirror.pipeline.publish import removing, spellings
from pypimirror.pipeline.run import Run

_EXAMPLES = 3
_OR_MARKED = " or marked as deleted"


def withdraw(run: Run, *, as_if_complete: bool = False) -> Problem | None:
    """Withdraw the files that are no longer offered. Return the reason if the guard refuses.

    Deleted files that are kept are marked instead. Files that others replace stay until the others
    are here (`pypimirror.pipeline.discover.decisions.losses`); `as_if_complete` assumes that they
    are.

    Each chunk of files has its own transaction. A run that dies between two chunks has withdrawn
    less. The rest was within the limits, and still is.
    """
    with run.catalog.read() as connection:
        if not withdrawals.is_any(connection):
            return None
    if (withheld := _withheld(run)) is not None:  # they leave their pages in any case
        run.ledger.failed(Stage.PUBLISH, [withheld])
    refusal = guard(run)
    if refusal is None:
        for rows in all_leaving(run):
            _withdraw(run, rows if as_if_complete else _without_waiting(run, rows))
        with run.catalog.write() as connection:
            withdrawals.let_go(connection, run.now)
    return refusal


def _without_waiting(run: Run, rows: list[LeavingFile]) -> list[LeavingFile]:
    """Leave out replaced files of projects whose new files are not here yet."""
    replaced = {row.project_id for row in rows if row.removal_cause == Cause.REPLACED}
    waiting = losses.waiting(run, replaced) if replaced else set()
    return [
        row for row in rows if row.removal_cause != Cause.REPLACED or row.project_id not in waiting
    ]


def all_leaving(run: Run) -> Iterator[list[LeavingFile]]:
    """Yield the files that are no longer offered and not yet withdrawn, in chunks."""
    last = 0
    while True:
        with run.catalog.read() as connection:
            rows = withdrawals.next_leaving(connection, last)
        if not rows:
            return
        yield rows
        last = rows[-1].id


def all_expired(run: Run) -> Iterator[list[ProjectFile]]:
    """Yield the files whose grace period is over and whose bytes are still here, in chunks."""
    before = run.now - run.config.delete.grace.total_seconds()
    with run.catalog.read() as connection:
        first = withdrawals.first_withdrawn(connection)
    if first is None or first > before:
        return
    last = (0.0, 0)
    while True:
        with run.catalog.read() as connection:
            rows = withdrawals.next_expired(connection, before, last)
        if not rows:
            return
        yield rows
        last = (rows[-1].withdrawn_at or 0.0, rows[-1].id)


def _withdraw(run: Run, rows: Sequence[LeavingFile]) -> None:
    """Withdraw a chunk of files, and mark those that are kept."""
    kept_back = [row for row in rows if row.removal_cause == Cause.KEPT]
    rows = [row for row in rows if row.removal_cause != Cause.KEPT]
    listed = [row for row in rows if is_listed(row)]
    held_here = {row.id for row in rows if row.state in PROVEN or _is_in_place(run, row)}
    for row in rows:
        if row.state not in PROVEN:
            run.workspace.discard(row.id)
    kept = held_here | {row.id for row in listed}
    moved = [
        {
            "id": row.id,
            "withdrawn_at": run.now if row.id in held_here else row.withdrawn_at,
            "kept": None,
        }
        for row in rows
        if row.id in kept
    ]
    with run.catalog.write() as connection:
        # A file that was to be held again and never came is still linked on its page.
        awaited = [{"id": row.id} for row in listed if row.linked and row.state in DUE]
        files.move(connection, State.LINKED, awaited, run.id)
        files.move(connection, State.WITHDRAWN, moved, run.id)
        withdrawals.forget(connection, (row.id for row in rows if row.id not in kept))
        withdrawals.mark_kept(connection, [row.id for row in kept_back], run.now)
        projects.touch(connection, {row.project_id for row in (*listed, *kept_back)})
    run.ledger.count(files_withdrawn=len(listed))


def is_listed(row: LeavingFile) -> bool:
    """Whether a page has this file: the same condition as `files.is_listed` in SQL."""
    return bool(row.linked or row.state in PROVEN)


def guard(run: Run) -> Problem | None:
    """Return why so many files may not be withdrawn at once; None if they may.

    The share counts only if several projects lose files: a single deleted project is normal, and in
    a small mirror it may be a third of everything. But if nothing would be left, the upstream's
    address is probably wrong.
    """
    loss = _loss(run, withdrawals.LOSSES)
    if loss is None:
        return None
    return Problem(
        Reason.DELETION_GUARD,
        f"the upstream dropped {loss.amount}, or changed its claims so that "
        f"[select] excludes them, of {loss.examples}, which is more than "
        f"[delete] allows ({_limits(run)}); "
        f"nothing was removed{_OR_MARKED * run.config.delete.keep}. If that is right, raise the "
        "limits for one run: "
        "PYPIMIRROR_DELETE__MAX_SHARE=1 PYPIMIRROR_DELETE__MAX_COUNT=1000000000",
    )


def _withheld(run: Run) -> Problem | None:
    """Return a problem if the upstream newly quarantined more files than the limits allow."""
    loss = _loss(run, frozenset({Cause.QUARANTINE}))
    if loss is None:
        return None
    return Problem(
        Reason.QUARANTINED_UPSTREAM,
        f"the upstream has quarantined {loss.amount}, of {loss.examples}, which is more than "
        f"[delete] lets it delete ({_limits(run)}). They are no longer offered, because it may "
        "have found malware in them. Their bytes stay here, and are offered again when the "
        "quarantine ends. Ask the upstream whether this is intended",
        loss.most,  # a run keeps one failure for each project and stage; the guard's has no project
    )


class _Loss(Struct, frozen=True):
    """A loss of files on pages that exceeds the limits."""

    amount: str  #: the number of files, and of how many
    examples: str  #: the number of projects, and those with the largest losses
    most: str  #: the project with the largest loss


def _loss(run: Run, causes: Collection[Cause]) -> _Loss | None:
    """Return the loss by these causes, or None if it is within the limits."""
    limits = run.config.delete
    number = found = 0
    most: list[tuple[str, int]] = []
    with run.catalog.read() as connection:
        for name, dropped in withdrawals.dropped(connection, causes):
            number, found = number + dropped, found + 1
            most = sorted([*most, (name, dropped)], key=lambda each: -each[1])[:_EXAMPLES]
        on_pages = totals.held(connection)
        withheld = withdrawals.count_withheld(connection)
    held = on_pages.files + on_pages.linked + withheld
    by_count = number > limits.max_count
    by_share = number > limits.max_share * held
    if not by_count and not (by_share and (found > 1 or _is_everything(run, number, held))):
        return None
    examples = ", ".join(f"{name} ({dropped})" for name, dropped in most)
    examples += ", …" if found > _EXAMPLES else ""
    return _Loss(f"{number} of {held} files", f"{found} projects ({examples})", most[0][0])


def _limits(run: Run) -> str:
    limits = run.config.delete
    return f"max_share = {limits.max_share}, max_count = {limits.max_count}"


def _is_everything(run: Run, number: int, held: int) -> bool:
    """Whether no file is left on any page after these withdrawals."""
    if number < held:
        return False
    with run.catalog.read() as connection:
        return not withdrawals.any_stays(connection)


def remove_expired(run: Run, pause: Callable[[], None]) -> None:
    """Remove the bytes of files that were withdrawn longer ago than the grace period.

    `pause` is called when nothing is half done, and no rows are known.
    """
    for rows in all_expired(run):
        of_others = spellings.let_go(run, rows)
        rows = [
            row
            for row in rows
            if row.id not in of_others
            and removing.remove(run, Stage.PUBLISH, _paths(row), row.project, row.filename)
        ]
        run.storage.flush()  # after a power cut, bytes that come back would stay for ever
        with run.catalog.write() as connection:
            files.change(connection, ({"id": row.id, **files.REMOVED} for row in rows))
            doubts.look_again(connection, {row.project_id for row in rows})
        pause()


def _is_in_place(run: Run, row: LeavingFile) -> bool:
    """Whether the place of a file has bytes that this mirror proved and published before.

    Only these must be removed later. Other bytes in the place do not belong to this mirror.
    """
    fetched = row.state == State.FETCHED and row.proof is not None
    return fetched and not run.workspace.is_staged(row.id) and run.storage.has(_path(row))


def _paths(row: ProjectFile) -> list[str]:
    """Return the paths to remove for a file. The file itself comes last."""
    beside = [METADATA_SUFFIX]
    if row.provenance_sha256 is not None:
        beside.append(PROVENANCE_SUFFIX)
    return [*(_path(row) + end for end in beside), _path(row)]


def _path(row: LeavingFile | ProjectFile) -> str:
    return file_path(row.project, row.filename, row.location)
