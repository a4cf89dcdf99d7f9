"""Read the requirements of new files and store them in the catalog.

The requirements of a file are read only once: from the core metadata beside a wheel, from the file
itself if there is none, or from the upstream for a wheel that is not here. If they cannot be read
now, the next run tries again. If a file does not state them, they are noted as unknown. If a file
is not here and its upstream does not announce the digest of its core metadata, nothing is noted:
without that digest nobody can prove the metadata, and the file may come later.

A run asks the upstream only once for the core metadata of a file. If the file itself will be
fetched, an error is a failure only if the metadata has another digest than the upstream announces:
then the upstream contradicts itself. After any other error, the file itself says what it requires
when it is here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

import msgspec

from pypimirror.catalog.queries.closure import requirements
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.records import UnreadFile
from pypimirror.catalog.states import PROVEN, State
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.metadata import dependencies
from pypimirror.domain.metadata.requirements import Requirements
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.download.protocol import FetchFile, FileResult
from pypimirror.pipeline.context.remotes import place_of
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.storage import many
from pypimirror.system import regular
from pypimirror.system.workers import Cancelled
from pypimirror.verify.protocol import Check

#: Files that are asked for at once, and documents that go into the catalog in one transaction. The
#: query for files looks at all files of the projects each time, so it returns many.
_FILES, _DOCUMENTS = 10_000, 1000
#: Bytes of the largest core metadata that is read. Most of it is the description.
_MOST = 16 << 20

_Found = dict[bytes, Requirements]


def gather(run: Run, projects: Mapping[int, str] | None = None) -> list[Problem]:
    """Read the missing requirements of files of these projects, or of all.

    Return the failures, which the next run tries again.
    """
    problems: list[Problem] = []
    left: list[Problem] = []
    for ids in [None] if projects is None else chunks(projects):  # None: all
        for rows in _unread(run, ids):
            run.ledger.begin(Stage.DISCOVER, len(rows))
            found: _Found = {}
            one_each = list({row.digest: row for row in rows}.values())
            problems += _read_here(run, [row for row in one_each if row.state in PROVEN], found)
            away = [row for row in one_each if row.state not in PROVEN]
            for row, problem in _ask(run, _read_old(run, away, found), found):
                if len(found) >= _DOCUMENTS:
                    _store(run, found)
                if problem is None:
                    continue
                run.cache.without_metadata.add(row.id)
                is_final = row.state == State.LINKED or problem.reason is Reason.DIGEST_MISMATCH
                (problems if is_final else left).append(problem)
            _store(run, found)
            run.reporter.advance(Stage.DISCOVER, things=len(rows))
    if left:
        what = f"of {len(left):,} files" if len(left) > 1 else "of 1 file"
        said = f"core metadata {what} cannot be read, so the bytes will be: {left[0].message}"
        run.reporter.note("warning", f"dependencies: {said}")
    return problems


def _store(run: Run, found: _Found) -> None:
    with run.catalog.write() as connection:
        requirements.add(connection, found)
    found.clear()


def _unread(run: Run, ids: Sequence[int] | None) -> Iterator[list[UnreadFile]]:
    """Yield the files to read, in chunks."""
    last = 0
    while True:
        if run.cancelled.is_set():
            raise Cancelled("cancelled")
        due_at = run.now if run.fetches else None
        with run.catalog.read() as connection:
            rows = requirements.unread(connection, last, _FILES, ids, due_at)
        if not rows:
            return
        last = rows[-1].id
        asked = run.cache.without_metadata
        yield [row for row in rows if row.state in PROVEN or row.id not in asked]


def _read_here(run: Run, rows: Sequence[UnreadFile], found: _Found) -> list[Problem]:
    """Read files whose bytes are here."""
    jobs: list[tuple[Check, str | None]] = []
    by_id = {row.id: row for row in rows}
    beside = many.ask(run.storage, partial(_kept, run), rows)
    for row, document in zip(rows, beside, strict=True):
        if document is not None:
            found[row.digest] = dependencies.of_wheel(document)
        else:
            job = Check(row.id, "", row.project, row.filename, row.size, requires=True)
            jobs.append((job, _path(row)))
    problems = []
    for result in run.examined(jobs) if jobs else ():
        row = by_id[result.id]
        if result.requires is not None:
            found[row.digest] = result.requires
        elif result.problem is not None:
            problems.append(_named(row, result.problem))
            if result.problem.reason is Reason.DISK:
                raise StoppedError(problems[-1])
    return problems


def _read_old(run: Run, rows: Sequence[UnreadFile], found: _Found) -> Iterator[UnreadFile]:
    """Read core metadata that a lost catalog left beside wheels. Yield the other files."""
    known: dict[str, bool] = {}
    for row in rows:
        path = _path(row)
        directory = path.rpartition("/")[0]
        if directory not in known:  # in a first sync, most projects have no file
            known[directory] = run.storage.has_below(directory)
        document = _beside(run, row) if known[directory] else None
        if document is not None:
            found[row.digest] = dependencies.of_wheel(document)
        else:
            yield row


def _kept(run: Run, row: UnreadFile) -> bytes | None:
    """Return the core metadata that is kept beside a wheel, if it has the right digest."""
    return _beside(run, row) if row.metadata_sha256 is not None else None


def _beside(run: Run, row: UnreadFile) -> bytes | None:
    """Return the core metadata beside the place of a wheel, if it has the right digest."""
    document = run.storage.read(_path(row) + METADATA_SUFFIX, _MOST)
    is_right = document is not None and hashlib.sha256(document).digest() == row.digest
    return document if is_right else None


def _ask(
    run: Run, rows: Iterator[UnreadFile], found: _Found
) -> Iterator[tuple[UnreadFile, Problem | None]]:
    """Ask upstreams for the core metadata of files that are not here. Yield each with its
    failure.
    """
    by_id = {row.id: row for row in rows}
    for result in run.fetch(_jobs(run, by_id.values())) if by_id else ():
        assert isinstance(result, FileResult)
        row, path = by_id[result.id], run.workspace.staged_metadata(result.id)
        problem = None
        if result.problem is None:
            found[row.digest] = dependencies.of_wheel(regular.read(path))
        else:
            problem = _named(row, result.problem)
        run.workspace.unstage(f"{result.id}{METADATA_SUFFIX}")
        yield row, problem


def _jobs(run: Run, rows: Iterable[UnreadFile]) -> Iterator[FetchFile]:
    for row in rows:
        parts = urlsplit(row.url)
        yield FetchFile(
            id=row.id,
            remote=place_of(run.config, row.upstream, row.url),
            urls=(parts._replace(path=parts.path + METADATA_SUFFIX).geturl(),),
            path=run.workspace.staged_metadata(row.id),
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
