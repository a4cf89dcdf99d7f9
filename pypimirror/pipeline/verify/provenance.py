"""Verify: fetch attestations (PEP 740), check them and put them in place.

They are fetched after their file, because its digest is known then: in the same stage, or in a
later run if the upstream offers them later. Missing or wrong attestations block nothing: the file
is published without them, and every run reports it until it is solved. Attestations are kept byte
for byte, as long as their file. `pypimirror.verify.attestations` checks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.queries.work import tries
from pypimirror.catalog.records import ProjectFile
from pypimirror.domain.layout import PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.download.protocol import FetchFile, FileResult, Result
from pypimirror.pipeline import backoff
from pypimirror.pipeline.context.remotes import place_of
from pypimirror.pipeline.download.download import Lines
from pypimirror.pipeline.publish import removing
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.system import regular
from pypimirror.verify import attestations

#: Most attestations that are placed, flushed and committed together.
_COMMIT = 500


def complete(run: Run, ids: Sequence[int]) -> None:
    """Fetch the missing attestations of proven files of these projects."""
    can_fetch = run.fetches and not run.ledger.unreachable and run.ledger.no_room is None
    if not run.config.publish.provenance or not can_fetch:
        return
    with run.catalog.read() as connection:
        rows = tries.unattested(connection, ids, run.due_at)
    lacking = {row.id: row for row in rows if run.retry is None or run.retry.wants(row)}
    if not lacking:
        return
    lines = Lines()
    jobs = (job for job in (_job(run, row) for row in lacking.values()) if lines.is_open(job))
    for chunk in projects.chunks(_heard(lines, run.fetch(jobs)), _COMMIT):
        _take(run, lacking, chunk)
        if problem := run.room.shortage():
            raise StoppedError(problem)
    run.ledger.failed(Stage.DOWNLOAD, lines.problems())


def _heard(lines: Lines, results: Iterable[Result]) -> Iterator[FileResult]:
    """Pass the results on and note them in `lines`."""
    for result in results:
        assert isinstance(result, FileResult)
        lines.heard(result)
        yield result


def held(run: Run, row: ProjectFile, sha256: bytes) -> bytes | None:
    """Return the sha256 of the attestations in place, if they are for bytes with this `sha256`."""
    if row.provenance_sha256 is None:
        return None
    provenance = run.storage.read(_relative(row), attestations.MAX_SIZE)
    if provenance is None:
        return None
    known: bytes = row.provenance_sha256
    if hashlib.sha256(provenance).digest() != known:
        return None
    return None if attestations.fault(provenance, row.filename, sha256.hex()) else known


def let_go(run: Run, row: ProjectFile, sha256: bytes) -> None:
    """Remove attestations that do not fit the new bytes of their file. No page lists them any
    more.
    """
    if row.provenance_sha256 is not None and held(run, row, sha256) is None:
        removing.remove(run, Stage.VERIFY, [_relative(row)], row.project, row.filename)


def _job(run: Run, row: ProjectFile) -> FetchFile:
    assert row.provenance is not None
    return FetchFile(
        id=row.id,
        remote=place_of(run.config, row.upstream, row.provenance),
        urls=(row.provenance,),
        path=str(_staged(run, row)),
        digests={},
        max_size=attestations.MAX_SIZE,
    )


def _take(run: Run, lacking: Mapping[int, ProjectFile], results: Sequence[FileResult]) -> None:
    """Put correct attestations in place and report the others."""
    right: list[tuple[ProjectFile, bytes]] = []
    wrong: dict[Stage, list[Problem]] = {Stage.DOWNLOAD: [], Stage.VERIFY: []}
    changes: list[dict[str, Any]] = []
    for result in results:
        row = lacking[result.id]
        stage, problem, digest = _judge(run, row, result)
        if problem is None:
            right.append((row, digest))
            continue
        run.workspace.unstage(_staged(run, row).name)
        if problem.reason is Reason.DISK:
            raise StoppedError(problem)
        wrong[stage].append(problem)
        failed = backoff.after_failure(row, problem, run.id, run.now)
        changes.append({"id": row.id, **failed})
    blocked: dict[str, Problem] = {}
    run.storage.place([(_staged(run, row), _relative(row)) for row, _ in right], blocked)
    for row in [row for row, _ in right if _relative(row) in blocked]:
        blocker = blocked[_relative(row)]
        problem = _problem(row, blocker.reason, f"{row.filename}: {blocker.message}", 1)
        wrong[Stage.VERIFY].append(problem)
        changes.append({"id": row.id, **backoff.after_failure(row, problem, run.id, run.now)})
    right = [(row, digest) for row, digest in right if _relative(row) not in blocked]
    if right:
        run.storage.flush()
    changes += [{"id": r.id, "provenance_sha256": d, **backoff.CLEAN} for r, d in right]
    with run.catalog.write() as connection:
        files.change(connection, changes)
        projects.touch(connection, {row.project_id for row, _ in right})
    run.ledger.count(bytes_downloaded=sum(result.transferred for result in results))
    for stage, problems in wrong.items():
        run.ledger.failed(stage, problems)


def _judge(run: Run, row: ProjectFile, result: FileResult) -> tuple[Stage, Problem | None, bytes]:
    """Return the stage and the problem of attestations, or the sha256 of correct ones."""
    if result.problem is not None:
        reason = result.problem.reason
        message = (
            f"{row.filename}: it is served without attestations, which could not be fetched: "
            f"{result.problem.message}"
        )
        return Stage.DOWNLOAD, _problem(row, reason, message, result.attempts), b""
    try:
        provenance = regular.read(str(_staged(run, row)))
    except OSError as error:
        message = f"{_staged(run, row)}: {error.strerror or error}"
        return Stage.VERIFY, _problem(row, Reason.DISK, message), b""
    assert row.sha256 is not None
    fault = attestations.fault(provenance, row.filename, row.sha256.hex())
    if fault is None:
        return Stage.VERIFY, None, hashlib.sha256(provenance).digest()
    message = f"{row.filename}: its provenance is not served: {fault}"
    return Stage.VERIFY, _problem(row, Reason.PROVENANCE_MISMATCH, message), b""


def _problem(row: ProjectFile, reason: Reason, message: str, attempts: int = 1) -> Problem:
    return Problem(reason, message, row.project, row.filename, row.provenance or "", attempts)


def _relative(row: ProjectFile) -> str:
    return file_path(row.project, row.filename, row.location) + PROVENANCE_SUFFIX


def _staged(run: Run, row: ProjectFile) -> Path:
    return run.workspace.staging / f"{row.id}{PROVENANCE_SUFFIX}"
