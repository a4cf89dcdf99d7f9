"""Download: fetch wanted files to staging and hash them while they arrive.

Files move from wanted, failed or quarantined to fetched, or to failed. If the bytes differ from the
claims, they move to quarantined. Bytes that an earlier run fetched are hashed again, because they
may not have survived the end of that run; lost ones are fetched again. If the best link of a file
fails, all its other places are tried (`pipeline.download.candidates`) before the file counts as
failed. Bad bytes from a place are put aside.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import msgspec

from pypimirror.catalog.queries import files, runs
from pypimirror.catalog.queries.work import tries
from pypimirror.catalog.records import ProjectFile
from pypimirror.catalog.states import State
from pypimirror.domain.layout import file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.domain.sizes import number_of
from pypimirror.download.files.resume import WORTH_A_NOTE
from pypimirror.download.protocol import FetchFile, FileResult, Job
from pypimirror.pipeline import backoff
from pypimirror.pipeline.asked.leaving import Leaving
from pypimirror.pipeline.context.batch import Batch, Observed
from pypimirror.pipeline.download import adopt, candidates
from pypimirror.pipeline.download.claims import claims_of
from pypimirror.pipeline.publish import presence
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.verify.quarantine import set_aside
from pypimirror.verify.digests import check
from pypimirror.verify.protocol import Check

#: Most results in one transaction, and most seconds that a result waits for it.
_COMMIT = 500
_PATIENCE = 2.0

#: Connection failures in a row after which a host counts as down.
_ENOUGH = 100
_OUTAGE = frozenset({Reason.CONNECTION, Reason.TIMEOUT})

_PROVEN_BAD = frozenset({Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH})


def download(run: Run, batch: Batch) -> None:
    """Fetch the files of these projects that are due."""
    rows = _read(run, batch)
    # Each of these looks at all rows. In most batches, none of them changes any.
    if presence.take_back(run, rows):
        rows = _read(run, batch)
    if adopt.take_over(run, batch, rows):
        rows = _read(run, batch)
    if _look_again(run, batch, rows):
        rows = _read(run, batch)
    leaving = Leaving(run, rows)
    due = leaving.without({row.id: row for row in rows if _is_due(run, row)})
    if not run.fetches:
        adopt.leave(run, batch, due)
        return
    run.ledger.begin(Stage.DOWNLOAD, len(due), sum(row.size or 0 for row in due.values()))
    if run.ledger.is_cut_off(due) or not due:
        return
    run.workspace.take_parts((), (n for n, row in due.items() if _may_continue(row)))
    due = _with_room(run, due)
    if not due:
        return
    failed: dict[int, FileResult] = {}
    try:
        first = (
            candidates.first(run, batch, row) for row in due.values() if not leaving.leaves(row)
        )
        _fetch(run, batch, due, first, failed)
        _try_elsewhere(run, batch, due, failed)
    finally:
        run.room.settle(due)
    for chunk in _chunks(failed.values()):
        _give_up(run, due, chunk)


def _read(run: Run, batch: Batch) -> list[ProjectFile]:
    """Return all files of these projects. What failed in this stage before counts no longer."""
    with run.catalog.write() as connection:
        rows = files.with_projects(connection, batch.projects)
        names = sorted({row.project for row in rows if _is_due(run, row)})
        runs.clear_failures(connection, run.id, Stage.DOWNLOAD, names)
    return rows


def _is_due(run: Run, row: ProjectFile) -> bool:
    """Whether a file must be fetched in this run."""
    return tries.is_due_at(row, run.due_at) and (run.retry is None or run.retry.wants(row))


def _may_continue(row: ProjectFile) -> bool:
    """Whether an earlier transfer of a file may have left a part that is worth continuing."""
    return row.size is None or row.size >= WORTH_A_NOTE


def _with_room(run: Run, due: Mapping[int, ProjectFile]) -> dict[int, ProjectFile]:
    """Return the files that fit on the disk. The others stay wanted, and the run reports it.

    The run goes on: it fetches other files, publishes pages and removes bytes, which may make room.
    """
    taken, problem = run.room.claim({row.id: _to_come(run, row) for row in due.values()})
    run.ledger.no_room = run.ledger.no_room or problem
    if problem is not None and not taken:
        run.ledger.hindered(problem)
    return {number: row for number, row in due.items() if number in taken}


def _to_come(run: Run, row: ProjectFile) -> int:
    """Return how many bytes a file will still need on disk.

    A file above the size limit needs none: it will be refused and must not block others.
    """
    size = row.size or 0
    if size > run.config.download.max_file_size:
        return 0
    return size - min(size, run.workspace.staged_size(row.id)) if size >= WORTH_A_NOTE else size


def fetch_elsewhere(
    run: Run, batch: Batch, bad: Mapping[int, tuple[ProjectFile, Problem]]
) -> set[int]:
    """Fetch files whose bytes were proven bad from their next places. Return the ids of fetched
    files.

    They were `quarantined`, and are `fetched` now. No place is left for the others.
    """
    if not run.fetches:
        return set()
    due = {number: row for number, (row, _) in bad.items()}
    failed = {n: FileResult(n, problem=problem) for n, (_, problem) in bad.items()}
    _try_elsewhere(run, batch, due, failed)
    return due.keys() - failed.keys()


def _try_elsewhere(
    run: Run, batch: Batch, due: Mapping[int, ProjectFile], failed: dict[int, FileResult]
) -> None:
    """Try the other places of failed files, until each is fetched or has none left."""
    for place, jobs in candidates.further(run, batch, due, failed):
        before = dict(failed)
        run.reporter.note("info", f"trying {number_of(len(jobs), 'file')} at {place}")
        for retried in jobs:
            del failed[retried.id]
        _fetch(run, batch, due, jobs, failed)
        for number in before.keys() & batch.observed.keys():
            cause, url = before[number].problem, batch.observed[number].url
            why = cause.message if cause is not None else ""
            run.reporter.note("warning", f"{due[number].filename}: {why} Taken from {url}")
        # If several places fail, report the owner's answer.
        failed.update((i, before[i]) for i in failed.keys() & before.keys())
        # Files that were not tried keep their earlier failure.
        failed.update((j.id, before[j.id]) for j in jobs if j.id not in batch.observed)


def _fetch(
    run: Run,
    batch: Batch,
    due: Mapping[int, ProjectFile],
    jobs: Iterable[FetchFile],
    failed: dict[int, FileResult],
) -> None:
    """Do jobs: commit fetched files, collect failures, and put bad bytes aside.

    If a host goes down, no more files are fetched from it; they wait for the next run. If the disk
    is full or fails, the run ends after it has noted the results so far.
    """
    lines = Lines()
    wanted = (job for job in jobs if lines.is_open(job))
    for chunk in _chunks(run.fetch(wanted, partial(_take_room, run))):
        fetched = []
        broken: Problem | None = None  # the disk
        for result in chunk:
            assert isinstance(result, FileResult)
            lines.heard(result)
            if result.problem is None:
                fetched.append(result)
            else:
                failed[result.id] = result
                if result.problem.reason in _PROVEN_BAD:
                    staged, row = run.workspace.take_staged(result.id), due[result.id]
                    problem = _problem(row, result)
                    set_aside(run, row, staged, result.digests, result.size, problem)
                elif result.problem.reason is Reason.DISK:
                    broken = _problem(due[result.id], result)
        with run.catalog.write() as connection:
            files.move(connection, State.FETCHED, [{"id": r.id} for r in fetched], run.id)
        for result in fetched:
            sha256 = bytes.fromhex(result.digests["sha256"])
            metadata = bytes.fromhex(result.metadata_sha256)
            stamp = run.workspace.staged_stamp(result.id)
            batch.observed[result.id] = Observed(result.size, sha256, result.url, stamp, metadata)
        run.ledger.count(
            files_downloaded=len(fetched),
            bytes_downloaded=sum(result.transferred for result in chunk),
        )
        run.reporter.advance(Stage.DOWNLOAD, things=len(fetched))
        run.room.settle(result.id for result in chunk)
        if broken := broken or run.room.shortage():
            raise StoppedError(broken)
    run.ledger.failed(Stage.DOWNLOAD, lines.problems())


def _take_room(run: Run, job: Job, size: int) -> None:
    """Count received bytes. Raises `StoppedError` if too little room is left."""
    run.room.received(job.id, size)
    if problem := run.room.shortage():
        raise StoppedError(problem)


class Lines:
    """Tracks which hosts still deliver. A host that fails too often in a row is not asked any
    more.
    """

    def __init__(self) -> None:
        self._host_of: dict[int, str] = {}  # of jobs under way
        self._outages: dict[str, int] = {}  # in a row
        self._broken: dict[str, Problem] = {}
        self._left_out: Counter[str] = Counter()

    def is_open(self, job: FetchFile) -> bool:
        """Whether the host of a job is still asked."""
        host = job.urls[0].split("/", 3)[2]
        if host in self._broken:
            self._left_out[host] += 1
            return False
        self._host_of[job.id] = host
        return True

    def heard(self, result: FileResult) -> None:
        """Note the result of a job."""
        host = self._host_of.pop(result.id)
        if result.problem is None or result.problem.reason not in _OUTAGE:
            self._outages.pop(host, None)
            return
        self._outages[host] = self._outages.get(host, 0) + 1
        if self._outages[host] >= _ENOUGH:
            self._broken[host] = result.problem

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each host that is down, with the number of files that wait."""
        for host, number in self._left_out.items():
            last = self._broken[host]
            message = (
                f"{_ENOUGH} files in a row could not be fetched from {host}, so {number} more "
                f"wait for the next run; the last: {last.message}"
            )
            yield Problem(last.reason, message, url=last.url)


def _give_up(run: Run, due: Mapping[int, ProjectFile], results: Sequence[FileResult]) -> None:
    """Record the files that no place could deliver."""
    problems = [_problem(due[result.id], result) for result in results]
    bad: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for result, problem in zip(results, problems, strict=True):
        columns = backoff.after_failure(due[result.id], problem, run.id, run.now)
        (bad if problem.reason in _PROVEN_BAD else rest).append({"id": result.id, **columns})
    with run.catalog.write() as connection:
        files.move(connection, State.QUARANTINED, bad, run.id)
        files.move(connection, State.FAILED, rest, run.id)
    run.ledger.count(files_quarantined=len(bad))
    run.ledger.failed(Stage.DOWNLOAD, problems)
    run.reporter.advance(Stage.DOWNLOAD, things=len(results))


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Split results into chunks that are small and do not wait long."""
    chunk: list[Any] = []
    deadline = time.monotonic() + _PATIENCE
    for item in items:
        chunk.append(item)
        if len(chunk) == _COMMIT or time.monotonic() > deadline:
            yield chunk
            chunk = []
            deadline = time.monotonic() + _PATIENCE
    if chunk:
        yield chunk


def _problem(row: ProjectFile, result: FileResult) -> Problem:
    assert result.problem is not None
    return msgspec.structs.replace(
        result.problem, project=row.project, file=row.filename, attempts=result.attempts
    )


def _look_again(run: Run, batch: Batch, rows: Iterable[ProjectFile]) -> bool:
    """Hash again the files that an earlier run fetched but did not verify, and drop lost ones.
    Return whether there were such files.

    Their bytes are in staging, or already in place if that run ended in between.
    """
    unknown = {row.id: row for row in rows if _is_fetched(row) and row.id not in batch.observed}
    run.workspace.take_parts(unknown)
    staged = {number for number in unknown if run.workspace.is_staged(number)}
    here = (_job_to_look_again(run, row) for row in unknown.values() if row.id in staged)
    placed = (_job_for_placed(row) for row in unknown.values() if row.id not in staged)
    lost = []
    for result in chain(run.pools.reader.run(here), run.hashed(placed)):
        row = unknown[result.id]
        if result.problem is None and not check(claims_of(row), result.size, result.digests):
            sha256 = bytes.fromhex(result.digests["sha256"])
            batch.observed[row.id] = Observed(result.size, sha256, stamp=result.stamp)
        else:
            run.workspace.discard(row.id)
            lost.append({"id": row.id})
    if lost:
        with run.catalog.write() as connection:
            files.move(connection, State.WANTED, lost, run.id)
    return bool(lost)


def _is_fetched(row: ProjectFile) -> bool:
    return row.state == State.FETCHED and row.removal_cause is None


def _job_to_look_again(run: Run, row: ProjectFile) -> Check:
    path, digests = run.workspace.staged_text(row.id), _algorithms(row)
    return Check(row.id, path, row.project, row.filename, row.size, digests=digests)


def _job_for_placed(row: ProjectFile) -> Check:
    """Return the same job for bytes that are in place already."""
    key, digests = file_path(row.project, row.filename, row.location), _algorithms(row)
    return Check(row.id, key, row.project, row.filename, row.size, digests=digests)


def _algorithms(row: ProjectFile) -> tuple[str, ...]:
    return tuple({*claims_of(row).digests, "sha256"})
