"""Publish, the part on removals: withdrawing files, the deletion guard, and the bytes at last.

The guard sees everything that a run would withdraw before any of it is withdrawn. It looks at what
is lost by the upstream's doing, whichever way that takes: what it dropped, and what it describes
otherwise so that the selection leaves it out (another yank, upload time, requires-python, size,
digest or core metadata). Not at what the configuration deselects.

It does not stop what the upstream says it withholds for now (`quarantined`): that must not be
offered, its bytes stay here, and it is offered again once that ends. But so much of it at once that
the guard would refuse it is told (`quarantined-upstream`), and the run is incomplete. What it
withheld and then offers no more is lost only then: it counts as what leaves a page, and its grace
begins when the guard lets go of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

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
    """Take back the files that are not offered any more, unless the guard refuses: then say why.

    What is kept though it is deleted is marked instead. What others take the place of stays until
    these are here (`pypimirror.pipeline.discover.decisions.losses`), which `as_if_complete` takes
    for granted.

    They go in chunks, each in a transaction of its own. A run that dies between two of them has
    withdrawn less; what is left was within the limits, and is so still.
    """
    if (withheld := _withheld(run)) is not None:  # it is off its pages, whatever the guard says
        run.ledger.failed(Stage.PUBLISH, [withheld])
    refusal = guard(run)
    if refusal is None:
        for rows in all_leaving(run):
            _withdraw(run, rows if as_if_complete else _without_waiting(run, rows))
        with run.catalog.write() as connection:
            withdrawals.let_go(connection, run.now)
    return refusal


def _without_waiting(run: Run, rows: list[LeavingFile]) -> list[LeavingFile]:
    replaced = {row.project_id for row in rows if row.removal_cause == Cause.REPLACED}
    waiting = losses.waiting(run, replaced) if replaced else set()
    return [
        row for row in rows if row.removal_cause != Cause.REPLACED or row.project_id not in waiting
    ]


def all_leaving(run: Run) -> Iterator[list[LeavingFile]]:
    """Yield the files that are not offered any more and not yet withdrawn, in chunks."""
    last = 0
    while True:
        with run.catalog.read() as connection:
            rows = withdrawals.next_leaving(connection, last)
        if not rows:
            return
        yield rows
        last = rows[-1].id


def all_expired(run: Run) -> Iterator[list[ProjectFile]]:
    """Yield the files whose grace is over and whose bytes are here, in chunks."""
    before = run.now - run.config.delete.grace.total_seconds()
    last = (0.0, 0)
    while True:
        with run.catalog.read() as connection:
            rows = withdrawals.next_expired(connection, before, last)
        if not rows:
            return
        yield rows
        last = (rows[-1].withdrawn_at or 0.0, rows[-1].id)


def _withdraw(run: Run, rows: Sequence[LeavingFile]) -> None:
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
        # What was to be held again, and never came, still stands on its page as linked.
        awaited = [{"id": row.id} for row in listed if row.linked and row.state in DUE]
        files.move(connection, State.LINKED, awaited, run.id)
        files.move(connection, State.WITHDRAWN, moved, run.id)
        withdrawals.forget(connection, (row.id for row in rows if row.id not in kept))
        withdrawals.mark_kept(connection, [row.id for row in kept_back], run.now)
        projects.touch(connection, {row.project_id for row in (*listed, *kept_back)})
    run.ledger.count(files_withdrawn=len(listed))


def is_listed(row: LeavingFile) -> bool:
    """Say of a row of `leaving.next_leaving` what `files.is_listed` says to the database."""
    return bool(row.linked or row.state in PROVEN)


def guard(run: Run) -> Problem | None:
    """Return why this much may not be withdrawn at once, or None.

    A share means something only across projects: that one project is deleted is daily life, and
    in a small mirror it may be a third of everything. But when nothing at all would be left, the
    address is wrong more often than the mirror is.
    """
    loss = _loss(run, withdrawals.LOSSES)
    if loss is None:
        return None
    return Problem(
        Reason.DELETION_GUARD,
        f"the upstream dropped {loss.amount}, or says other things of them so that "
        f"[select] leaves them out, of {loss.examples}, which is more than "
        f"[delete] allows ({_limits(run)}); "
        f"nothing was removed{_OR_MARKED * run.config.delete.keep}. If that is right, raise the "
        "limits for one run: "
        "PYPIMIRROR_DELETE__MAX_SHARE=1 PYPIMIRROR_DELETE__MAX_COUNT=1000000000",
    )


def _withheld(run: Run) -> Problem | None:
    """Return what to tell of files that the upstream withholds from now on, if it is that much."""
    loss = _loss(run, frozenset({Cause.QUARANTINE}))
    if loss is None:
        return None
    return Problem(
        Reason.QUARANTINED_UPSTREAM,
        f"the upstream has quarantined {loss.amount}, of {loss.examples}, which is more than "
        f"[delete] lets it delete ({_limits(run)}). They are offered no more, since it may have "
        "found malware in them; their bytes stay here, and are offered again when it ends that. "
        "Ask the upstream whether this is meant",
        loss.most,  # a run keeps one failure of each project and stage, and the guard's is of none
    )


@dataclass(frozen=True)
class _Loss:
    """What leaves pages, and is more than the limits allow."""

    amount: str  #: how many files, of how many
    examples: str  #: how many projects, and those that lose most
    most: str  #: the project that loses most


def _loss(run: Run, causes: Collection[Cause]) -> _Loss | None:
    """Return what leaves by these causes, or None where that is within the limits."""
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
    """Whether nothing is left on any page once these are withdrawn."""
    if number < held:
        return False
    with run.catalog.read() as connection:
        return not withdrawals.any_stays(connection)


def remove_expired(run: Run) -> None:
    """Remove the bytes of files that were withdrawn longer ago than the grace period."""
    for rows in all_expired(run):
        of_others = spellings.let_go(run, rows)
        rows = [
            row
            for row in rows
            if row.id not in of_others
            and removing.remove(run, Stage.PUBLISH, _paths(row), row.project, row.filename)
        ]
        run.storage.flush()  # bytes that came back would stay for ever
        with run.catalog.write() as connection:
            files.change(connection, ({"id": row.id, **files.REMOVED} for row in rows))
            doubts.look_again(connection, {row.project_id for row in rows})


def _is_in_place(run: Run, row: LeavingFile) -> bool:
    """Whether this mirror's own bytes are in a file's place, which were proven and on a page once.

    They would never be removed otherwise; all else in its place is not this mirror's.
    """
    fetched = row.state == State.FETCHED and row.proof is not None
    return fetched and not run.workspace.is_staged(row.id) and run.storage.has(_path(row))


def _paths(row: ProjectFile) -> list[str]:
    """Return what is to be removed of a file, itself last."""
    beside = [METADATA_SUFFIX]
    if row.provenance_sha256 is not None:
        beside.append(PROVENANCE_SUFFIX)
    return [*(_path(row) + end for end in beside), _path(row)]


def _path(row: LeavingFile | ProjectFile) -> str:
    return file_path(row.project, row.filename, row.location)
