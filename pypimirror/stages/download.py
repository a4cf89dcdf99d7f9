"""Download: fetch what is wanted to staging, hashed while streaming.

wanted, failed, quarantined → fetched; or failed; or, where the bytes are not what was claimed,
quarantined. Bytes that an earlier run fetched are hashed again, since nothing says that they
survived its end; what did not is fetched again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row

from pypimirror.catalog import files, runs
from pypimirror.catalog.states import State
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.model import Problem, Reason, Stage
from pypimirror.stages.claims import claims_of
from pypimirror.stages.quarantine import set_aside
from pypimirror.stages.run import Run, StoppedError
from pypimirror.tree import file_path
from pypimirror.verify.digests import Claims, check, hash_file

#: Results that go into the catalog in one transaction.
_COMMIT = 500

_PROVEN_BAD = frozenset({Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH})


def download(run: Run, ids: Sequence[int]) -> None:
    """Fetch the files of these projects that are due."""
    _recheck(run, ids)
    with run.catalog.write() as connection:
        due = {row.id: row for row in files.due(connection, ids)}
        names = sorted({row.project for row in due.values()})
        runs.clear_failures(connection, run.id, Stage.DOWNLOAD, names)
    run.reporter.begin(Stage.DOWNLOAD, len(due))
    if run.unreachable or not due:
        return
    results = run.fetch(_job(run, row) for row in due.values())
    while chunk := list(itertools.islice(results, _COMMIT)):
        _record(run, due, [result for result in chunk if isinstance(result, FileResult)])


def _job(run: Run, row: Row[Any]) -> FetchFile:
    return FetchFile(
        id=row.id,
        remote=row.upstream,
        urls=(row.url,),
        path=str(run.tree.staged(row.id)),
        digests=dict(claims_of(row).digests),
        size=row.size,
    )


def _record(run: Run, due: dict[int, Row[Any]], results: Sequence[FileResult]) -> None:
    """Commit what has been fetched and what has not."""
    fetched = [result for result in results if result.problem is None]
    failed = [result for result in results if result.problem is not None]
    bad = [r for r in failed if r.problem is not None and r.problem.reason in _PROVEN_BAD]
    problems = [_problem(due[result.id], result) for result in failed]
    for result in bad:
        set_aside(run, due[result.id], run.tree.staged(result.id), result.digests, result.size)
    with run.catalog.write() as connection:
        moved = [
            {"id": r.id, "size": r.size, "sha256": bytes.fromhex(r.digests["sha256"])}
            for r in fetched
        ]
        files.move(connection, State.FETCHED, moved, run.id)
        files.move(connection, State.QUARANTINED, [{"id": r.id} for r in bad], run.id)
        rest = [{"id": result.id} for result in failed if result not in bad]
        files.move(connection, State.FAILED, rest, run.id)
    run.proven.update(result.id for result in fetched)
    run.count(
        files_downloaded=len(fetched),
        files_quarantined=len(bad),
        bytes_downloaded=sum(result.transferred for result in results),
    )
    run.failed(Stage.DOWNLOAD, problems)
    run.reporter.advance(Stage.DOWNLOAD, things=len(results))
    for problem in problems:
        if problem.reason is Reason.DISK:
            raise StoppedError(problem)


def _problem(row: Row[Any], result: FileResult) -> Problem:
    assert result.problem is not None
    return msgspec.structs.replace(
        result.problem, project=row.project, file=row.filename, attempts=result.attempts
    )


def _recheck(run: Run, ids: Sequence[int]) -> None:
    """Prove again, or let go, what was fetched before and not verified."""
    with run.catalog.read() as connection:
        rows = files.in_states(connection, ids, [State.FETCHED])
    lost = [row for row in rows if row.id not in run.proven and not _still_good(run, row)]
    run.proven.update(row.id for row in rows if row not in lost)
    with run.catalog.write() as connection:
        files.move(connection, State.WANTED, [{"id": row.id} for row in lost], run.id)


def _still_good(run: Run, row: Row[Any]) -> bool:
    """Hash the bytes that are in staging, or in place already; remove them where they are bad."""
    claims: Claims = claims_of(row)
    for path in _places(run, row):
        try:
            size, digests = hash_file(path, claims.digests)
        except FileNotFoundError:
            continue
        if check(claims, size, digests) is None:
            return True
        path.unlink(missing_ok=True)
    return False


def _places(run: Run, row: Row[Any]) -> Iterator[Any]:
    yield run.tree.staged(row.id)
    yield run.tree.path(file_path(row.project, row.filename, row.location))
