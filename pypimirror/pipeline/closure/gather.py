"""Read the requirements of new files and store them in the catalog.

The requirements of a file are read only once: from the core metadata beside a wheel, from the file
itself if there is none, or from the upstream for a file that pages only link to. If they cannot be
read now, the next run tries again. If a file does not state them, they are noted as unknown. Of a
file that is not here, nothing is noted if its upstream does not announce the digest of its core
metadata: the file may come later. Without that digest, nobody can prove the metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.records import UnreadFile
from pypimirror.catalog.states import State
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.metadata import dependencies
from pypimirror.domain.metadata.dependencies import Requirements
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.system import regular
from pypimirror.system.workers import Cancelled
from pypimirror.verify.protocol import Check

#: Files whose requirements go into the catalog in one transaction.
_CHUNK = 1000
#: Most bytes of core metadata that is read. Most of it is the description.
_MOST = 16 << 20

_Found = dict[bytes, Requirements]


def gather(run: Run) -> list[Problem]:
    """Read the missing requirements. Return the failures, which the next run tries again."""
    problems: list[Problem] = []
    last = 0
    while True:
        if run.cancelled.is_set():
            raise Cancelled("cancelled")
        with run.catalog.read() as connection:
            rows = requirements.unread(connection, last, _CHUNK)
        if not rows:
            return problems
        last = rows[-1].id
        run.ledger.begin(Stage.DISCOVER, len(rows))
        found: _Found = {}
        one_each = list({row.digest: row for row in rows}.values())
        linked = [row for row in one_each if row.state == State.LINKED]
        here = [row for row in one_each if row.state != State.LINKED]
        problems += _read_here(run, here, found)
        problems += _ask(run, linked, found)
        with run.catalog.write() as connection:
            requirements.add(connection, found)
        run.reporter.advance(Stage.DISCOVER, things=len(rows))


def _read_here(run: Run, rows: Sequence[UnreadFile], found: _Found) -> list[Problem]:
    """Read files whose bytes are here."""
    jobs = []
    by_id = {row.id: row for row in rows}
    for row in rows:
        document = _beside(run, row)
        if document is not None:
            found[row.digest] = dependencies.of_wheel(document)
        else:
            place = run.storage.local(_path(row)).path
            jobs.append(Check(row.id, place, row.project, row.filename, row.size, requires=True))
    problems = []
    for result in run.pools.checker.run(jobs) if jobs else ():
        row = by_id[result.id]
        if result.requires is not None:
            found[row.digest] = result.requires
        elif result.problem is not None:
            problems.append(_named(row, result.problem))
            if result.problem.reason is Reason.DISK:
                raise StoppedError(problems[-1])
    return problems


def _beside(run: Run, row: UnreadFile) -> bytes | None:
    """Return the core metadata beside a wheel, if it is unchanged."""
    if row.metadata_sha256 is None:
        return None
    document = run.storage.read(_path(row) + METADATA_SUFFIX, _MOST)
    is_right = document is not None and hashlib.sha256(document).digest() == row.digest
    return document if is_right else None


def _ask(run: Run, rows: Sequence[UnreadFile], found: _Found) -> list[Problem]:
    """Ask upstreams for the core metadata of files that pages only link to."""
    problems = []
    paths = {row.id: run.workspace.staging / f"{row.id}{METADATA_SUFFIX}" for row in rows}
    by_id = {row.id: row for row in rows}
    for result in run.fetch(_jobs(rows, paths)) if rows else ():
        assert isinstance(result, FileResult)
        row, path = by_id[result.id], paths[result.id]
        if result.problem is None:
            found[row.digest] = dependencies.of_wheel(regular.read(str(path)))
        else:
            problems.append(_named(row, result.problem))
        run.workspace.unstage(path.name)
    return problems


def _jobs(rows: Sequence[UnreadFile], paths: dict[int, Path]) -> Iterator[FetchFile]:
    for row in rows:
        parts = urlsplit(row.url)
        yield FetchFile(
            id=row.id,
            remote=row.upstream or "",
            urls=(parts._replace(path=parts.path + METADATA_SUFFIX).geturl(),),
            path=str(paths[row.id]),
            digests={"sha256": row.digest.hex()},
            max_size=_MOST,
        )


def _path(row: UnreadFile) -> str:
    return file_path(row.project, row.filename, row.location)


def _named(row: UnreadFile, problem: Problem) -> Problem:
    said = problem.message.removeprefix(f"{row.filename}: ")
    message = f"{row.filename}: what it requires cannot be read: {said}"
    return msgspec.structs.replace(
        problem, message=message, project=row.project, file=row.filename, url=row.url
    )
