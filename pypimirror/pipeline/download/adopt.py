"""Download: take over bytes that are in place already, instead of fetching them.

A catalog that was lost, or restored from a backup, wants files that are still on disk. The file in
the place of a wanted file is hashed and compared with the claims. If it matches, it becomes
`fetched` and goes on like a download; it stays in place, so that old pages keep working. If it does
not match, it stays until proven bytes replace it, and then goes to quarantine. Files without a
claimed digest cannot be recognised, so they are fetched.

`pypimirror adopt` is a sync that does this and fetches no file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.queries.work import tries
from pypimirror.catalog.records import ProjectFile
from pypimirror.catalog.states import State
from pypimirror.domain.layout import file_path
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline.audit import unknown_files
from pypimirror.pipeline.context.batch import Batch, Observed
from pypimirror.pipeline.download.claims import claims_of
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify.quarantine import set_aside
from pypimirror.storage import many
from pypimirror.verify.digests import Claims, check
from pypimirror.verify.protocol import Check, Checked

#: Results that go into the catalog in one transaction.
_COMMIT = 500


def adopt(run: Run, sync: Callable[[Run], None]) -> None:
    """Take over all matching files. Report files here that no upstream offers."""
    run = replace(run, fetches=False)
    sync(run)
    if not run.ledger.unreachable:
        run.ledger.failed(Stage.VERIFY, unknown_files.find(run, unheld=False))


def take_over(run: Run, batch: Batch, files_of: Iterable[ProjectFile]) -> bool:
    """Take over bytes that are in place already, for the due ones of these files. Return whether
    there are such bytes.
    """
    found = list(_due_and_there(run, batch, files_of))
    if not found:
        return False
    rows = {row.id: row for row, _ in found}
    run.ledger.begin(Stage.DOWNLOAD, len(rows))
    jobs = (job for row, size in found if (job := _job(run, batch, row, size)) is not None)
    for chunk in projects.chunks(run.hashed(jobs), _COMMIT):
        _take_in(run, batch, rows, chunk)
    return True


def leave(run: Run, batch: Batch, due: Collection[int]) -> None:
    """Count the files that would have to be fetched, and leave them to the next sync."""
    wrong = [batch.in_the_way[number][2] for number in due if number in batch.in_the_way]
    run.ledger.count(files_missing=len(due) - len(wrong))
    run.ledger.failed(Stage.DOWNLOAD, wrong)


def stamp_of(run: Run, row: ProjectFile) -> int | None:
    """Return the `stamps.stamp` of a fetched file, in staging or in place. None: it is missing."""
    staged = run.workspace.staged_stamp(row.id)
    return stamp_of_placed(run, row) if staged is None else staged


def stamp_of_placed(run: Run, row: ProjectFile) -> int | None:
    """Return the `stamps.stamp` of a file in place. None: it is missing."""
    try:
        return run.storage.stamp(_place(row))
    except OSError:
        return None


def clear_way(run: Run, batch: Batch, row: ProjectFile) -> None:
    """Put aside other bytes in the place of a file. No page links to them any more."""
    if (found := batch.in_the_way.pop(row.id, None)) is not None:
        set_aside(run, row, partial(run.storage.take, _place(row)), *found)


def _due_and_there(
    run: Run, batch: Batch, rows: Iterable[ProjectFile]
) -> Iterator[tuple[ProjectFile, int]]:
    """Yield the due files that have a claimed digest and bytes in their place, with the size of
    these bytes.
    """
    rows = [row for row in rows if tries.is_due_at(row, None)]
    if run.config.mirror.layout == "project":  # in a first sync, most projects have no file
        names = list(dict.fromkeys(row.project for row in rows))
        places = [f"packages/{name}" for name in names]
        have = many.ask(run.storage, run.storage.has_below, places)
        batch.bare.update(name for name, has in zip(names, have, strict=True) if not has)
        rows = [row for row in rows if row.project not in batch.bare]
    rows = [row for row in rows if claims_of(row).digests]
    sizes = many.ask(run.storage, run.storage.size, list(map(_place, rows)))
    for row, size in zip(rows, sizes, strict=True):
        if size is not None:
            yield row, size


def _job(run: Run, batch: Batch, row: ProjectFile, size: int) -> Check | None:
    """Return the job that hashes the bytes in place; None if their size is already wrong."""
    claims = claims_of(row)
    if wrong := check(Claims({}, claims.size), size, {}):
        batch.in_the_way[row.id] = {}, size, _named(row, wrong)
        run.reporter.advance(Stage.DOWNLOAD, things=1)
        return None
    digests = tuple(claims.digests)
    return Check(row.id, _place(row), row.project, row.filename, size, digests=digests)


def _take_in(
    run: Run, batch: Batch, rows: dict[int, ProjectFile], results: Sequence[Checked]
) -> None:
    """Note the results: files that match are fetched, others are in the way."""
    taken = []
    for result in results:
        row = rows[result.id]
        if result.problem is not None:  # nothing is known about the bytes
            run.reporter.note("warning", result.problem.message)
        elif wrong := check(claims_of(row), result.size, result.digests):
            batch.in_the_way[row.id] = result.digests, result.size, _named(row, wrong)
        else:
            sha256 = bytes.fromhex(result.digests["sha256"])
            batch.observed[row.id] = Observed(result.size, sha256, stamp=result.stamp)
            taken.append({"id": row.id})
    with run.catalog.write() as connection:
        files.move(connection, State.FETCHED, taken, run.id)
    run.ledger.count(files_reused=len(taken), bytes_checked=sum(result.size for result in results))
    run.reporter.advance(Stage.DOWNLOAD, things=len(results))


def _named(row: ProjectFile, problem: Problem) -> Problem:
    message = f"{_place(row)}: the file there {problem.message}; the next sync fetches it"
    return Problem(problem.reason, message, row.project, row.filename, row.url)


def _place(row: ProjectFile) -> str:
    return file_path(row.project, row.filename, row.location)
